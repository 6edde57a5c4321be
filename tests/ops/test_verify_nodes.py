# SPDX-License-Identifier: Apache-2.0
"""Nodes against the meaning of their operators, and every shape rule against inputs that do not fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeq.errors import EdgeqError, GraphError, InvalidValueError, UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Graph, Node, Port, Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops import all_ops
from edgeq.ops.base import Op
from edgeq.ops.dequantize import Dequantize
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.quantize import Quantize
from edgeq.ops.relu import Relu
from edgeq.ops.verify import mixed_nodes, verify_nodes


def layer(**changes: Tensor) -> Graph:
    """x (1, 2) -> fully connected "fc" -> y (1, 3), scales 0.5 * (0.25, 0.5, 1) -> 2."""
    weights = QuantParams.per_channel(np.array([0.25, 0.5, 1.0]), 0)
    bias = QuantParams.per_channel(np.array([0.125, 0.25, 0.5]), 0)
    tensors = {
        "x": Tensor("x", (1, 2), DType.S8, QuantParams.of(0.5, 3)),
        "w": Tensor("w", (3, 2), DType.S8, weights, np.ones((3, 2), np.int8)),
        "b": Tensor("b", (3,), DType.S32, bias, np.ones(3, np.int32)),
        "y": Tensor("y", (1, 3), DType.S8, QuantParams.of(2.0, -5)),
    }
    tensors.update(changes)
    node = Node("fc", FullyConnected(), (0, 1, 2), (3,))
    ends = (Port("x", 0, DType.S8),), (Port("y", 3, DType.S8),)
    return Graph("g", tuple(tensors.values()), (node,), *ends)


X, W, B, Y = layer().tensors


def test_a_legal_layer_is_accepted() -> None:
    verify_nodes(layer())


CASES = {
    "shape": (layer(y=replace(Y, shape=(1, 4))), GraphError, r'"y" has shape \[1, 4\], \[1, 3\] expected'),
    "no scale": (layer(x=replace(X, quant=None)), InvalidValueError, "int8 tensor 'x' has no quantization"),
    "zero point": (layer(x=replace(X, quant=QuantParams.of(0.5, 128))), InvalidValueError, "zero point 128, -128 to"),
    "per-channel input": (
        layer(x=replace(X, quant=QuantParams.per_channel(np.ones(2), 1))), InvalidValueError, "'x' has 2 scales, 1",
    ),
    "axis": (
        layer(w=replace(W, quant=QuantParams.per_channel(np.ones(2), 1))), InvalidValueError,
        "'w' have 2 entries along dimension 1, weights have 3 output channels along dimension 0",
    ),
    "weight zero points": (
        layer(w=replace(W, quant=QuantParams((0.25, 0.5, 1.0), (0, 1, 0), 0))), InvalidValueError, "zero point per",
    ),
    "weight dtype": (layer(w=replace(W, dtype=DType.S64)), UnsupportedError, "weights 'w' are int64"),
    "bias dtype": (layer(b=replace(B, dtype=DType.S16)), UnsupportedError, "bias 'b' are int16"),
    "bias zero point": (
        layer(b=replace(B, quant=QuantParams((0.125, 0.25, 0.5), (0, 0, 1), 0))), InvalidValueError, "zero point other",
    ),
    "bias scale": (
        layer(b=replace(B, quant=QuantParams.per_channel(np.array([0.125, 0.25, 0.75]), 0))), InvalidValueError,
        "scale 0.75 at channel 2, input times weights give 0.5",
    ),
    "bias scales": (
        layer(b=replace(B, shape=(2,), quant=QuantParams.per_channel(np.ones(2), 0))), InvalidValueError, "2 scales, 3",
    ),
    "ratio": (layer(y=replace(Y, quant=QuantParams.of(2.0**-32))), InvalidValueError, "more than 2\\^30"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_contradiction_is_named_with_its_node(case: str) -> None:
    graph, error, message = CASES[case]
    with pytest.raises(error, match=f'^fully_connected "fc": .*{message}'):
        verify_nodes(graph)


def test_int16_needs_zero_points_of_zero() -> None:
    tensors = [Tensor(name, (2,), DType.S16, QuantParams.of(1.0, zero)) for name, zero in (("x", 0), ("y", 4))]
    ends = (Port("x", 0, DType.S16),), (Port("y", 1, DType.S16),)
    with pytest.raises(InvalidValueError, match="int16 tensor 'y' has zero point 4, 0 to 0"):
        verify_nodes(Graph("g", tuple(tensors), (Node("r", Relu(), (0,), (1,)),), *ends))


def test_mixed_nodes_are_hybrid_but_not_quantize() -> None:
    assert mixed_nodes(layer()) == []
    ((node, op, reason, _),) = mixed_nodes(layer(x=replace(X, dtype=DType.F32, quant=None)))
    assert (node, op) == ("fc", "fully_connected")
    assert "'x' is float32, 'w' is int8" in reason
    real = Tensor("r", (1, 3), DType.F32)
    graph = layer(x=real)
    assert mixed_nodes(graph.replace(nodes=[Node("q", Quantize(), (0,), (3,))])) == []


@pytest.mark.parametrize("op", [op for op in all_ops() if op is not Dequantize], ids=lambda op: op.name)
def test_shapes_that_do_not_fit_are_refused(op: type[Op]) -> None:
    """Whatever the inputs' shapes, infer_shape answers or raises an EdgeqError."""
    rng = np.random.default_rng(1)
    for _ in range(60):
        case = op.sample(rng)
        inputs = [
            tensor
            if tensor is None or rng.random() < 0.3
            else replace(tensor, shape=tuple(rng.integers(1, 5, size=rng.integers(0, 7)).tolist()), data=None)
            for tensor in case.inputs
        ]
        if rng.random() < 0.2 and inputs:
            inputs[int(rng.integers(len(inputs)))] = None
        try:
            shapes = case.op.infer_shape(inputs)
        except EdgeqError:
            continue
        assert all(size >= 0 for shape in shapes for size in shape)

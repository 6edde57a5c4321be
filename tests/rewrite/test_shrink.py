# SPDX-License-Identifier: Apache-2.0
"""Shrunk graphs give the codes of the graphs that they came from, for every input and in every rounding."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from coded_layers import FORMATS, coded_layer, with_weights
from intgraph import IntBuilder, assert_equal_runs, macs

from edgeq.ir.coding import CodeKind, Coding
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Graph, Node, Port
from edgeq.ir.qparams import QuantParams
from edgeq.ops.add import Add, Sub
from edgeq.ops.base import Case, Rounding
from edgeq.ops.coded_weights import has_coding
from edgeq.ops.concatenation import Concatenation
from edgeq.ops.logistic import Logistic
from edgeq.ops.mean import Mean
from edgeq.ops.mul import Mul
from edgeq.ops.pad import Pad
from edgeq.ops.pool import AveragePool2d, MaxPool2d
from edgeq.ops.relu import Relu
from edgeq.ops.reshape import Reshape
from edgeq.rewrite.duplicates import merge_duplicates
from edgeq.rewrite.shrink import shrink

SEEDS = 12


def _chain(build: IntBuilder) -> Graph:
    """Return convolutions and depthwise convolutions in turn, pooled and classified."""
    x = build.conv(build.input(1, 7, 6, 3), 8, 3)
    x = build.conv(build.depthwise(x), 10)
    x = build.conv(build.depthwise(x), 9)
    x = build.node(AveragePool2d((2, 2), (1, 1), "same"), x)
    size = int(np.prod(build.tensors[x].shape))
    return build.graph(build.dense(build.dense(build.node(Reshape((1, size)), x), 7), 4))


def _padded(build: IntBuilder) -> Graph:
    """Return 3x3 convolutions whose windows leave the image, after channels that are often constant."""
    x = build.conv(build.input(2, 6, 5, 2), 6, dead=0.6)
    x = build.conv(x, 7, 3, dead=0.5)
    x = build.conv(build.node(Pad(((0, 0), (1, 0), (0, 2), (0, 0))), x), 6, 3)
    return build.graph(build.node(Mean((1, 2)), x))


def _residual(build: IntBuilder) -> Graph:
    """Return branches that are added, subtracted and multiplied."""
    x = build.conv(build.input(1, 5, 5, 3), 8)
    y = build.conv(build.depthwise(x, stride=(1, 1), padding="same"), 8, stride=(1, 1), padding="same")
    x = build.conv(x, 8, stride=(1, 1), padding="same", dead=0.6)
    total = build.node(Add(), x, y, quant=build.quant())
    scaled = build.node(Mul(), total, build.constant(build.rng.integers(-128, 128, 8).astype(np.int8), build.quant()))
    gate = build.node(Sub(), build.node(Relu(), scaled, quant=build.quant()), total, quant=build.quant())
    return build.graph(build.conv(gate, 5), build.conv(total, 3, 3))


def _joined(build: IntBuilder) -> Graph:
    """Return branches that are concatenated, along channels and along rows."""
    source = build.input(1, 4, 6, 3)
    quant = build.quant()
    same: dict[str, object] = {"stride": (1, 1), "padding": "same"}
    parts = [build.node(Relu(), build.conv(source, count, dead=0.5, **same), quant=quant) for count in (4, 3, 5)]
    joined = build.node(Concatenation(3), *parts)
    pooled = build.node(MaxPool2d((2, 2), (2, 2)), joined)
    rows = build.node(Concatenation(1), pooled, pooled)
    gate = build.node(Logistic(), build.conv(rows, 6, 3), quant=QuantParams.of(1 / 256, -128))
    return build.graph(build.conv(gate, 4), build.conv(joined, 4, 3))


KINDS = pytest.mark.parametrize("kind", [_chain, _padded, _residual, _joined], ids=lambda kind: kind.__name__[1:])


@KINDS
@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_output_code_is_kept(kind: Callable[[IntBuilder], Graph], seed: int) -> None:
    rounding = list(Rounding)[seed % 3]
    graph = kind(IntBuilder(np.random.default_rng(seed)))
    assert_equal_runs(graph, shrink(graph, rounding=rounding).graph, np.random.default_rng(seed), rounding=rounding)


@KINDS
def test_planted_channels_are_found(kind: Callable[[IntBuilder], Graph]) -> None:
    graphs = [kind(IntBuilder(np.random.default_rng(seed))) for seed in range(SEEDS)]
    before = sum(macs(graph) for graph in graphs)
    after = sum(macs(shrink(graph, rounding=Rounding.TFLITE).graph) for graph in graphs)
    assert after < 0.75 * before


@KINDS
def test_ports_keep_their_shapes_and_a_second_run_changes_nothing(kind: Callable[[IntBuilder], Graph]) -> None:
    graph = kind(IntBuilder(np.random.default_rng(3)))
    shrunk = shrink(graph, rounding=Rounding.NATIVE).graph
    for before, after in zip((*graph.inputs, *graph.outputs), (*shrunk.inputs, *shrunk.outputs), strict=True):
        assert (before.name, graph.tensors[before.tensor].shape) == (after.name, shrunk.tensors[after.tensor].shape)
    again = shrink(shrunk, rounding=Rounding.NATIVE).graph
    assert [tensor.shape for tensor in again.tensors] == [tensor.shape for tensor in shrunk.tensors]


def _dead_inputs(case: Case) -> Graph:
    """Put a 1x1 convolution, some of whose channels are constant or unread, before a coded layer and one behind it."""
    build = IntBuilder(np.random.default_rng(0))
    x = build.conv(build.input(1, 5, 5, 3), 8, dead=0.6, stride=(1, 1), padding="valid")
    weights, bias = (tensor for tensor in case.inputs[1:] if tensor is not None)
    build.tensors += [weights, bias]
    count = len(build.tensors)
    y = build.node(case.op, x, count - 2, count - 1, quant=case.outputs[0].quant)
    return build.graph(build.conv(y, 4, dead=0.5, stride=(1, 1), padding="valid"))


@pytest.mark.parametrize("name", FORMATS)
def test_layers_with_low_bits_keep_their_weights(name: str) -> None:
    """Outer taps, an input channel and an output channel of code 0, which seldom stands for 0."""
    rng = np.random.default_rng(4)
    case = coded_layer(name, rng)
    weights = case.inputs[1]
    assert weights is not None
    assert weights.data is not None
    codes = weights.data.copy()
    codes[:, 0], codes[..., 2], codes[1] = 0, 0, 0
    graph = _dead_inputs(with_weights(case, data=codes))
    shrunk = shrink(graph, rounding=Rounding.NATIVE).graph
    kept = [t for node in shrunk.nodes for t in shrunk.input_tensors(node) if t is not None and has_coding(t)]
    assert [(t.shape, t.coding is weights.coding) for t in kept] == [((6, 3, 3, 8), True)]
    assert_equal_runs(graph, shrunk, rng, rounding=Rounding.NATIVE)


def test_equal_codes_of_other_meanings_are_no_duplicates() -> None:
    case = coded_layer("int4", np.random.default_rng(4))
    source, weights, bias = case.inputs
    assert source is not None
    assert weights is not None
    assert bias is not None
    other = dataclasses.replace(weights, coding=Coding(CodeKind.UNSIGNED, 4))
    tensors = (source, weights, other, bias, case.outputs[0], dataclasses.replace(case.outputs[0], name="z"))
    nodes = (Node("a", case.op, (0, 1, 3), (4,)), Node("b", case.op, (0, 2, 3), (5,)))
    ports = [Port(name, index, DType.S8) for name, index in (("y", 4), ("z", 5))]
    graph = Graph("test", tensors, nodes, (Port("x", 0, DType.S8),), tuple(ports))
    merged = merge_duplicates(graph)
    assert [merged.tensors[node.inputs[1]].coding for node in merged.nodes] == [weights.coding, other.coding]

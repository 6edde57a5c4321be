# SPDX-License-Identifier: Apache-2.0
"""Build small float graphs and run them, in real numbers and in codes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeq.ir.boundary import dequantize, quantize_real
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import ABSENT, Graph, Node, Port, Tensor
from edgeq.ops.base import Op, Rounding
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.execute import run_float


class Builder:
    """Builds a float graph node by node; shapes are inferred."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.nodes: list[Node] = []
        self.inputs: list[Port] = []

    def input(self, *shape: int) -> int:
        self.tensors.append(Tensor(f"x{len(self.inputs)}", shape, DType.F32))
        self.inputs.append(Port(f"x{len(self.inputs)}", len(self.tensors) - 1, DType.F32))
        return len(self.tensors) - 1

    def constant(self, values: np.ndarray | float) -> int:
        data = np.asarray(values, np.float32)
        self.tensors.append(Tensor(f"c{len(self.tensors)}", data.shape, DType.F32, data=data))
        return len(self.tensors) - 1

    def node(self, op: Op, *inputs: int) -> int:
        sources = [None if index == ABSENT else self.tensors[index] for index in inputs]
        first = len(self.tensors)
        for shape in op.infer_shape(sources):
            self.tensors.append(Tensor(f"t{len(self.tensors)}", tuple(shape), DType.F32))
        outputs = tuple(range(first, len(self.tensors)))
        self.nodes.append(Node(f"{op.name}{len(self.nodes)}", op, tuple(inputs), outputs))
        return first

    def graph(self, *outputs: int) -> Graph:
        ports = [Port(f"y{position}", index, DType.F32) for position, index in enumerate(outputs)]
        return Graph("test", tuple(self.tensors), tuple(self.nodes), tuple(self.inputs), tuple(ports))


def run(graph: Graph) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    shapes = [graph.tensors[port.tensor].shape for port in graph.inputs]
    return run_float(graph, [rng.standard_normal(shape).astype(np.float32) for shape in shapes])


def run_codes(graph: Graph, feeds: Sequence[np.ndarray], *, rounding: Rounding = Rounding.NATIVE) -> list[np.ndarray]:
    """Run a quantized graph node by node through the integer twins; real values in and out."""
    values = {}
    for port, feed in zip(graph.inputs, feeds, strict=True):
        tensor = graph.tensors[port.tensor]
        values[port.tensor] = quantize_real(feed.reshape(tensor.shape), tensor.quant, tensor.dtype)
    for node in graph.nodes:
        codes = [values.get(index) for index in node.inputs]
        inputs, outputs = graph.input_tensors(node), graph.output_tensors(node)
        results = node.op.reference_q(codes, inputs=inputs, outputs=outputs, rounding=rounding)
        values.update(zip(node.outputs, results, strict=True))
    tensors = [graph.tensors[port.tensor] for port in graph.outputs]
    found = [values.get(port.tensor, tensor.data) for port, tensor in zip(graph.outputs, tensors, strict=True)]
    return [
        dequantize(codes, tensor.quant) if tensor.quant is not None else codes
        for codes, tensor in zip(found, tensors, strict=True)
    ]


def sqnr(expected: np.ndarray, found: np.ndarray) -> float:
    """Return 10 log10 of signal power over error power."""
    error = np.sum((expected.astype(np.float64) - found) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(np.sum(expected.astype(np.float64) ** 2) / error))


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def conv(build: Builder, x: int, channels: int = 4, *, bias: bool = True) -> int:
    """Add a 3x3 convolution with random weights."""
    depth = build.tensors[x].shape[3]
    b = build.constant(normal(channels, seed=2)) if bias else ABSENT
    return build.node(Conv2d(padding="same"), x, build.constant(normal(channels, 3, 3, depth)), b)

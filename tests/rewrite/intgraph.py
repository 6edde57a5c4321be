# SPDX-License-Identifier: Apache-2.0
"""Build small quantized graphs node by node, and compare a graph with what a pass makes of it."""

from __future__ import annotations

import numpy as np

from edgeq.compile.plan import Plan
from edgeq.compile.planner import make_plan
from edgeq.format.write import write_model
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import ABSENT, Graph, Node, Port, Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Activation, Op, Rounding
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.convolution import Padding
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.runtime.native import NativeRunner
from edgeq.runtime.reference import run_reference


class IntBuilder:
    """Builds an int8 graph; every drawn number comes from ``rng``."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.tensors: list[Tensor] = []
        self.nodes: list[Node] = []
        self.inputs: list[Port] = []

    def quant(self) -> QuantParams:
        return QuantParams.of(2.0 ** self.rng.uniform(-6, -4), int(self.rng.integers(-128, 128)))

    def input(self, *shape: int) -> int:
        self.inputs.append(Port(f"x{len(self.inputs)}", len(self.tensors), DType.S8))
        return self._add(Tensor(self.inputs[-1].name, shape, DType.S8, self.quant()))

    def constant(self, data: np.ndarray, quant: QuantParams | None) -> int:
        return self._add(
            Tensor(f"c{len(self.tensors)}", data.shape, DType.of_numpy(data.dtype), quant, np.ascontiguousarray(data))
        )

    def node(self, op: Op, *inputs: int, quant: QuantParams | None = None) -> int:
        """Append a node; its output gets the parameters given, else those of its first input."""
        sources = [None if index == ABSENT else self.tensors[index] for index in inputs]
        (shape,) = op.infer_shape(sources)
        chosen = quant or self.tensors[inputs[0]].quant
        output = self._add(Tensor(f"t{len(self.tensors)}", tuple(shape), DType.S8, chosen))
        self.nodes.append(Node(f"{op.name}{len(self.nodes)}", op, tuple(inputs), (output,)))
        return output

    def conv(self, x: int, channels: int, kernel: int = 1, *, dead: float = 0.4, **options: object) -> int:
        """Append a convolution, some of whose output channels have no weights and some of whose inputs are unread."""
        depth = self.tensors[x].shape[3]
        op = Conv2d(**self._options(x, kernel, options))  # type: ignore[arg-type]
        return self._layer(op, x, (channels, kernel, kernel, depth), channels, dead=dead)

    def depthwise(self, x: int, kernel: int = 3, *, dead: float = 0.2, **options: object) -> int:
        """Append a depthwise convolution, some of whose channels have no weights."""
        channels = self.tensors[x].shape[3]
        op = DepthwiseConv2d(**self._options(x, kernel, options))  # type: ignore[arg-type]
        return self._layer(op, x, (1, kernel, kernel, channels), channels, dead=dead)

    def dense(self, x: int, channels: int, *, dead: float = 0.4) -> int:
        """Append a fully connected layer."""
        op = FullyConnected(self._activation())
        return self._layer(op, x, (channels, self.tensors[x].shape[-1]), channels, dead=dead)

    def graph(self, *outputs: int) -> Graph:
        ports = [Port(f"y{position}", index, DType.S8) for position, index in enumerate(outputs)]
        return Graph("test", tuple(self.tensors), tuple(self.nodes), tuple(self.inputs), tuple(ports))

    def _options(self, x: int, kernel: int, options: dict[str, object]) -> dict[str, object]:
        explicit = tuple(int(count) for count in self.rng.integers(0, 3, size=4))
        paddings: list[Padding] = ["same", "same", (explicit[0], explicit[1], explicit[2], explicit[3])]
        if min(self.tensors[x].shape[1:3]) < kernel:
            paddings[2] = "same"
        stride = int(self.rng.choice([1, 1, 2]))
        chosen: dict[str, object] = {"activation": self._activation(), "stride": (stride, stride)}
        return {**chosen, "padding": paddings[int(self.rng.integers(3))], **options}

    def _activation(self) -> Activation:
        return list(Activation)[int(self.rng.choice([0, 1, 2]))]

    def _layer(self, op: Op, x: int, shape: tuple[int, ...], channels: int, *, dead: float) -> int:
        rng, axis = self.rng, op.weight_axis
        per_channel = bool(rng.random() < 0.6)
        scales = 2.0 ** rng.uniform(-9, -7, size=channels if per_channel else 1)
        zero = int(rng.integers(-20, 20)) if not per_channel and rng.random() < 0.5 else 0
        weights = rng.integers(-90, 91, size=shape).astype(np.int8)
        along = np.moveaxis(weights, axis, 0)
        along[rng.random(channels) < dead] = zero
        if axis == 0:
            weights[..., rng.random(shape[-1]) < dead / 2] = zero
        if len(shape) == 4 and shape[1] > 1 and rng.random() < 0.3:
            weights[:, 0] = zero
        quant_w = QuantParams.per_channel(scales, axis) if per_channel else QuantParams.of(scales[0], zero)
        inputs = [x, self.constant(weights, quant_w)]
        if rng.random() < 0.8:
            bias = rng.integers(-9000, 9001, size=channels).astype(np.int32)
            inputs.append(self.constant(bias, None))
        source = self.tensors[x].quant
        assert source is not None
        depth = float(np.prod(shape)) / channels
        scale = source.scale * float(scales.max()) * 40 * np.sqrt(depth)
        target = QuantParams.of(scale, int(rng.choice([-128, int(rng.integers(-128, 128))])))
        return self.node(op, *inputs, quant=target)

    def _add(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1


def macs(graph: Graph) -> int:
    return make_plan(graph, rounding=Rounding.TFLITE).macs


def assert_equal_runs(before: Graph, after: Graph, rng: np.random.Generator, *, rounding: Rounding) -> None:
    """Run both graphs on random and on extreme codes, on the NumPy twin, and the second on the C runtime as well."""
    plans = [make_plan(graph, rounding=rounding) for graph in (before, after)]
    native = NativeRunner(plans[1], write_model(plans[1]))
    for feeds in _feeds(plans[0], rng):
        expected = run_reference(plans[0], feeds).outputs
        for found in (run_reference(plans[1], feeds).outputs, native.run(feeds).outputs):
            for want, have in zip(expected, found, strict=True):
                np.testing.assert_array_equal(have, want)


def _feeds(plan: Plan, rng: np.random.Generator) -> list[list[np.ndarray]]:
    shapes = [port.shape for port in plan.inputs]
    fixed = [[np.full(shape, code, np.int8) for shape in shapes] for code in (-128, 127)]
    drawn = [[rng.integers(-128, 128, shape).astype(np.int8) for shape in shapes] for _ in range(4)]
    corners = [[rng.choice(np.array([-128, 127], np.int8), shape) for shape in shapes] for _ in range(3)]
    return fixed + drawn + corners

# SPDX-License-Identifier: Apache-2.0
"""Models of one layer with made-up weights, for measurements that want a layer by itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgeq import api
from edgeq.board import Board, load_board
from edgeq.format.write import write_model
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Graph, Node, Port, Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.add import Add
from edgeq.ops.base import Activation, Op
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.pipeline import convert_graph
from edgeq.quantize.recipes import parse_recipe

INPUT, OUTPUT = QuantParams.of(0.05, -3), QuantParams.of(0.1, 5)
Image = tuple[int, int, int]  # height, width, channels


def convolution(image: Image, outputs: int, *, kernel: tuple[int, int] = (1, 1), stride: int = 1) -> Graph:
    """Return a convolution with as much padding as keeps height and width over the stride."""
    op = Conv2d((stride, stride), "same", (1, 1), Activation.NONE)
    return _layer(op, image, (outputs, *kernel, image[2]), axis=0)


def depthwise(image: Image, *, kernel: tuple[int, int] = (3, 3), stride: int = 1) -> Graph:
    """Return a depthwise convolution, padded likewise."""
    op = DepthwiseConv2d((stride, stride), "same", (1, 1), Activation.NONE)
    return _layer(op, image, (1, *kernel, image[2]), axis=3)


def addition(image: Image) -> Graph:
    """Return the sum of two inputs."""
    shape = (1, *image)
    names = ("x", "z", "y")
    tensors = tuple(Tensor(name, shape, DType.S8, OUTPUT if name == "y" else INPUT) for name in names)
    ports = tuple(Port(name, index, DType.S8) for index, name in enumerate(names))
    return Graph("add", tensors, (Node("add", Add(), (0, 1), (2,)),), ports[:2], ports[2:])


def convert(graph: Graph, board: str) -> api.Model:
    """Turn a layer into a model for a board."""
    return converted(graph, load_board(board))


def converted(graph: Graph, board: Board) -> api.Model:
    """Turn an integer graph into a model for a board."""
    plan = convert_graph(graph, recipe=parse_recipe("int8"), board=board).plan
    return api.Model(plan, write_model(plan, board_class=board.board_class))


def assorted() -> Iterator[Graph]:
    """Yield layers of the shapes that small networks have, for fits that need each kind more than once."""
    for image, outputs in (
        ((24, 24, 16), 32),
        ((12, 12, 64), 64),
        ((6, 6, 96), 24),
        ((14, 14, 40), 120),
        ((7, 7, 7), 9),
    ):
        yield convolution(image, outputs)
    for image, outputs, kernel, stride in (
        ((32, 32, 16), 16, (3, 3), 1), ((16, 16, 32), 32, (3, 3), 1), ((16, 16, 32), 64, (3, 3), 2),
        ((8, 8, 64), 64, (3, 3), 1), ((24, 24, 8), 24, (5, 5), 1), ((1, 40, 32), 64, (1, 5), 1),
        ((20, 10, 24), 40, (3, 3), 2), ((10, 10, 12), 20, (3, 3), 1),
    ):  # fmt: skip
        yield convolution(image, outputs, kernel=kernel, stride=stride)
    for image, outputs, kernel, stride in (
        ((96, 96, 3), 16, (3, 3), 2), ((49, 10, 1), 64, (10, 4), 2), ((64, 64, 3), 32, (3, 3), 2),
        ((28, 28, 1), 16, (5, 5), 1), ((32, 32, 3), 24, (3, 3), 1),
    ):  # fmt: skip
        yield convolution(image, outputs, kernel=kernel, stride=stride)
    for image, kernel, stride in (
        ((48, 48, 16), (3, 3), 1), ((24, 24, 32), (3, 3), 2), ((12, 12, 128), (3, 3), 1), ((7, 7, 320), (3, 3), 1),
        ((20, 20, 40), (5, 5), 1), ((1, 60, 64), (1, 7), 1), ((20, 5, 48), (3, 3), 1), ((3, 3, 192), (3, 3), 1),
        ((6, 6, 64), (3, 3), 2),
    ):  # fmt: skip
        yield depthwise(image, kernel=kernel, stride=stride)
    for image in ((32, 32, 16), (14, 14, 24), (7, 7, 96)):
        yield addition(image)


def _layer(op: Op, image: Image, shape: tuple[int, ...], *, axis: int) -> Graph:
    """Return one convolution; its weights have the spread of trained ones, which decides how products may be summed."""
    rng = np.random.default_rng(0)
    weights = np.clip(rng.normal(0, 30, shape).round(), -127, 127).astype(np.int8)
    channels = shape[axis]
    scales = np.full(channels, 0.002, np.float32)
    inputs = (
        Tensor("x", (1, *image), DType.S8, INPUT),
        Tensor("w", shape, DType.S8, QuantParams.per_channel(scales, axis), weights),
        Tensor("b", (channels,), DType.S32, None, rng.integers(-500, 500, channels).astype(np.int32)),
    )
    (output,) = op.infer_shape(list(inputs))
    tensors = (*inputs, Tensor("y", tuple(output), DType.S8, OUTPUT))
    node = Node("layer", op, (0, 1, 2), (3,))
    return Graph("layer", tensors, (node,), (Port("x", 0, DType.S8),), (Port("y", 3, DType.S8),))

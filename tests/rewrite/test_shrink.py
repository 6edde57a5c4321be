# SPDX-License-Identifier: Apache-2.0
"""Shrunk graphs give the codes of the graphs that they came from, for every input and in every rounding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from intgraph import IntBuilder, assert_equal_runs, macs

from edgeq.ir.graph import Graph
from edgeq.ir.qparams import QuantParams
from edgeq.ops.add import Add, Sub
from edgeq.ops.base import Rounding
from edgeq.ops.concatenation import Concatenation
from edgeq.ops.logistic import Logistic
from edgeq.ops.mean import Mean
from edgeq.ops.mul import Mul
from edgeq.ops.pad import Pad
from edgeq.ops.pool import AveragePool2d, MaxPool2d
from edgeq.ops.relu import Relu
from edgeq.ops.reshape import Reshape
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

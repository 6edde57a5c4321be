# SPDX-License-Identifier: Apache-2.0
"""Transforms that move ranges between layers keep the function; low-rank branches are the best of their rank."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fake_quant import rounded
from graphbuilder import Builder, normal, sqnr
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.errors import BadInputError, UsageError
from edgeq.ir.graph import ABSENT, Graph
from edgeq.ops.base import Activation
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.execute import run_float
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.pool import MaxPool2d
from edgeq.quantize.channels import measure_channels
from edgeq.quantize.layers import real_data
from edgeq.quantize.methods import methods, parse, spell
from edgeq.quantize.methods.absorb import Absorb
from edgeq.quantize.methods.awq import Awq
from edgeq.quantize.methods.lorc import Lorc
from edgeq.quantize.methods.smooth import Smooth
from edgeq.quantize.methods.transform import Transform
from edgeq.quantize.methods.weights import WeightFormat

NONE, RELU, RELU6 = Activation.NONE, Activation.RELU, Activation.RELU6
BATCH = 16


def spread(count: int, seed: int) -> np.ndarray:
    return 2 ** np.random.default_rng(seed).uniform(-4, 4, count)


def network(activation: Activation, *, seed: int = 0, bias: float = 1, padding: str = "valid") -> Graph:
    """Build conv -> depthwise -> max pool -> conv -> fully connected with uneven channels inside."""
    build, outer = Builder(), spread(6, seed)
    x = build.input(BATCH, 7, 7, 3)
    w = build.constant(normal(6, 3, 3, 3, seed=seed) * outer[:, None, None, None] / 4)
    y = build.node(Conv2d(activation=activation), x, w, build.constant(bias * outer))
    w = build.constant(normal(1, 2, 2, 12, seed=seed + 1) / np.repeat(outer, 2))
    y = build.node(DepthwiseConv2d(padding=padding, activation=activation), y, w, ABSENT)
    y = build.node(MaxPool2d(), y)
    w = build.constant(normal(16, 1, 1, 12, seed=seed + 2) / 3)
    y = build.node(Conv2d(activation=activation), y, w, build.constant(normal(16, seed=seed + 3)))
    y = build.node(Conv2d(), y, build.constant(normal(16, 2, 2, 16, seed=seed + 4) / 8), ABSENT)
    return build.graph(build.node(FullyConnected(keep_dims=True), y, build.constant(normal(5, 16, seed=seed)), ABSENT))


def outputs(graph: Graph, data: np.ndarray) -> np.ndarray:
    return run_float(graph, [data], precise=True)[0]


def largest_error(graph: Graph, changed: Graph, data: np.ndarray) -> float:
    expected = outputs(graph, data)
    return float(np.abs(outputs(changed, data) - expected).max() / np.abs(expected).max())


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 999), st.sampled_from([NONE, RELU, RELU6]), st.sampled_from(["smooth", "smooth:0.9", "awq"]))
def test_scaling_by_activations_keeps_the_function(seed, activation, text):
    graph, data = network(activation, seed=seed), normal(BATCH, 7, 7, 3, seed=seed)
    changed = parse(text, Transform).apply(graph, [[data]])
    assert changed != graph
    assert largest_error(graph, changed, data) < 1e-5


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_smoothing_divides_sizes_between_activations_and_weights(alpha):
    graph, data = network(RELU), normal(BATCH, 7, 7, 3)
    changed = Smooth(alpha).apply(graph, [[data]])
    tensor = graph.nodes[1].inputs[0]
    before, after = (measure_channels(which, [[data]], {tensor})[tensor].high for which in (graph, changed))
    columns = np.abs(real_data(graph.tensors[graph.nodes[1].inputs[1]])).reshape(-1, 6, 2).max(axis=(0, 2))
    np.testing.assert_allclose(after, before ** (1 - alpha) * columns ** (1 - alpha), rtol=1e-4)


def loss_of(graph: Graph, data: np.ndarray, text: str) -> float:
    """Return the squared change of the outputs when the last layer's weights are rounded in a format."""
    index = graph.nodes[-1].inputs[1]
    rows = real_data(graph.tensors[index])
    grid = parse(text, WeightFormat).fit(rows)
    tensors = list(graph.tensors)
    low_bit = grid.values(grid.nearest(rows)).astype(np.float32)
    tensors[index] = dataclasses.replace(tensors[index], data=low_bit)
    return float(np.mean((outputs(graph.replace(tensors=tensors), data) - outputs(graph, data)) ** 2))


@pytest.mark.parametrize(("text", "share"), [("int:bits=4", 0.8), ("int:bits=4;group=16", 0.8), ("ternary", 1)])
def test_awq_rounds_what_meets_large_activations_more_finely(text, share):
    build, outer = Builder(), 2 ** np.random.default_rng(1).uniform(-3, 3, 64)
    w = build.constant(normal(64, 32) * outer[:, None])
    y = build.node(FullyConnected(activation=RELU), build.input(256, 32), w, ABSENT)
    graph = build.graph(build.node(FullyConnected(), y, build.constant(normal(24, 64, seed=1)), ABSENT))
    data = normal(256, 32, seed=2)
    changed = Awq(text).apply(graph, [[data]])
    chosen = text.replace(";", ",")
    assert loss_of(changed, data, chosen) < share * loss_of(graph, data, chosen)


def test_absorption_lowers_channels_and_changes_nothing_where_they_stay_high():
    data = normal(BATCH, 7, 7, 3) / 20
    graph = network(RELU, bias=4)
    changed = Absorb(sigmas=5).apply(graph, [[data]])
    tensor = graph.nodes[1].inputs[0]
    before, after = (measure_channels(which, [[data]], {tensor})[tensor] for which in (graph, changed))
    assert (after.mean < 0.6 * before.mean).all()
    assert largest_error(graph, changed, data) < 1e-5
    assert largest_error(graph, Absorb().apply(graph, [[data]]), data) < 1e-2
    assert changed.tensors[tensor].name.endswith("/absorbed")


def test_without_an_activation_the_whole_mean_is_absorbed():
    data = normal(BATCH, 7, 7, 3)
    graph = network(NONE)
    changed = Absorb().apply(graph, [[data]])
    tensor = graph.nodes[1].inputs[0]
    found = measure_channels(changed, [[data]], {tensor})[tensor]
    np.testing.assert_allclose(found.mean / np.sqrt(found.variance), 0, atol=1e-4)
    assert largest_error(graph, changed, data) < 1e-5


def test_nothing_is_absorbed_across_padding_or_a_bound():
    data = normal(BATCH, 7, 7, 3) / 20
    padded, bounded = network(RELU, bias=4, padding="same"), network(RELU6, bias=4)
    for graph in (padded, bounded):
        changed = Absorb(sigmas=5).apply(graph, [[data]])
        assert changed.nodes[0] == graph.nodes[0]
        assert largest_error(graph, changed, data) < 1e-5


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 999), st.integers(1, 8), st.sampled_from(["int:bits=4", "int:bits=3;per=tensor", "ternary"]))
def test_the_error_left_by_a_low_rank_branch_is_that_of_eckart_and_young(seed, rank, text):
    rows = normal(24, 40, seed=seed).astype(np.float64)
    kept, outer, inner = Lorc(rank, text).split(rows)
    sizes = np.linalg.svd(rows - kept, compute_uv=False)
    left = np.sum((rows - kept - outer @ inner) ** 2)
    assert left == pytest.approx(np.sum(sizes[rank:] ** 2), rel=1e-9)
    coded = [np.array([rounded(row, symmetric=True) for row in factor]) for factor in (outer, inner)]
    assert np.sum((rows - kept - coded[0] @ coded[1]) ** 2) == pytest.approx(left, rel=0.01)


@pytest.mark.parametrize("activation", [NONE, RELU6])
def test_a_low_rank_branch_stands_beside_the_layer_and_brings_it_nearer(activation):
    build = Builder()
    x = build.input(BATCH, 6, 6, 8)
    w, b = build.constant(normal(32, 3, 3, 8) / 8), build.constant(normal(32, seed=1))
    y = build.node(Conv2d(padding="same", stride=(2, 2), activation=activation), x, w, b)
    y = build.node(DepthwiseConv2d(), y, build.constant(normal(1, 3, 3, 32)), ABSENT)
    graph = build.graph(build.node(FullyConnected(keep_dims=True), y, build.constant(normal(48, 32) / 6), ABSENT))
    data = normal(BATCH, 6, 6, 8, seed=2)
    reached = []
    for rank in (1, 4, 9):
        changed = Lorc(rank).apply(graph, [])
        assert [node.op.name for node in changed.nodes[:4]] == ["conv2d", "conv2d", "conv2d", "add"]
        assert changed.nodes[3].outputs == graph.nodes[0].outputs
        assert changed.nodes[3].op.activation is activation
        assert changed.nodes[4] == graph.nodes[1]
        reached.append(sqnr(outputs(graph, data), outputs(changed, data)))
    assert reached == sorted(reached)
    assert reached[2] > reached[0] + 3


def test_layers_too_small_for_a_branch_and_shared_weights():
    build = Builder()
    x, w = build.input(1, 40), build.constant(normal(40, 40))
    y = build.node(FullyConnected(), build.node(FullyConnected(), x, w, ABSENT), w, ABSENT)
    graph = build.graph(build.node(FullyConnected(), y, build.constant(normal(3, 40)), ABSENT))
    changed = Lorc(4).apply(graph, [])
    assert len(changed.nodes) == 9
    assert changed.nodes[8] == graph.nodes[2]
    assert changed.nodes[0].inputs[1] == changed.nodes[4].inputs[1]
    assert changed.nodes[1].inputs[1] == changed.nodes[5].inputs[1]
    assert Lorc(10).apply(graph, []).nodes == graph.nodes


@pytest.mark.parametrize("text", ["absorb", "smooth", "awq"])
def test_transforms_that_measure_refuse_to_run_without_samples(text):
    with pytest.raises(BadInputError, match="none were given"):
        parse(text, Transform).apply(network(RELU), [])


@pytest.mark.parametrize(
    "text", ["smooth:1.5", "absorb:-1", "awq:weights=none", "lorc:rank=0", "lorc:weights=int:bits=0"]
)
def test_options_that_cannot_be_meant_are_refused(text):
    with pytest.raises(UsageError):
        parse(text, Transform)


def test_every_transform_is_spelled_as_it_is_read():
    assert {"absorb", "awq", "cle", "equalize", "lorc", "smooth"} <= methods(Transform).keys()
    for kind in methods(Transform).values():
        assert parse(spell(kind()), Transform) == kind()
    assert parse("awq:weights=int:bits=3;group=32", Transform) == Awq("int:bits=3;group=32")

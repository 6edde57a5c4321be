# SPDX-License-Identifier: Apache-2.0
"""Cross-layer equalization from weights alone: the same function, whose tensors one scale each can serve."""

from __future__ import annotations

import dataclasses
import itertools
import warnings

import numpy as np
import pytest
from fake_quant import run_rounded
from graphbuilder import Builder, normal, sqnr
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.errors import UsageError
from edgeq.ir.graph import ABSENT, Graph
from edgeq.ops.base import Activation
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.execute import run_float
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.leaky_relu import LeakyRelu
from edgeq.ops.mean import Mean
from edgeq.ops.pool import MaxPool2d
from edgeq.ops.prelu import Prelu
from edgeq.quantize.methods.cle import Cle

RELU, RELU6, NONE = Activation.RELU, Activation.RELU6, Activation.NONE
BETWEEN = ("nothing", "leaky", "prelu", "pool", "mean")


def gains(count: int, *, octaves: float = 6, seed: int = 1) -> np.ndarray:
    """Draw log-uniform channel gains (C,) of up to 2^octaves either way."""
    return 2 ** np.random.default_rng(seed).uniform(-octaves, octaves, count)


def separable(activation: Activation = RELU, *, spread: float = 6, batch: int = 32, channels: int = 16) -> Graph:
    """Build conv -> depthwise whose hidden channels have gains that the second layer takes back."""
    build, gain = Builder(), gains(channels, octaves=spread)
    x = build.input(batch, 8, 8, 3)
    w = build.constant(normal(channels, 3, 3, 3, seed=2) / 5 * gain[:, None, None, None])
    y = build.node(Conv2d(activation=activation), x, w, build.constant(normal(channels, seed=3) / 5 * gain))
    w = build.constant(normal(1, 3, 3, channels, seed=4) / gain)
    return build.graph(build.node(DepthwiseConv2d(), y, w, build.constant(normal(channels, seed=5))))


def weights_of(graph: Graph) -> list[np.ndarray]:
    return [graph.tensors[node.inputs[1]].data for node in graph.nodes if node.op.weight_input is not None]


def largest_error(graph: Graph, changed: Graph, data: np.ndarray) -> float:
    (expected,), (found,) = (run_float(which, [data], precise=True) for which in (graph, changed))
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_one_scale_per_tensor_serves_planted_gains_afterwards_and_not_before():
    graph, data = separable(), normal(32, 8, 8, 3)
    (expected,) = run_float(graph, [data])
    changed = Cle().apply(graph, [])
    assert sqnr(expected, run_rounded(graph, [data])[0]) < 5
    assert sqnr(expected, run_rounded(changed, [data])[0]) > 30
    assert sqnr(expected, run_rounded(changed, [data], activations=False)[0]) > 35


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([RELU, NONE]),
    st.sampled_from(["nothing", "leaky", "prelu", "pool", "mean"]),
)
def test_the_output_does_not_change(seed, activation, between):
    build, channels, gain = Builder(), 6, gains(6, seed=seed)
    x = build.input(4, 6, 6, 2)
    w = build.constant(normal(channels, 3, 3, 2, seed=seed) * gain[:, None, None, None])
    y = build.node(Conv2d(activation=activation), x, w, build.constant(normal(channels, seed=seed + 1) * gain))
    if between == "leaky":
        y = build.node(LeakyRelu(0.1), y)
    elif between == "prelu":
        y = build.node(Prelu(), y, build.constant(normal(1, 1, channels, seed=seed)))
    elif between == "pool":
        y = build.node(MaxPool2d(), y)
    w = build.constant(normal(1, 2, 2, 2 * channels, seed=seed + 2))
    y = build.node(DepthwiseConv2d(padding="same", activation=activation), y, w, ABSENT)
    y = build.node(Conv2d(activation=activation), y, build.constant(normal(5, 1, 1, 2 * channels)), ABSENT)
    if between == "mean":
        y = build.node(Mean((1, 2)), y)
    else:
        y = build.node(Conv2d(), y, build.constant(normal(5, 1, 1, 5, seed=9)), ABSENT)
    graph = build.graph(build.node(FullyConnected(keep_dims=True), y, build.constant(normal(3, 5)), ABSENT))
    changed = Cle().apply(graph, [])
    moved = [not np.allclose(a, b) for a, b in zip(weights_of(graph), weights_of(changed), strict=True)]
    assert all(moved)
    assert largest_error(graph, changed, normal(4, 6, 6, 2, seed=seed)) < 1e-5


def test_ranges_of_a_pair_and_of_a_depthwise_triple_become_equal():
    build, gain = Builder(), gains(8)
    y = build.node(Conv2d(activation=RELU), build.input(1, 5, 5, 4), build.constant(normal(8, 1, 1, 4)), ABSENT)
    w = build.constant(normal(1, 3, 3, 8, seed=1) * gain)
    y = build.node(DepthwiseConv2d(activation=RELU), y, w, ABSENT)
    y = build.node(Conv2d(), y, build.constant(normal(4, 1, 1, 8, seed=2) * gain[::-1]), ABSENT)
    first, middle, last = weights_of(Cle().apply(build.graph(y), []))
    sizes = [np.abs(first).max((1, 2, 3)), np.abs(middle).max((0, 1, 2)), np.abs(last).max((0, 1, 2))]
    for size in sizes[1:]:
        np.testing.assert_allclose(size, sizes[0], rtol=1e-5)
    before, after = weights_of(Cle().apply(separable(), []))
    np.testing.assert_allclose(np.abs(before).max((1, 2, 3)), np.abs(after).max((0, 1, 2)), rtol=1e-5)


def test_sweeps_settle_a_chain_of_dense_layers():
    build = Builder()
    y = build.input(1, 8)
    for seed in range(4):
        w = build.constant(
            normal(8, 8, seed=seed) * gains(8, octaves=2, seed=seed)[:, None] * gains(8, octaves=2, seed=seed + 9)
        )
        y = build.node(FullyConnected(activation=RELU), y, w, ABSENT)
    changed = weights_of(Cle().apply(build.graph(y), []))
    for first, second in itertools.pairwise(changed):
        np.testing.assert_allclose(np.abs(first).max(1), np.abs(second).max(0), rtol=5e-3)


def test_dead_channels_keep_their_scale_and_factors_stay_within_a_thousand():
    graph = separable()
    constants = [index for node in graph.nodes for index in node.inputs[1:]]
    tensors = list(graph.tensors)
    tensors[constants[0]].data[3] = 0  # a dead channel
    tensors[constants[2]].data[..., 5] = 0  # a channel that nobody reads
    tensors[constants[0]].data[7] *= 1e9
    changed = Cle().apply(graph, [])
    factors = np.abs(weights_of(graph)[1]).max((0, 1, 2)), np.abs(weights_of(changed)[1]).max((0, 1, 2))
    assert factors[0][3] == factors[1][3]
    np.testing.assert_array_equal(weights_of(graph)[0][5], weights_of(changed)[0][5])
    assert factors[1][7] / factors[0][7] == pytest.approx(1000)


def test_a_bound_of_six_is_kept_where_no_sample_reaches_it():
    data = normal(32, 8, 8, 3)
    graph = separable(RELU6, spread=2)
    assert Cle().apply(graph, []) == graph
    changed = Cle().apply(graph, [[data]])
    assert changed.nodes[0].op.activation is RELU6
    hidden = run_hidden(graph, data).max(axis=(0, 1, 2))
    kept = np.abs(weights_of(changed)[0] / weights_of(graph)[0] - 1).max(axis=(1, 2, 3)) == 0
    assert 0 < kept.sum() < len(kept)
    assert kept[hidden >= 6].all()
    assert run_hidden(changed, data)[..., ~kept].max() < 6
    assert largest_error(graph, changed, data) < 1e-5


def run_hidden(graph: Graph, data: np.ndarray) -> np.ndarray:
    hidden = graph.nodes[0].outputs[0]
    return run_float(graph.replace(outputs=[dataclasses.replace(graph.outputs[0], tensor=hidden)]), [data])[0]


def test_a_bound_of_six_is_replaced_on_demand_and_said_so():
    data = normal(32, 8, 8, 3)
    with pytest.warns(UserWarning, match="RELU6 a RELU in 1 layers"):
        changed = Cle(relu6="replace").apply(separable(RELU6, spread=2), [])
    assert changed.nodes[0].op.activation is RELU
    assert largest_error(separable(RELU, spread=2), changed, data) < 1e-5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Cle(relu6="replace").apply(separable(RELU), [])
    with pytest.raises(UsageError, match="replace or keep"):
        Cle(relu6="drop")


def test_rescaled_tensors_are_renamed():
    graph = separable()
    names = [changed.tensors[graph.nodes[0].outputs[0]].name for changed in (graph, Cle().apply(graph, []))]
    assert names[1] == f"{names[0]}/equalized"

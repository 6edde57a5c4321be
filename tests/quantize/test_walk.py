# SPDX-License-Identifier: Apache-2.0
"""The walk over linear layers: windows, rows of weights, and what each layer is decided on."""

from __future__ import annotations

import numpy as np
import pytest
from graphbuilder import Builder, normal
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.ir.dtypes import DType
from edgeq.ir.graph import ABSENT, Graph, Node
from edgeq.ir.qparams import QuantParams
from edgeq.ops.add import Add
from edgeq.ops.base import Activation
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.convolution import random_window
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.quantize.layers import from_rows, rows_of, window_count, windows_of
from edgeq.quantize.methods.compensation import LayerSamples, Rounded
from edgeq.quantize.methods.weights import Grid
from edgeq.quantize.walk import fake_quantize, round_layers


@given(st.integers(0, 2**32 - 1), st.sampled_from(["conv2d", "grouped", "depthwise"]))
@settings(max_examples=60, deadline=None)
def test_windows_times_rows_of_weights_are_the_layers_outputs(seed, kind):
    rng = np.random.default_rng(seed)
    size, kernel, stride, dilation, padding = random_window(rng)
    groups, depth, count = {"conv2d": (1, 3, 5), "grouped": (2, 2, 6), "depthwise": (3, 1, 6)}[kind]
    if kind == "depthwise":
        op: Conv2d | DepthwiseConv2d = DepthwiseConv2d(stride, padding, dilation)
        weights = rng.normal(size=(1, *kernel, count))
    else:
        op = Conv2d(stride, padding, dilation)
        weights = rng.normal(size=(count, *kernel, depth))
    x = rng.normal(size=(2, *size, groups * depth))
    node = Node("layer", op, (0, 1, ABSENT), (2,))
    (expected,) = op.reference([x, weights, None])
    total = window_count(node, x, weights.shape)
    taken = np.sort(rng.choice(total, size=max(1, total // 2), replace=False))
    rows = windows_of(node, x, weights.shape, taken)
    layer = LayerSamples("layer", rows_of(weights, op.weight_axis), np.zeros(count), Activation.NONE, rows, rows)
    assert layer.groups == groups
    np.testing.assert_allclose(
        layer.outputs(layer.weights, layer.bias), expected.reshape(-1, count)[taken], rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize(("shape", "axis"), [((4, 3, 2, 5), 0), ((1, 3, 2, 5), 3), ((4, 7), 0)])
def test_rows_come_back_as_weights(shape, axis):
    weights = normal(*shape)
    rows = rows_of(weights, axis)
    assert rows.shape == (shape[axis], weights.size // shape[axis])
    assert np.array_equal(from_rows(rows, shape, axis), weights)


def keep(node: Node, layer: LayerSamples) -> Rounded:
    """Decide on int8 with one scale."""
    grid = Grid(np.full(len(layer.weights), float(np.abs(layer.weights).max() / 127)))
    return Rounded(grid, grid.nearest(layer.weights), layer.bias + 1)


def test_a_layer_is_decided_on_what_the_rounded_layers_before_it_give():
    build = Builder()
    x = build.input(1, 4)
    weights, other = normal(6, 4, seed=1), normal(3, 6, seed=2)
    hidden = build.node(FullyConnected(activation=Activation.RELU), x, build.constant(weights), ABSENT)
    graph = build.graph(build.node(FullyConnected(), hidden, build.constant(other), build.constant(np.ones(3))))
    params = {x: QuantParams.of(0.05), hidden: QuantParams.of(0.1, -128)}
    dtypes = {x: DType.S8, hidden: DType.S8}
    samples = normal(70, 4, seed=3)
    seen: dict[str, LayerSamples] = {}

    def decide(node: Node, layer: LayerSamples) -> Rounded:
        seen[node.name] = layer
        return keep(node, layer)

    found = round_layers(graph, [samples], params=params, dtypes=dtypes, decide=decide, alike=lambda node: 0)
    assert list(found) == [node.outputs[0] for node in graph.nodes]
    first, second = (seen[node.name] for node in graph.nodes)
    assert np.array_equal(first.exact[0], samples)
    assert np.array_equal(first.inputs[0], fake_quantize(samples, params[x], DType.S8))
    np.testing.assert_allclose(second.exact[0], np.maximum(samples @ weights.T, 0), rtol=1e-5, atol=1e-6)
    rounded = found[hidden]
    sums = first.inputs[0] @ rounded.values.T.astype(np.float32) + rounded.bias.astype(np.float32)
    expected = fake_quantize(np.maximum(sums, 0), params[hidden], DType.S8)
    np.testing.assert_allclose(second.inputs[0], expected, atol=0.1001)  # a sum on a tie may fall to either code
    assert np.mean(np.abs(second.inputs[0] - expected) > 1e-6) < 0.01
    assert second.bias.tolist() == [1, 1, 1]


def test_layers_that_share_weights_are_decided_once_on_the_inputs_of_all():
    build = Builder()
    x, y = build.input(1, 4), build.input(1, 4)
    w = build.constant(normal(5, 4))
    layers = [build.node(FullyConnected(), side, w, ABSENT) for side in (x, y)]
    graph = build.graph(build.node(Add(), *layers))
    calls: list[LayerSamples] = []

    def decide(node: Node, layer: LayerSamples) -> Rounded:
        calls.append(layer)
        return keep(node, layer)

    samples = [normal(40, 4, seed=1), normal(40, 4, seed=2)]
    found = round_layers(graph, samples, params={}, dtypes={}, decide=decide, alike=lambda node: 0)
    assert len(calls) == 1
    assert sorted(calls[0].exact[0].tolist()) == sorted(np.concatenate(samples).tolist())
    assert found[layers[0]] is found[layers[1]]


def test_few_rows_are_drawn_from_many_and_always_the_same():
    build = Builder()
    x = build.input(1, 16, 16, 1)
    graph = build.graph(build.node(Conv2d(), x, build.constant(normal(2, 1, 1, 1)), ABSENT))
    drawn = []

    def decide(node: Node, layer: LayerSamples) -> Rounded:
        drawn.append(layer.exact)
        return keep(node, layer)

    for _ in range(2):
        round_layers(graph, [normal(40, 16, 16, 1)], params={}, dtypes={}, decide=decide, alike=lambda node: 0)
    assert drawn[0].shape == (1, 4096, 1)
    assert np.array_equal(drawn[0], drawn[1])


def layers_that_share_weights() -> Graph:
    """Three layers with the same weights: two with biases of their own, one without."""
    build = Builder()
    x, w = build.input(1, 4), build.constant(normal(5, 4))
    biases = [build.constant(normal(5, seed=7)), build.constant(normal(5, seed=8) + 3), ABSENT]
    return build.graph(*(build.node(FullyConnected(), x, w, bias) for bias in biases))


def test_layers_that_share_weights_keep_biases_of_their_own():
    graph, samples = layers_that_share_weights(), normal(40, 4, seed=1)
    found = round_layers(graph, [samples], params={}, dtypes={}, decide=keep, alike=lambda node: 0)
    codes = {rounded.codes.tobytes() for rounded in found.values()}
    assert len(codes) == 1
    for node in graph.nodes:
        own = 0 if node.inputs[2] == ABSENT else graph.tensors[node.inputs[2]].data
        np.testing.assert_allclose(found[node.outputs[0]].bias, own + np.ones(5), rtol=1e-6)


def test_layers_that_share_weights_but_no_choice_are_decided_apart():
    graph, samples = layers_that_share_weights(), normal(40, 4, seed=1)
    calls: list[str] = []

    def decide(node: Node, layer: LayerSamples) -> Rounded:
        calls.append(node.name)
        return keep(node, layer)

    last = graph.nodes[-1].name
    round_layers(graph, [samples], params={}, dtypes={}, decide=decide, alike=lambda node: node.name == last)
    assert calls == [graph.nodes[0].name, last]

# SPDX-License-Identifier: Apache-2.0
"""Analytic bias correction: rounded weights keep the mean of every layer's outputs."""

from __future__ import annotations

import numpy as np
import pytest
from fake_quant import rounded
from graphbuilder import Builder, normal

from edgeq.errors import BadInputError
from edgeq.ir.graph import ABSENT, Graph, Node
from edgeq.ops.base import Activation
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.execute import run_float
from edgeq.ops.fully_connected import FullyConnected
from edgeq.quantize.channels import measure_channels
from edgeq.quantize.declared import Around
from edgeq.quantize.expected import correct_biases, layer_response
from edgeq.quantize.layers import real_data
from edgeq.quantize.propagate import propagate

BATCH = 1000


def network(batch: int) -> Graph:
    """Build a padded convolution, a depthwise layer and a fully connected one."""
    build = Builder()
    w, b = build.constant(normal(6, 3, 3, 2) / 3), build.constant(normal(6, seed=1))
    y = build.node(Conv2d(padding="same", activation=Activation.RELU), build.input(batch, 6, 6, 2), w, b)
    w = build.constant(normal(1, 3, 3, 12, seed=2) / 3)
    y = build.node(DepthwiseConv2d(padding="same", activation=Activation.RELU6), y, w, ABSENT)
    return build.graph(build.node(FullyConnected(keep_dims=True), y, build.constant(normal(4, 12, seed=3)), ABSENT))


def coarse(weights: np.ndarray) -> np.ndarray:
    """Round to 4 bits with one scale."""
    step = np.abs(weights).max() / 7
    return np.round(weights / step) * step


def float_inputs(graph: Graph, data: np.ndarray) -> dict[int, np.ndarray]:
    """Return what each layer reads in the float model."""
    found: dict[int, np.ndarray] = {}
    wanted = {node.inputs[0] for node in graph.nodes}

    def observe(index: int, values: np.ndarray) -> None:
        if index in wanted:
            found[index] = values

    run_float(graph, [data], observe=observe, precise=True)
    return found


def mean_outputs(graph: Graph, node: Node, weights: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """Return the mean (O,) over samples and positions, without bias and activation."""
    return layer_response(graph, node, weights, inputs).reshape(-1, graph.tensors[node.outputs[0]].shape[-1]).mean(0)


@pytest.mark.parametrize("source", ["propagated", "measured"])
def test_nine_tenths_of_the_error_of_the_mean_are_gone(source):
    single, graph = network(1), network(BATCH)
    declared = Around(0.4, 0.8)
    data = np.random.default_rng(4).normal(declared.mean, declared.std, (BATCH, 6, 6, 2)).astype(np.float32)
    if source == "propagated":
        means = {index: moments.mean for index, moments in propagate(single, inputs=[declared]).items()}
    else:
        seen = measure_channels(single, [[data]], {node.inputs[0] for node in single.nodes})
        means = {index: channels.mean for index, channels in seen.items()}
    weights = {node.outputs[0]: coarse(real_data(single.tensors[node.inputs[1]])) for node in single.nodes}
    corrected = correct_biases(single, weights, means)
    inputs = float_inputs(graph, data)
    for node in graph.nodes:
        exact = real_data(graph.tensors[node.inputs[1]])
        given = inputs[node.inputs[0]]
        bias = 0 if node.inputs[2] == ABSENT else real_data(graph.tensors[node.inputs[2]])
        shift = mean_outputs(graph, node, weights[node.outputs[0]] - exact, given)
        left = shift + corrected[node.outputs[0]] - bias
        assert np.abs(left).max() < 0.1 * np.abs(shift).max()


def test_weights_that_did_not_change_keep_their_bias():
    graph = network(1)
    node = graph.nodes[0]
    same = correct_biases(
        graph, {node.outputs[0]: real_data(graph.tensors[node.inputs[1]])}, {node.inputs[0]: np.ones(2)}
    )
    np.testing.assert_array_equal(same[node.outputs[0]], real_data(graph.tensors[node.inputs[2]]))
    assert list(same) == [node.outputs[0]]


def test_a_channel_mean_serves_as_well_as_one_of_every_position():
    graph = network(1)
    node = graph.nodes[0]
    weights = {node.outputs[0]: rounded(real_data(graph.tensors[node.inputs[1]]), symmetric=True)}
    per_channel, per_position = (
        correct_biases(graph, weights, {node.inputs[0]: means})[node.outputs[0]]
        for means in (np.array([0.5, -1]), np.broadcast_to([0.5, -1], (1, 6, 6, 2)))
    )
    np.testing.assert_array_equal(per_channel, per_position)


def test_a_layer_without_a_mean_is_named():
    graph = network(1)
    with pytest.raises(BadInputError, match=f"conv2d '{graph.nodes[0].name}'"):
        correct_biases(graph, {graph.nodes[0].outputs[0]: np.zeros((6, 3, 3, 2))}, {})

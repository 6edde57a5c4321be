# SPDX-License-Identifier: Apache-2.0
"""Decide the codes of weights: each layer's format, scales that its bias can live with, and what compensates errors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from edgeq.errors import BadInputError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Graph, Node
from edgeq.ir.qparams import QuantParams
from edgeq.ops.exact_wide import exact_weight_scale
from edgeq.quantize.affine import least_scales
from edgeq.quantize.assign import Choice
from edgeq.quantize.islands import Typed
from edgeq.quantize.layers import bias_index, bias_of, from_rows, is_linear, weight_rows
from edgeq.quantize.methods.compensation import LayerSamples, Rounded
from edgeq.quantize.methods.weights import Grid
from edgeq.quantize.pot import powers_of_two
from edgeq.quantize.walk import round_layers


def round_weights(
    typed: Typed,
    params: Mapping[int, QuantParams],
    samples: list[np.ndarray],
    *,
    pot: bool = False,
    exact: bool = False,
) -> dict[int, Rounded]:
    """Return the rounded weights and bias of every linear layer by the index of its output tensor.

    ``params`` are those of the activations, ``samples`` one array (n, ...) per input, which only compensation needs.
    With ``pot`` scales are powers of two; with ``exact`` the scales of int16 fully connected layers are such that
    LiteRT's double multipliers have an integer form. Raises BadInputError where compensation is asked and there are no
    samples.
    """
    graph = typed.graph
    linear = [(node, choice) for node, choice in zip(graph.nodes, typed.choices, strict=True) if is_linear(graph, node)]
    choices = {node.outputs[0]: choice for node, choice in linear}
    compensated = [choice.compensation[0].name for _, choice in linear if choice.compensation]
    if compensated and not samples:
        raise BadInputError(
            f"{graph.name}: {compensated[0]} works on samples of the inputs, there are none",
            hint='leave it out of compensation, or set ranges to "data", or "synthetic" for made-up samples',
        )
    settled = _exact_targets(typed, params) if exact and not pot else {}
    decided: dict[tuple[int, int, float, Choice], Rounded] = {}

    def start(node: Node, weights: np.ndarray, bias: np.ndarray) -> Rounded:
        grid = choices[node.outputs[0]].weights.fit(weights)
        scale = params[node.inputs[0]].scale
        grid = _adjusted(grid, bias, scale, pot=pot)
        if node.outputs[0] in settled and grid.coding is None:
            target = settled[node.outputs[0]]
            scales = [exact_weight_scale(float(each), source=scale, target=target) for each in grid.scales]
            grid = dataclasses.replace(grid, scales=np.array(scales))
        return Rounded(grid, grid.nearest(weights), bias)

    def decide(node: Node, layer: LayerSamples) -> Rounded:
        rounded = start(node, layer.weights, layer.bias)
        for compensation in choices[node.outputs[0]].compensation:
            rounded = compensation.apply(layer, rounded)
        return rounded

    if compensated:
        return round_layers(
            graph,
            samples,
            params=params,
            dtypes=typed.dtypes,
            decide=decide,
            alike=lambda node: choices[node.outputs[0]],
        )
    found: dict[int, Rounded] = {}
    for node, choice in linear:
        key = (node.inputs[1], bias_index(node), params[node.inputs[0]].scale, choice)
        if key not in decided:
            decided[key] = start(node, weight_rows(graph, node), bias_of(graph, node))
        found[node.outputs[0]] = decided[key]
    return found


def _exact_targets(typed: Typed, params: Mapping[int, QuantParams]) -> dict[int, float]:
    """Return the output scales of int16 fully connected layers by the index of the output.

    Layers that share weights but not the scales of their ends are left out, lest each get weights of its own.
    """
    ends: dict[int, set[tuple[float, float]]] = {}
    nodes = [
        node
        for node in typed.graph.nodes
        if node.op.name == "fully_connected" and is_linear(typed.graph, node) and _is_wide(typed, node)
    ]
    for node in nodes:
        ends.setdefault(node.inputs[1], set()).add((params[node.inputs[0]].scale, params[node.outputs[0]].scale))
    return {node.outputs[0]: params[node.outputs[0]].scale for node in nodes if len(ends[node.inputs[1]]) == 1}


def _is_wide(typed: Typed, node: Node) -> bool:
    return all(typed.dtypes.get(index) is DType.S16 for index in (node.inputs[0], node.outputs[0]))


def real_weights(graph: Graph, rounded: Mapping[int, Rounded]) -> dict[int, np.ndarray]:
    """Return the real values of rounded weights, in the weights' own shape, by the index of the layer's output."""
    return {
        node.outputs[0]: from_rows(
            rounded[node.outputs[0]].values, graph.tensors[node.inputs[1]].shape, node.op.weight_axis
        )
        for node in graph.nodes
        if node.outputs[0] in rounded
    }


def _adjusted(grid: Grid, bias: np.ndarray, input_scale: float, *, pot: bool) -> Grid:
    """Return the grid with scales that are powers of two if asked, and that the bias fits where sums are int32."""
    scales = grid.scales
    if pot:
        scales = powers_of_two(scales, int8=grid.coding is None)
    if grid.coding is None:
        least = least_scales(bias, input_scale)
        scales = np.maximum(scales, powers_of_two(least, int8=False) if pot else least)
    return dataclasses.replace(grid, scales=scales.astype(np.float32).astype(np.float64))

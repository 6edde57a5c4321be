# SPDX-License-Identifier: Apache-2.0
"""Equalization: give the channels of a hidden tensor like sizes, so that one scale per tensor serves them all.

Between two layers, channel c of the first may be multiplied by a[c] > 0 if the second divides it out again: a clamp at
zero commutes with that, and scales per output channel absorb a in the first layer's weights at no cost. After
Nagel et al., "Data-free quantization through weight equalization and bias correction", arXiv 1906.04721, with sizes
measured on calibration data instead of derived from weights, and kept only where the whole graph gains.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from edgeq.ir.graph import ABSENT, Graph, Node, Tensor
from edgeq.ops.base import Activation
from edgeq.quantize.calibrate import run_batches

MOST = 64.0  # how much a channel may grow
HEADROOM = 1.1  # how far beyond what was seen a channel stays clear of a fixed upper bound
LAYERS = ("conv2d", "depthwise_conv2d", "fully_connected")


@dataclass(frozen=True)
class _Pair:
    """Two layers with one tensor between them that nothing else reads."""

    first: int  # place in nodes
    second: int
    tensor: int


def equalized_variants(graph: Graph, batches: list[list[np.ndarray]]) -> list[Graph]:
    """Return float graphs with equalized channels: before depthwise layers only, and before all layers.

    Which of them gains, or none, depends on the weights: coarser columns of a dense layer can cost more than the finer
    channels bring. The outputs stay what they were, save that a channel below an upper bound is cut at 1.1 times its
    largest value seen in ``batches``. Rescaled tensors get another name, since their values differ from the source
    model's. The list is empty where no two layers go together.
    """
    pairs = _find_pairs(graph)
    if not pairs:
        return []
    measured = _measure(graph, batches, {pair.tensor for pair in pairs})
    before_depthwise = [pair for pair in pairs if graph.nodes[pair.second].op.name == "depthwise_conv2d"]
    choices = [before_depthwise, pairs] if 0 < len(before_depthwise) < len(pairs) else [pairs]
    return [_rescale(graph, chosen, measured) for chosen in choices]


def _find_pairs(graph: Graph) -> list[_Pair]:
    consumers, exposed = graph.consumers(), {port.tensor for port in graph.outputs}
    place = {index: position for position, node in enumerate(graph.nodes) for index in node.outputs}
    pairs = []
    for position, node in enumerate(graph.nodes):
        tensor = node.inputs[0] if node.inputs else ABSENT
        if tensor not in place or tensor in exposed or len(consumers[tensor]) != 1:
            continue
        first = graph.nodes[place[tensor]]
        if all(_has_own_constants(graph, layer, consumers) for layer in (first, node)) and _commutes(
            graph, first, node
        ):
            pairs.append(_Pair(place[tensor], position, tensor))
    return pairs


def _has_own_constants(graph: Graph, node: Node, consumers: dict[int, list[Node]]) -> bool:
    """Say whether weights and bias are constants that no other node reads: a copy of shared ones would cost memory."""
    return node.op.name in LAYERS and all(
        index == ABSENT or (graph.tensors[index].is_constant and len(consumers[index]) == 1)
        for index in node.inputs[1:]
    )


def _commutes(graph: Graph, first: Node, second: Node) -> bool:
    """Say whether channels of the tensor between can be scaled in the first layer and scaled back in the second."""
    channels = graph.tensors[first.outputs[0]].shape[-1]
    weights = graph.tensors[second.inputs[1]].shape
    taken = {"conv2d": weights[-1] == channels, "fully_connected": weights[-1] == channels}
    return first.op.activation is not Activation.RELU_N1_TO_1 and taken.get(second.op.name, True)


def _measure(
    graph: Graph, batches: list[list[np.ndarray]], wanted: set[int]
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return the root mean square and the largest value of each channel (C,) of the wanted tensors."""
    squares: dict[int, np.ndarray] = {}
    peaks: dict[int, np.ndarray] = {}

    def observe(index: int, values: np.ndarray) -> None:
        if index in wanted:
            rows = values.reshape(-1, values.shape[-1])
            squares[index] = squares.get(index, 0) + np.sum(rows * rows, axis=0)
            peaks[index] = np.maximum(peaks.get(index, -np.inf), rows.max(axis=0, initial=-np.inf))

    for _ in run_batches(graph, batches, observe=observe, precise=True):
        pass
    return {index: (np.sqrt(squares[index]), peaks[index]) for index in squares}


def _per_input(weights: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Spread factors (C,) along the last axis of weights; a depthwise layer has several outputs per input channel."""
    return np.repeat(factors, weights.shape[-1] // len(factors))


def _rescale(graph: Graph, pairs: list[_Pair], measured: dict[int, tuple[np.ndarray, np.ndarray]]) -> Graph:
    tensors, nodes = list(graph.tensors), list(graph.nodes)

    def scaled(index: int, factors: np.ndarray) -> int:
        """Append a constant times factors; return its index."""
        data = np.asarray(_data(tensors[index]) * factors, np.float32)
        tensors.append(dataclasses.replace(tensors[index], data=data))
        return len(tensors) - 1

    for pair in pairs:
        first, second = nodes[pair.first], nodes[pair.second]
        factors = _factors(*measured[pair.tensor], first.op.activation, second.op.name)
        inputs = list(first.inputs)
        along = [1] * _data(tensors[inputs[1]]).ndim
        along[first.op.weight_axis] = len(factors)
        inputs[1] = scaled(inputs[1], factors.reshape(along))
        if len(inputs) > 2 and inputs[2] != ABSENT:
            inputs[2] = scaled(inputs[2], factors)
        nodes[pair.first] = dataclasses.replace(first, inputs=tuple(inputs))
        weights = scaled(second.inputs[1], 1 / _per_input(_data(tensors[second.inputs[1]]), factors))
        nodes[pair.second] = dataclasses.replace(second, inputs=(second.inputs[0], weights, *second.inputs[2:]))
        renamed = dataclasses.replace(tensors[pair.tensor], name=f"{tensors[pair.tensor].name}/equalized")
        tensors[pair.tensor] = renamed
    return graph.replace(tensors=tensors, nodes=nodes)


def _data(tensor: Tensor) -> np.ndarray:
    assert tensor.data is not None
    return tensor.data.astype(np.float64)


def _factors(sizes: np.ndarray, peaks: np.ndarray, activation: Activation, second: str) -> np.ndarray:
    """Return a (C,), 1 <= a <= 64 in quarter octaves, from the channels' sizes and largest values.

    Before a depthwise layer, whose scales are per channel as well, sizes become equal; before others half so, in
    logarithms, since their weights for small channels would need the range of the large ones.
    """
    largest = sizes.max(initial=0)
    if not largest > 0:
        return np.ones(len(sizes))
    ratios = largest / np.maximum(sizes, largest / MOST)
    factors = ratios if second == "depthwise_conv2d" else np.sqrt(ratios)
    bound = activation.value[1]
    if bound is not None:
        room = bound / (HEADROOM * np.maximum(peaks, bound / MOST))
        factors = np.maximum(np.minimum(factors, room), 1)
    return np.asarray(2.0 ** (np.floor(4 * np.log2(factors)) / 4))

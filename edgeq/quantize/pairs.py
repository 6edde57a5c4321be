# SPDX-License-Identifier: Apache-2.0
"""Pairs of layers between which the channels of a tensor can be rescaled, and the rescaling.

Channel c of the first layer may be multiplied by a[c] > 0 if the second divides it out again: a clamp at zero commutes
with that, and so does whatever treats channels alike and is linear, or linear on either side of zero.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeq.ir.graph import ABSENT, Graph, Node
from edgeq.ops.base import Activation
from edgeq.quantize.layers import real_data

LAYERS = ("conv2d", "depthwise_conv2d", "fully_connected")
HOMOGENEOUS = ("relu", "leaky_relu", "prelu", "average_pool_2d", "max_pool_2d", "mean")  # what may stand between


@dataclass(frozen=True)
class Pair:
    """Two layers with a chain of tensors between them that nothing else reads."""

    first: int  # place in nodes
    second: int
    tensors: tuple[int, ...]  # from what the first layer gives to what the second reads

    @property
    def tensor(self) -> int:
        """What the second layer reads."""
        return self.tensors[-1]


def find_pairs(graph: Graph, *, between: Sequence[str] = ()) -> list[Pair]:
    """Return all pairs in the order of their second layers; operators named by ``between`` may stand inside a pair."""
    consumers, exposed = graph.consumers(), {port.tensor for port in graph.outputs}
    place = {index: position for position, node in enumerate(graph.nodes) for index in node.outputs}
    pairs = []
    for position, node in enumerate(graph.nodes):
        tensors: list[int] = []
        tensor = node.inputs[0] if node.inputs else ABSENT
        while tensor in place and tensor not in exposed and len(consumers[tensor]) == 1:
            tensors.insert(0, tensor)
            first = graph.nodes[place[tensor]]
            if first.op.name not in between or not _keeps_channels(first):
                break
            tensor = first.inputs[0]
        else:
            continue
        if all(_has_own_constants(graph, layer, consumers) for layer in (first, node)) and _commutes(
            graph, first, node, tensors
        ):
            pairs.append(Pair(place[tensor], position, tuple(tensors)))
    return pairs


def _keeps_channels(node: Node) -> bool:
    """Say whether an operator between two layers treats channels alike, without an upper bound of its own."""
    last = node.op.name == "mean" and max(node.op.axes, default=0) == 3
    return not last and getattr(node.op, "activation", Activation.NONE) in (Activation.NONE, Activation.RELU)


def _has_own_constants(graph: Graph, node: Node, consumers: dict[int, list[Node]]) -> bool:
    """Say whether weights and bias are constants that no other node reads: a copy of shared ones would cost memory."""
    return node.op.name in LAYERS and all(
        index == ABSENT or (graph.tensors[index].is_constant and len(consumers[index]) == 1)
        for index in node.inputs[1:]
    )


def _commutes(graph: Graph, first: Node, second: Node, tensors: list[int]) -> bool:
    """Say whether channels of the tensors between can be scaled in the first layer and scaled back in the second."""
    channels = graph.tensors[first.outputs[0]].shape[-1]
    weights = graph.tensors[second.inputs[1]].shape
    taken = {"conv2d": weights[-1] == channels, "fully_connected": weights[-1] == channels}
    kept = all(graph.tensors[index].shape[-1] == channels for index in tensors)
    return kept and first.op.activation is not Activation.RELU_N1_TO_1 and taken.get(second.op.name, True)


def per_input(weights: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Spread factors (C,) along the last axis of weights; a depthwise layer has several outputs per input channel."""
    return np.repeat(factors, weights.shape[-1] // len(factors))


def rescale(graph: Graph, factors: Sequence[tuple[Pair, np.ndarray]]) -> Graph:
    """Multiply the channels between each pair's layers by factors (C,); the second layer divides them out again.

    Products are formed in float64 and rounded once for each pair. Rescaled tensors get another name.
    """
    tensors, nodes = list(graph.tensors), list(graph.nodes)

    def scaled(index: int, by: np.ndarray) -> int:
        """Append a constant times factors; return its index."""
        data = np.asarray(real_data(tensors[index]) * by, np.float32)
        tensors.append(dataclasses.replace(tensors[index], data=data))
        return len(tensors) - 1

    for pair, by in factors:
        first, second = nodes[pair.first], nodes[pair.second]
        inputs = list(first.inputs)
        along = [1] * real_data(tensors[inputs[1]]).ndim
        along[first.op.weight_axis] = len(by)
        inputs[1] = scaled(inputs[1], by.reshape(along))
        if len(inputs) > 2 and inputs[2] != ABSENT:
            inputs[2] = scaled(inputs[2], by)
        nodes[pair.first] = dataclasses.replace(first, inputs=tuple(inputs))
        weights = scaled(second.inputs[1], 1 / per_input(real_data(tensors[second.inputs[1]]), by))
        nodes[pair.second] = dataclasses.replace(second, inputs=(second.inputs[0], weights, *second.inputs[2:]))
        for index in pair.tensors:
            tensors[index] = dataclasses.replace(tensors[index], name=f"{tensors[index].name}/equalized")
    return graph.replace(tensors=tensors, nodes=nodes)

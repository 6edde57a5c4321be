# SPDX-License-Identifier: Apache-2.0
"""Which tensors of an unrolled recurrent network are the same quantity at different times."""

from __future__ import annotations

from edgeq.ir.graph import ABSENT, Graph
from edgeq.ops.base import RangeRule
from edgeq.quantize.groups import is_activation

DEPTH = 4  # operators that two tensors must have in common, counted from them backwards
STATE_DEPTH = 8  # which reaches from a cell's state to the weights it was computed with


def find_repeats(graph: Graph, *, states: bool = False) -> list[list[int]]:
    """Return sets of tensors that are computed alike, by the last four operators, from weights that layers share.

    With ``states`` it is the last eight, so that the states of a cell are alike from the step on at which they are.

    They may share one range, and then one copy of every table and constant, at the price of a range that must do for
    all of them. Tensors of a network whose layers have weights of their own are never alike.
    """
    uses: dict[int, int] = {}
    for node in graph.nodes:
        if node.op.weight_input is not None and node.op.weight_input < len(node.inputs):
            weights = node.inputs[node.op.weight_input]
            uses[weights] = uses.get(weights, 0) + 1
    repeated = {index for index, count in uses.items() if count > 1}
    kinds: dict[int, object] = {}
    reached: dict[int, bool] = {}
    for index, tensor in enumerate(graph.tensors):
        kinds[index] = ("constant", index) if tensor.is_constant else "value"
        reached[index] = False
    numbers: dict[object, int] = {}
    for _ in range(STATE_DEPTH if states else DEPTH):
        before, seen = dict(kinds), dict(reached)
        for node in graph.nodes:
            inputs = tuple(ABSENT if index == ABSENT else before[index] for index in node.inputs)
            below = any(index in repeated or (index != ABSENT and seen[index]) for index in node.inputs)
            moves = node.op.range_rule is RangeRule.SAME  # which part is moved is what differs between times
            for place, index in enumerate(node.outputs):
                own = ("moved",) if moves else (node.op, place)
                kind = (*own, inputs, graph.tensors[index].shape)
                kinds[index] = numbers.setdefault(kind, len(numbers))
                reached[index] = below
    alike: dict[object, list[int]] = {}
    for node in graph.nodes:
        for index in node.outputs:
            if reached[index] and is_activation(graph, index):
                alike.setdefault(kinds[index], []).append(index)
    return [members for members in alike.values() if len(members) > 1]

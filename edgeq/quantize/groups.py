# SPDX-License-Identifier: Apache-2.0
"""Which tensors must share one range: those that an operator only moves or selects between."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgeq.ir.dtypes import DType
from edgeq.ir.graph import ABSENT, Graph, Node
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import RangeRule
from edgeq.ops.quantize import Quantize


@dataclass(frozen=True)
class Groups:
    """``of[tensor]`` is the group of each float tensor that is not constant; a group is named by its smallest member.

    ``fixed`` holds the parameters of the groups that an operator prescribes.
    """

    of: dict[int, int]
    fixed: dict[int, QuantParams]


def is_activation(graph: Graph, index: int) -> bool:
    """Say whether a tensor holds real values computed at run time."""
    return index != ABSENT and graph.tensors[index].dtype is DType.F32 and not graph.tensors[index].is_constant


def find_groups(
    graph: Graph, dtypes: Mapping[int, DType] | None = None, *, joined: Iterable[Sequence[int]] = ()
) -> Groups:
    """Join the tensors of every SAME operator; a group is fixed when all its values come from equal FIXED operators.

    ``dtypes`` are those of the activations, all int8 if left out; ``joined`` are further sets of tensors to join.
    """
    parents = {index: index for index in range(len(graph.tensors)) if is_activation(graph, index)}

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    def join(members: list[int]) -> None:
        for member in members:
            parents[member] = min(members)

    moved: set[int] = set()  # outputs of SAME operators
    for node in graph.nodes:
        if node.op.range_rule is RangeRule.SAME:
            join([root(index) for index in (*node.inputs, *node.outputs) if is_activation(graph, index)])
            moved.update(node.outputs)
    for tensors in joined:
        join([root(index) for index in tensors])
    groups = {index: root(index) for index in parents}

    prescribed = _prescribed(graph, dtypes or {})
    sources: dict[int, set[QuantParams | None]] = {}
    for index, group in groups.items():
        if index not in moved:
            sources.setdefault(group, set()).add(prescribed.get(index))
    for node in graph.nodes:
        if node.op.range_rule is RangeRule.SAME and node.outputs[0] in groups:
            held = any(index != ABSENT and graph.tensors[index].dtype is DType.F32 and graph.tensors[index].is_constant
                       for index in node.inputs)  # fmt: skip
            if held:
                sources.setdefault(groups[node.outputs[0]], set()).add(None)
    fixed = {}
    for group, found in sources.items():
        only = next(iter(found)) if len(found) == 1 else None
        if only is not None:
            fixed[group] = only
    return Groups(groups, fixed)


def separate_fixed(graph: Graph) -> Graph:
    """Insert a QUANTIZE where the result of a FIXED operator joins a group that also holds other values.

    The operators of that group read the requantized copy, all others the original.
    """
    groups = find_groups(graph)
    prescribed = _prescribed(graph, {})
    apart = {index for index in prescribed if groups.of[index] not in groups.fixed}
    tensors = list(graph.tensors)
    nodes: list[Node] = []
    copies: dict[int, int] = {}
    for node in graph.nodes:
        if node.op.range_rule is RangeRule.SAME:
            for index in apart.intersection(node.inputs) - copies.keys():
                copies[index] = len(tensors)
                tensors.append(dataclasses.replace(tensors[index], name=f"{tensors[index].name}/requantized"))
                nodes.append(Node(f"{tensors[index].name}/requantize", Quantize(), (index,), (copies[index],)))
            node = dataclasses.replace(node, inputs=tuple(copies.get(index, index) for index in node.inputs))
        nodes.append(node)
    return graph.replace(tensors=tensors, nodes=nodes)


def _prescribed(graph: Graph, dtypes: Mapping[int, DType]) -> dict[int, QuantParams]:
    """Map the outputs of FIXED operators to their parameters."""
    return {
        index: node.op.fixed_quant(dtypes.get(index, DType.S8))
        for node in graph.nodes
        if node.op.range_rule is RangeRule.FIXED
        for index in node.outputs
        if is_activation(graph, index)
    }

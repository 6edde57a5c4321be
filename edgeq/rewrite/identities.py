# SPDX-License-Identifier: Apache-2.0
"""Remove nodes that give their input back: a reshape to the same shape, padding by nothing and the like."""

from __future__ import annotations

import dataclasses

from edgeq.ir.graph import ABSENT, Graph, Node
from edgeq.ops.base import Activation


def remove_identities(graph: Graph) -> Graph:
    """Let the readers of an identity's output read its input.

    An identity stays only where it stands between a model input or a constant and a model output, since each port
    keeps a tensor of its own.
    """
    computed = {index for node in graph.nodes for index in node.outputs}
    exposed = {port.tensor for port in graph.outputs}
    stands_for = {ABSENT: ABSENT}  # output of a removed identity -> what replaces it
    nodes = []
    for node in graph.nodes:
        inputs = tuple(stands_for.get(index, index) for index in node.inputs)
        node = dataclasses.replace(node, inputs=inputs)
        if _is_identity(graph, node) and (node.outputs[0] not in exposed or inputs[0] in computed - exposed):
            stands_for[node.outputs[0]] = inputs[0]
            if node.outputs[0] in exposed:
                exposed.add(inputs[0])
        else:
            nodes.append(node)
    outputs = [dataclasses.replace(port, tensor=stands_for.get(port.tensor, port.tensor)) for port in graph.outputs]
    return graph.replace(nodes=nodes, outputs=outputs)


def _is_identity(graph: Graph, node: Node) -> bool:
    if len(node.outputs) != 1 or not node.inputs or node.inputs[0] == ABSENT:
        return False
    op, source, target = node.op, graph.tensors[node.inputs[0]], graph.tensors[node.outputs[0]]
    if source.shape != target.shape or source.dtype is not target.dtype or source.quant != target.quant:
        return False
    if op.name == "transpose":
        return tuple(op.permutation) == tuple(range(len(source.shape)))
    if op.name == "strided_slice":
        return all(step == 1 for step in op.strides)
    if op.name == "concatenation":
        return len(node.inputs) == 1 and op.activation is Activation.NONE
    return op.name in ("reshape", "slice", "pad", "mirror_pad", "split")

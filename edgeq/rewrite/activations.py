# SPDX-License-Identifier: Apache-2.0
"""Fuse a standalone RELU, RELU6 or RELU_N1_TO_1 into the operator that computes its input."""

from __future__ import annotations

import dataclasses

from edgeq.ir.graph import Graph, Node
from edgeq.ops.base import Activation

ACTIVATIONS = {"relu": Activation.RELU, "relu6": Activation.RELU6, "relu_n1_to_1": Activation.RELU_N1_TO_1}


def fuse_activations(graph: Graph) -> Graph:
    """Move each clamp into its producer, where that has an ``activation`` still free and nobody else reads it."""
    consumers = graph.consumers()
    exposed = {port.tensor for port in graph.outputs}
    nodes: list[Node] = []
    position: dict[int, int] = {}  # tensor -> place in nodes of the node that computes it
    for node in graph.nodes:
        source = node.inputs[0] if node.inputs else None
        if node.op.name in ACTIVATIONS and source in position:
            producer = nodes[position[source]]
            free = getattr(producer.op, "activation", None) is Activation.NONE
            if free and len(producer.outputs) == 1 and len(consumers[source]) == 1 and source not in exposed:
                op = dataclasses.replace(producer.op, activation=ACTIVATIONS[node.op.name])
                nodes[position[source]] = dataclasses.replace(producer, op=op, outputs=node.outputs)
                position[node.outputs[0]] = position.pop(source)
                continue
        for index in node.outputs:
            position[index] = len(nodes)
        nodes.append(node)
    return graph.replace(nodes=nodes)

# SPDX-License-Identifier: Apache-2.0
"""Dead code: drop nodes that no output depends on and tensors that nothing names."""

from __future__ import annotations

import dataclasses

from edgeq.ir.graph import ABSENT, Graph


def remove_dead(graph: Graph) -> Graph:
    """Keep only what the outputs depend on; inputs stay, used or not. Tensors are renumbered in their old order."""
    needed = {port.tensor for port in graph.outputs}
    nodes = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            needed.update(index for index in node.inputs if index != ABSENT)
            needed.update(node.outputs)
            nodes.append(node)
    needed.update(port.tensor for port in graph.inputs)
    if len(needed) == len(graph.tensors) and len(nodes) == len(graph.nodes):
        return graph
    number = {old: new for new, old in enumerate(sorted(needed))}
    number[ABSENT] = ABSENT
    return graph.replace(
        tensors=[graph.tensors[index] for index in sorted(needed)],
        nodes=[
            dataclasses.replace(
                node,
                inputs=tuple(number[index] for index in node.inputs),
                outputs=tuple(number[index] for index in node.outputs),
            )
            for node in reversed(nodes)
        ],
        inputs=[dataclasses.replace(port, tensor=number[port.tensor]) for port in graph.inputs],
        outputs=[dataclasses.replace(port, tensor=number[port.tensor]) for port in graph.outputs],
    )

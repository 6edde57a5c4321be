# SPDX-License-Identifier: Apache-2.0
"""Common subexpressions: compute once what several nodes compute from the same inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable

from edgeq.ir.graph import Graph, Tensor


def merge_duplicates(graph: Graph) -> Graph:
    """Let the readers of a node's outputs read those of an earlier node with equal operator and equal inputs.

    Constants count as equal by their codes, and outputs must agree in shape, dtype and quantization. A node that
    computes a model output stays.
    """
    exposed = {port.tensor for port in graph.outputs}
    constants: dict[Hashable, int] = {}
    stands_for: dict[int, int] = {}  # a tensor -> the first one equal to it
    for index, tensor in enumerate(graph.tensors):
        if tensor.data is not None:
            stands_for[index] = constants.setdefault((_kind(tensor), tensor.data.tobytes()), index)
    nodes = []
    outputs_of: dict[Hashable, tuple[int, ...]] = {}
    for node in graph.nodes:
        node = dataclasses.replace(node, inputs=tuple(stands_for.get(index, index) for index in node.inputs))
        key = (node.op, node.inputs, tuple(_kind(graph.tensors[index]) for index in node.outputs))
        same = outputs_of.setdefault(key, node.outputs)
        if same == node.outputs or exposed.intersection(node.outputs):
            nodes.append(node)
        else:
            stands_for.update(zip(node.outputs, same, strict=True))
    return graph.replace(nodes=nodes)


def _kind(tensor: Tensor) -> Hashable:
    return tensor.shape, tensor.dtype, tensor.quant, tensor.coding

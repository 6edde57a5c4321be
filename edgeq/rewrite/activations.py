# SPDX-License-Identifier: Apache-2.0
"""Fuse a standalone RELU, RELU6 or RELU_N1_TO_1 into the operator that computes its input."""

from __future__ import annotations

import dataclasses

from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Graph, Node, Tensor
from edgeq.ops.base import Activation

CLAMPING = (
    "add", "average_pool_2d", "conv2d", "depthwise_conv2d", "fully_connected", "max_pool_2d", "mul", "sub",
    "transpose_conv",
)  # fmt: skip
ACTIVATIONS = {"relu": Activation.RELU, "relu6": Activation.RELU6, "relu_n1_to_1": Activation.RELU_N1_TO_1}


def fuse_activations(graph: Graph) -> Graph:
    """Move each clamp into its producer, where that has an ``activation`` still free and nobody else reads it.

    Of integers only clamps that change no scale, and of int8 only: int16 ones interpolate in a table.
    """
    consumers = graph.consumers()
    exposed = {port.tensor for port in graph.outputs}
    nodes: list[Node] = []
    position: dict[int, int] = {}  # tensor -> place in nodes of the node that computes it
    for node in graph.nodes:
        source = node.inputs[0] if node.inputs else None
        if node.op.name in ACTIVATIONS and source in position:
            producer = nodes[position[source]]
            free = producer.op.name in CLAMPING and producer.op.activation is Activation.NONE
            plain = _only_clamps(graph.tensors[source], graph.tensors[node.outputs[0]])
            if free and plain and len(consumers[source]) == 1 and source not in exposed:
                op = dataclasses.replace(producer.op, activation=ACTIVATIONS[node.op.name])
                nodes[position[source]] = dataclasses.replace(producer, op=op, outputs=node.outputs)
                position[node.outputs[0]] = position.pop(source)
                continue
        for index in node.outputs:
            position[index] = len(nodes)
        nodes.append(node)
    return graph.replace(nodes=nodes)


def _only_clamps(source: Tensor, target: Tensor) -> bool:
    return source.dtype.is_float or (source.dtype is target.dtype is DType.S8 and source.quant == target.quant)

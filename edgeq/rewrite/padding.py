# SPDX-License-Identifier: Apache-2.0
"""Fuse a PAD by zeros into the convolution that reads it."""

from __future__ import annotations

import dataclasses

import numpy as np

from edgeq.ir.graph import ABSENT, Graph, Node


def fuse_padding(graph: Graph) -> Graph:
    """Turn PAD and a VALID convolution behind it into one convolution with explicit padding.

    Exact in integers too: a padded code is the input's zero point either way. Done only where the padding is spatial
    and means zero, and nobody else reads the padded tensor.
    """
    consumers = graph.consumers()
    exposed = {port.tensor for port in graph.outputs}
    pads: dict[int, Node] = {}  # padded tensor -> its PAD
    nodes = []
    fused: set[int] = set()
    for node in graph.nodes:
        if node.op.name == "pad" and _pads_spatially_by_zero(graph, node):
            pads[node.outputs[0]] = node
        source = node.inputs[0] if node.inputs else ABSENT
        if (
            node.op.name in ("conv2d", "depthwise_conv2d")
            and source in pads
            and node.op.padding == "valid"
            and len(consumers[source]) == 1
            and source not in exposed
        ):
            (top, bottom), (left, right) = pads[source].op.paddings[1:3]
            op = dataclasses.replace(node.op, padding=(int(top), int(bottom), int(left), int(right)))
            node = dataclasses.replace(node, op=op, inputs=(pads[source].inputs[0], *node.inputs[1:]))
            fused.add(source)
        nodes.append(node)
    return graph.replace(nodes=[node for node in nodes if not fused.intersection(node.outputs)])


def _pads_spatially_by_zero(graph: Graph, node: Node) -> bool:
    source = graph.tensors[node.inputs[0]]
    paddings, value = node.op.paddings, graph.tensor(node.inputs[1]) if len(node.inputs) > 1 else None
    if len(paddings) != 4 or any(paddings[0]) or any(paddings[3]):
        return False
    if value is None:
        return True
    zero = 0 if source.quant is None else source.quant.zero_point
    return value.data is not None and bool(np.all(value.data == zero))

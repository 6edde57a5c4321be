# SPDX-License-Identifier: Apache-2.0
"""Trim outer rows and columns of kernels that are zero in every channel."""

from __future__ import annotations

import dataclasses

import numpy as np

from edgeq.ir.graph import Graph, Node, Tensor
from edgeq.ops.coded_weights import has_coding
from edgeq.ops.convolution import pair_of, slide

KERNEL_AXES = (1, 2)  # of the weights of both operators


def trim_zero_taps(graph: Graph) -> Graph:
    """Cut outer kernel rows and columns whose weights are all zero off convolutions, moving the padding along.

    A row or column stays where the smaller window could not be placed: that would take negative padding. Low-bit
    weights stay as they are, for a group of them may reach over several taps.
    """
    tensors = list(graph.tensors)
    nodes = [
        _trimmed(graph, node, tensors) if node.op.name in ("conv2d", "depthwise_conv2d") else node
        for node in graph.nodes
    ]
    return graph.replace(tensors=tensors, nodes=nodes)


def _trimmed(graph: Graph, node: Node, tensors: list[Tensor]) -> Node:
    """Return the node with a smaller kernel where it has one, its new weights appended to ``tensors``."""
    source, kernel = graph.tensors[node.inputs[0]], graph.tensors[node.inputs[1]]
    if kernel.data is None or kernel.quant is None or len(source.shape) != 4 or has_coding(kernel):
        return node
    op, size = node.op, pair_of(source.shape[1:3])
    window = slide(size, pair_of(kernel.shape[1:3]), stride=op.stride, padding=op.padding, dilation=op.dilation)
    used = kernel.data != kernel.quant.zero_points[0]
    data, padding = kernel.data, []
    for axis in range(2):
        taps = np.flatnonzero(used.any(axis=tuple(other for other in range(4) if other != KERNEL_AXES[axis])))
        first, last = (int(taps[0]), int(taps[-1])) if len(taps) else (0, 0)
        stride, dilation = op.stride[axis], op.dilation[axis]
        first = min(first, window.before[axis] // dilation)
        before = window.before[axis] - first * dilation
        reach = (window.output[axis] - 1) * stride + (last - first) * dilation + 1
        while size[axis] + before - reach >= stride:  # one more output would fit; ends at the kernel's old size
            last, reach = last + 1, reach + dilation
        padding += [before, max(0, reach - size[axis] - before)]
        data = np.take(data, np.arange(first, last + 1), axis=KERNEL_AXES[axis])
    if data.shape == kernel.shape:
        return node
    tensors.append(dataclasses.replace(kernel, shape=data.shape, data=np.ascontiguousarray(data)))
    positions = (node.inputs[0], len(tensors) - 1, *node.inputs[2:])
    return dataclasses.replace(node, op=dataclasses.replace(op, padding=tuple(padding)), inputs=positions)

# SPDX-License-Identifier: Apache-2.0
"""Compute at convert time the tensors of a quantized graph that are the same whatever the inputs."""

from __future__ import annotations

import dataclasses

import numpy as np

from edgeq.ir.graph import ABSENT, Graph, Node
from edgeq.ops.elementwise import Binary
from edgeq.ops.unary import Unary
from edgeq.rewrite.code_ranges import code_ranges
from edgeq.rewrite.folds import Folds

# Operators whose integers do not depend on whether their first input is a constant.
INDIFFERENT = (
    "average_pool_2d", "conv2d", "depthwise_conv2d", "fully_connected", "max_pool_2d", "mean", "pad", "quantize",
    "reduce_max", "reduce_min", "reshape", "softmax", "sum",
)  # fmt: skip


def fold_constant_codes(graph: Graph, folds: Folds) -> Graph:
    """Replace nodes by their results where those are constant: by constant inputs, or by the range of their codes.

    A node stays when it computes a model output, or feeds an operator that treats constants in a way of its own.
    """
    ranges = code_ranges(graph, folds)
    exposed = {port.tensor for port in graph.outputs}
    consumers = graph.consumers()
    tensors = list(graph.tensors)
    nodes = []
    for node in graph.nodes:
        readers = [(reader, index) for index in node.outputs for reader in consumers.get(index, ())]
        if exposed.intersection(node.outputs) or not all(_may_be_constant(*reader) for reader in readers):
            nodes.append(node)
            continue
        inputs = tuple(None if index == ABSENT else tensors[index] for index in node.inputs)
        if all(tensor is None or tensor.is_constant for tensor in inputs):
            results = node.op.reference_q(
                [None] * len(inputs), inputs=inputs, outputs=graph.output_tensors(node), rounding=folds.rounding
            )
        elif all(tensors[index].shape and ranges[index].is_constant.all() for index in node.outputs):
            results = [np.broadcast_to(ranges[index].low, tensors[index].shape) for index in node.outputs]
        else:
            nodes.append(node)
            continue
        for index, result in zip(node.outputs, results, strict=True):
            data = np.ascontiguousarray(np.asarray(result, tensors[index].dtype.numpy).reshape(tensors[index].shape))
            tensors[index] = dataclasses.replace(tensors[index], data=data)
    return graph.replace(tensors=tensors, nodes=nodes)


def _may_be_constant(reader: Node, index: int) -> bool:
    if isinstance(reader.op, Binary) or reader.op.name == "concatenation":
        return True
    indifferent = isinstance(reader.op, Unary) or reader.op.name in INDIFFERENT
    return indifferent and index not in reader.inputs[1:]

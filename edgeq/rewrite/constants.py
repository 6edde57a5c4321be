# SPDX-License-Identifier: Apache-2.0
"""Constant folding: compute at convert time what does not depend on the inputs."""

from __future__ import annotations

import dataclasses

import numpy as np

from edgeq.ir.graph import ABSENT, Graph

MAX_BYTES = 64 << 20  # a constant that would grow beyond this is left to be computed at run time


def fold_constants(graph: Graph) -> Graph:
    """Replace every node of a float graph whose inputs are all constant by its results.

    A node stays when its outputs exceed 64 MiB together.
    """
    tensors = list(graph.tensors)
    nodes = []
    for node in graph.nodes:
        sources = [tensors[index] for index in node.inputs if index != ABSENT]
        size = sum(tensors[index].bytes for index in node.outputs)
        if not sources or not all(source.is_constant for source in sources) or size > MAX_BYTES:
            nodes.append(node)
            continue
        values = [None if index == ABSENT else tensors[index].data for index in node.inputs]
        for index, result in zip(node.outputs, node.op.reference(values), strict=True):
            data = np.ascontiguousarray(np.asarray(result, tensors[index].dtype.numpy).reshape(tensors[index].shape))
            tensors[index] = dataclasses.replace(tensors[index], data=data)
    return graph.replace(tensors=tensors, nodes=nodes)

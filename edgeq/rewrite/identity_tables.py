# SPDX-License-Identifier: Apache-2.0
"""Turn unary operators that give every code back, requantizations among them, into views of their input."""

from __future__ import annotations

import dataclasses

import numpy as np

from edgeq.ir.graph import Graph
from edgeq.ops.lut import LutStep
from edgeq.ops.reshape import Reshape
from edgeq.rewrite.code_ranges import code_ranges
from edgeq.rewrite.folds import Folds


def remove_identity_tables(graph: Graph, folds: Folds) -> Graph:
    """Replace tables that map each code their input can have to itself by reshapes, which move no data.

    The output keeps its own scale and zero point. A node that computes a model output stays.
    """
    ranges = code_ranges(graph, folds)
    exposed = {port.tensor for port in graph.outputs}
    nodes = []
    for node in graph.nodes:
        step = folds.step(graph, node)
        if isinstance(step, LutStep) and not exposed.intersection(node.outputs):
            source, target = graph.tensors[node.inputs[0]], graph.tensors[node.outputs[0]]
            low, high = ranges[node.inputs[0]]
            codes = np.arange(low.min(), high.max() + 1)
            if source.dtype is target.dtype and np.array_equal(step.table[codes & 0xFF], codes & 0xFF):
                node = dataclasses.replace(node, op=Reshape(target.shape), inputs=node.inputs[:1])
        nodes.append(node)
    return graph.replace(nodes=nodes)

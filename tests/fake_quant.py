# SPDX-License-Identifier: Apache-2.0
"""Run a float graph with every tensor rounded to 8 bits, one scale per tensor: the coarsest int8 there is."""

from __future__ import annotations

import numpy as np

from edgeq.ir.graph import ABSENT, Graph, Node
from edgeq.quantize.affine import params_of_range, quantize


def rounded(values: np.ndarray, *, symmetric: bool = False) -> np.ndarray:
    """Return the nearest of 256 values over the range of an array, 255 around zero if ``symmetric``."""
    low, high = float(values.min()), float(values.max())
    if symmetric:
        low, high = -max(-low, high), max(-low, high) * 127 / 128
    params = params_of_range(low, high, name="x")
    return (quantize(values, params).astype(np.float64) - params.zero_point) * params.scale


def run_rounded(graph: Graph, feeds: list[np.ndarray], *, activations: bool = True) -> list[np.ndarray]:
    """Return the outputs with weights rounded and, unless told otherwise, activations; biases stay."""
    values = {port.tensor: feed.astype(np.float64) for port, feed in zip(graph.inputs, feeds, strict=True)}

    def read(node: Node, place: int) -> np.ndarray | None:
        index = node.inputs[place]
        if index == ABSENT:
            return None
        if index in values:
            return rounded(values[index]) if activations else values[index]
        data = graph.tensors[index].data
        assert data is not None
        return rounded(data, symmetric=True) if place == node.op.weight_input else data.astype(np.float64)

    for node in graph.nodes:
        results = node.op.reference([read(node, place) for place in range(len(node.inputs))])
        values.update(zip(node.outputs, results, strict=True))
    return [values[port.tensor] for port in graph.outputs]

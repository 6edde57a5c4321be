# SPDX-License-Identifier: Apache-2.0
"""How far a quantized graph's outputs are from the float graph's."""

from __future__ import annotations

import numpy as np

from edgeq.ir.boundary import dequantize, quantize_real
from edgeq.ir.graph import Graph
from edgeq.ops.base import Rounding
from edgeq.ops.execute import run_float
from edgeq.rewrite.batch import rebatch, with_batch


def output_noise(graph: Graph, quantized: Graph, arrays: list[np.ndarray]) -> float:
    """Return error power over signal power, the mean over the outputs; arrays (n, ...) are the inputs.

    Raises UnsupportedError for a graph that cannot run n samples at once.
    """
    runner, twin = with_batch(graph, len(arrays[0])), rebatch(quantized, len(arrays[0]))
    noises = []
    for port, expected, codes in zip(twin.outputs, run_float(runner, arrays), run_codes(twin, arrays), strict=True):
        params = twin.tensors[port.tensor].quant
        found = codes if params is None else dequantize(codes, params)
        error = np.sum((found - expected.astype(np.float64)) ** 2)
        noises.append(error / max(float(np.sum(expected.astype(np.float64) ** 2)), 1e-30))
    return float(np.mean(noises))


def run_codes(graph: Graph, feeds: list[np.ndarray]) -> list[np.ndarray]:
    """Run a quantized graph through the integer twins of its operators; return the outputs' codes."""
    values: dict[int, np.ndarray] = {
        index: tensor.data for index, tensor in enumerate(graph.tensors) if tensor.data is not None
    }
    for port, feed in zip(graph.inputs, feeds, strict=True):
        tensor = graph.tensors[port.tensor]
        values[port.tensor] = feed if tensor.quant is None else quantize_real(feed, tensor.quant, tensor.dtype)
    for node in graph.nodes:
        codes = [values.get(index) for index in node.inputs]
        inputs, outputs = graph.input_tensors(node), graph.output_tensors(node)
        results = node.op.reference_q(codes, inputs=inputs, outputs=outputs, rounding=Rounding.NATIVE)
        values.update(zip(node.outputs, results, strict=True))
    return [values[port.tensor] for port in graph.outputs]

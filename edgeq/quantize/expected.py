# SPDX-License-Identifier: Apache-2.0
"""Analytic bias correction: what rounded weights do to the mean of a layer's outputs, taken back by its bias.

The rounding errors dW of a channel's weights do not average out: they shift its mean by dW E[x]. The mean of the inputs
comes from propagation or from samples, made-up ones included, so no quantized model needs to run. Source: Nagel et al.,
"Data-free quantization through weight equalization and bias correction", arXiv 1906.04721, section 4.2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from edgeq.errors import BadInputError
from edgeq.ir.graph import Graph, Node
from edgeq.ops.base import Activation
from edgeq.quantize.layers import bias_of, real_data


def layer_response(graph: Graph, node: Node, weights: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """Return what weights alone, without bias and activation, make of inputs: (C,), or the shape of the layer's input.

    The result (..., O) is float64 and has every output position, so that padded borders show.
    """
    image = np.broadcast_to(inputs, graph.tensors[node.inputs[0]].shape).astype(np.float64)
    op = dataclasses.replace(node.op, activation=Activation.NONE)
    return np.asarray(op.reference([image, weights.astype(np.float64)])[0])


def correct_biases(
    graph: Graph, weights: Mapping[int, np.ndarray], means: Mapping[int, np.ndarray]
) -> dict[int, np.ndarray]:
    """Return a bias (O,) for each layer under which rounded weights keep the mean of its outputs.

    ``weights`` are the real values of rounded weights by the index of the layer's output tensor; the result has the
    same keys. ``means`` are of the layers' inputs: an array (C,) or of the tensor's own shape. Raises BadInputError for
    a layer whose input has no mean.
    """
    corrected = {}
    for node in graph.nodes:
        index = node.outputs[0]
        if index in weights:
            if node.inputs[0] not in means:
                raise BadInputError(f"{node.op.name} {node.name!r}: the mean of its input is not known")
            error = weights[index] - real_data(graph.tensors[node.inputs[1]])
            shift = layer_response(graph, node, error, means[node.inputs[0]])
            corrected[index] = bias_of(graph, node) - shift.reshape(-1, shift.shape[-1]).mean(axis=0)
    return corrected

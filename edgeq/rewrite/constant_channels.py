# SPDX-License-Identifier: Apache-2.0
"""Move what constant channels add to a layer's sums into its bias."""

from __future__ import annotations

import dataclasses

import numpy as np

from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import INT32_MAX, INT32_MIN
from edgeq.ir.graph import ABSENT, Graph, Node, Tensor
from edgeq.ops.conv2d import Conv2dStep
from edgeq.ops.linear import bias_codes
from edgeq.rewrite.code_ranges import CodeRange, centred_weights, code_ranges, tap_patterns
from edgeq.rewrite.folds import Folds

LAYERS = ("conv2d", "fully_connected")


def absorb_constant_channels(graph: Graph, folds: Folds) -> Graph:
    """Give weights that meet constant int8 codes the value of zero and add their products to the bias.

    A channel that always has code v adds w * (v - zero point) for each tap inside the image, and nothing for a tap
    outside. The products move only where their sum is the same at every output pixel, borders included, and where all
    biases of the output channel stay in int32. Afterwards the layer does not read the channel. The accumulators stay
    bounded as they were proved: |bias'| grows by at most the 128 |w| that the channel could add.
    """
    ranges = code_ranges(graph, folds)
    tensors = list(graph.tensors)
    nodes = [_absorbed(graph, node, ranges, tensors, folds) for node in graph.nodes]
    return graph.replace(tensors=tensors, nodes=nodes)


def _absorbed(graph: Graph, node: Node, ranges: list[CodeRange], tensors: list[Tensor], folds: Folds) -> Node:
    """Return the node with constants absorbed, its new weights and bias appended to ``tensors``."""
    if node.op.name not in LAYERS:
        return node
    inputs = graph.input_tensors(node)
    step, source, kernel = folds.step(graph, node), inputs[0], inputs[1]
    if not isinstance(step, Conv2dStep) or step.groups != 1 or source is None or kernel is None or kernel.data is None:
        return node
    found = ranges[node.inputs[0]].regrouped(source.shape, step.input[3])
    constant = np.flatnonzero(found.is_constant)
    weights = centred_weights(step)[..., constant]  # (O, KH, KW, n)
    products = weights * (found.low[constant] - step.input_zero)
    sums = np.einsum("pyx,oyxn->pon", tap_patterns(step).astype(np.int64), products)
    moved = np.all(sums == sums[0], axis=0) & np.any(weights, axis=(1, 2))  # (O, n)
    before = bias_codes(inputs, len(weights))
    after = before + (sums[0] * moved).sum(axis=1)
    moved[(after < INT32_MIN) | (after > INT32_MAX)] = False
    if not moved.any():
        return node

    data = kernel.data.reshape(step.output[3], *step.kernel, -1).copy()
    for channel, rows in zip(constant, moved.T, strict=True):
        data[rows, ..., channel] = step.weights_zero
    positions = [*node.inputs, *[ABSENT] * (3 - len(node.inputs))]
    positions[1] = len(tensors)
    tensors.append(dataclasses.replace(kernel, data=data.reshape(kernel.shape)))
    bias = inputs[2] if len(inputs) > 2 else None
    if bias is None:
        bias = Tensor(f"{node.name}/bias", (len(before),), DType.S32)
    codes = np.where(moved.any(axis=1), after, before).astype(bias.dtype.numpy)
    positions[2] = len(tensors)
    tensors.append(dataclasses.replace(bias, data=codes.reshape(bias.shape)))
    return dataclasses.replace(node, inputs=tuple(positions))

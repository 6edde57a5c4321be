# SPDX-License-Identifier: Apache-2.0
"""Linear layers as matrices: weights as rows of output channels, images as rows of windows."""

from __future__ import annotations

import numpy as np

from edgeq.ir.graph import ABSENT, Graph, Node, Tensor
from edgeq.ops.convolution import pair_of, slide, tap_places
from edgeq.quantize.assign import LINEAR


def rows_of(weights: np.ndarray, axis: int) -> np.ndarray:
    """Return weights as rows (O, K), output channels along ``axis``, K in the order in which products are summed."""
    return np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)


def from_rows(rows: np.ndarray, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """Return rows (O, K) as weights of a shape, undoing ``rows_of``."""
    others = [size for place, size in enumerate(shape) if place != axis]
    return np.ascontiguousarray(np.moveaxis(rows.reshape(shape[axis], *others), 0, axis))


def real_data(tensor: Tensor) -> np.ndarray:
    """Return a constant as float64."""
    assert tensor.data is not None
    return tensor.data.astype(np.float64)


def weight_rows(graph: Graph, node: Node) -> np.ndarray:
    """Return the weights of a linear layer as rows (O, K) float64."""
    return rows_of(real_data(graph.tensors[node.inputs[1]]), node.op.weight_axis)


def bias_index(node: Node) -> int:
    """Return the index of a linear layer's bias, ABSENT where it has none."""
    return node.inputs[2] if len(node.inputs) > 2 else ABSENT


def bias_of(graph: Graph, node: Node) -> np.ndarray:
    """Return a linear layer's bias (O,) float64, zeros where it has none."""
    index = bias_index(node)
    if index == ABSENT:
        return np.zeros(graph.tensors[node.inputs[1]].shape[node.op.weight_axis])
    return real_data(graph.tensors[index]).reshape(-1)


def is_linear(graph: Graph, node: Node) -> bool:
    """Say whether a node is a layer whose weights, and bias if any, are float constants."""
    if node.op.name not in LINEAR:
        return False
    constants = [graph.tensors[index] for index in node.inputs[1:] if index != ABSENT]
    return all(tensor.is_constant and tensor.dtype.is_float for tensor in constants)


def window_count(node: Node, x: np.ndarray, weights: tuple[int, ...]) -> int:
    """Return how many rows ``windows_of`` can take from an input, weights being of that shape."""
    if node.op.name == "fully_connected":
        return x.size // weights[1]
    window = slide(
        pair_of(x.shape[1:3]),
        pair_of(weights[1:3]),
        stride=node.op.stride,
        padding=node.op.padding,
        dilation=node.op.dilation,
    )
    return len(x) * window.output[0] * window.output[1]


def windows_of(node: Node, x: np.ndarray, weights: tuple[int, ...], taken: np.ndarray) -> np.ndarray:
    """Return the rows of an input that a layer multiplies with its weights: (groups, n, K).

    ``weights`` is the shape of the layer's weights, ``taken`` (n,) the numbers of the wanted rows, which count tokens,
    or output pixels over all images. Taps outside the image are 0.
    """
    if node.op.name == "fully_connected":
        return x.reshape(1, -1, weights[1])[:, taken]
    kernel = pair_of(weights[1:3])
    window = slide(
        pair_of(x.shape[1:3]), kernel, stride=node.op.stride, padding=node.op.padding, dilation=node.op.dilation
    )
    image, row, column = np.unravel_index(taken, (len(x), *window.output))
    depth = 1 if node.op.name == "depthwise_conv2d" else weights[3]
    groups = x.shape[3] // depth
    found = np.zeros((len(taken), *kernel, x.shape[3]), x.dtype)
    for y, z in np.ndindex(*kernel):
        rows, row_inside = tap_places(x.shape[1], window, 0, y)
        columns, column_inside = tap_places(x.shape[2], window, 1, z)
        inside = row_inside[row] & column_inside[column]
        found[:, y, z] = np.where(inside[:, np.newaxis], x[image, rows[row], columns[column]], 0)
    grouped = found.reshape(len(taken), kernel[0] * kernel[1], groups, depth)
    return np.ascontiguousarray(grouped.transpose(2, 0, 1, 3).reshape(groups, len(taken), -1))

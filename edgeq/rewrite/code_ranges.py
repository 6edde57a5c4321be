# SPDX-License-Identifier: Apache-2.0
"""Interval analysis of a quantized graph: which codes each channel of each tensor can take, over all inputs."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import INT32_MAX, INT32_MIN
from edgeq.ir.graph import ABSENT, Graph, Node, Tensor
from edgeq.ops.base import Step
from edgeq.ops.conv2d import Conv2dStep
from edgeq.ops.depthwise_conv2d import DepthwiseConv2dStep
from edgeq.ops.lut import LutStep
from edgeq.rewrite.folds import Folds

# Operators whose results never fall when a code of an input rises: the smallest codes give the smallest results.
RISING = (
    "average_pool_2d", "concatenation", "max_pool_2d", "mean", "mirror_pad", "pad", "quantize", "reduce_max",
    "reduce_min", "reshape", "slice", "split", "strided_slice", "transpose",
)  # fmt: skip
# Operators on two tensors that are largest and smallest at corners of the box of their operands.
CORNERS = ("add", "maximum", "minimum", "mul", "sub")


class CodeRange(NamedTuple):
    """The smallest and the largest code of each channel (the last axis) at any position, both (C,) int64."""

    low: np.ndarray
    high: np.ndarray

    @property
    def is_constant(self) -> np.ndarray:
        """Say of each channel whether it has one code everywhere (C,)."""
        return np.asarray(self.low == self.high)

    def regrouped(self, shape: Sequence[int], channels: int) -> CodeRange:
        """Return the ranges of a tensor of ``shape`` read as rows of ``channels``."""
        if len(self.low) == channels:
            return self
        rows = [np.broadcast_to(bound, shape).reshape(-1, channels) for bound in self]
        return CodeRange(rows[0].min(axis=0), rows[1].max(axis=0))


def code_ranges(graph: Graph, folds: Folds) -> list[CodeRange]:
    """Bound the codes of every tensor of a graph all of whose nodes fold.

    The bounds hold at every position, those included whose windows leave the image. What is not known to be smaller
    has the range of its dtype.
    """
    ranges = [_range_of(tensor) for tensor in graph.tensors]
    for node in graph.nodes:
        for index, found in zip(node.outputs, _results(graph, node, ranges, folds), strict=True):
            ranges[index] = found
    return ranges


def tap_patterns(step: Conv2dStep | DepthwiseConv2dStep) -> np.ndarray:
    """Return the distinct sets of taps that lie inside the image at some output pixel, (P, KH, KW) bool."""
    axes = []
    for axis in range(2):
        starts = np.arange(step.output[axis + 1])[:, None] * step.stride[axis] - step.padding[axis]
        places = starts + np.arange(step.kernel[axis]) * step.dilation[axis]  # (OH, KH)
        axes.append(np.unique((places >= 0) & (places < step.input[axis + 1]), axis=0))
    rows, columns = axes
    return np.asarray((rows[:, None, :, None] & columns[None, :, None, :]).reshape(-1, *step.kernel))


def centred_weights(step: Conv2dStep | DepthwiseConv2dStep) -> np.ndarray:
    """Return the weights less their zero point, (O, KH, KW, C / groups) int64."""
    weights = step.weights.astype(np.int64) - step.weights_zero
    if isinstance(step, DepthwiseConv2dStep):
        return weights.reshape(*step.kernel, 1, -1).transpose(3, 0, 1, 2)
    return weights.reshape(step.output[3], *step.kernel, -1)


def _range_of(tensor: Tensor) -> CodeRange:
    if tensor.dtype.is_float:
        return CodeRange(np.zeros(0, np.int64), np.zeros(0, np.int64))  # of no use to an integer step
    channels = tensor.shape[-1] if tensor.shape else 1
    if tensor.data is not None:
        rows = tensor.data.reshape(-1, channels).astype(np.int64)
        return CodeRange(rows.min(axis=0), rows.max(axis=0))
    low, high = (0, 1) if tensor.dtype is DType.BOOL else tensor.dtype.limits
    return CodeRange(np.full(channels, low, np.int64), np.full(channels, high, np.int64))


def _results(graph: Graph, node: Node, ranges: Sequence[CodeRange], folds: Folds) -> list[CodeRange]:
    """Bound the outputs of a node."""
    inputs, outputs = graph.input_tensors(node), graph.output_tensors(node)
    step = folds.step(graph, node)
    if isinstance(step, Conv2dStep | DepthwiseConv2dStep):
        source = graph.tensors[node.inputs[0]]
        return [_linear(step, ranges[node.inputs[0]].regrouped(source.shape, step.input[3]))]
    if isinstance(step, LutStep):
        return [_table(step, ranges[node.inputs[0]], outputs[0])]
    if (node.op.name not in RISING and node.op.name not in CORNERS) or _may_wrap(step):
        return [_range_of(tensor) for tensor in outputs]
    bounds = [None if index == ABSENT else ranges[index] for index in node.inputs]
    if node.op.name in CORNERS:
        choices = list(itertools.product((0, 1), repeat=len(bounds)))
    else:
        choices = [(0,) * len(bounds), (1,) * len(bounds)]
    corners = []
    for choice in choices:
        codes = [
            None if bound is None or tensor is None else _filled(tensor, bound[side])
            for bound, tensor, side in zip(bounds, inputs, choice, strict=True)
        ]
        corners.append(node.op.reference_q(codes, inputs=inputs, outputs=outputs, rounding=folds.rounding))
    return [_over(values) for values in zip(*corners, strict=True)]


def _filled(tensor: Tensor, bound: np.ndarray) -> np.ndarray:
    """Return a constant's codes, or those of a tensor whose channels are at one of their bounds (C,)."""
    if tensor.data is not None:
        return tensor.data
    return np.broadcast_to(bound, tensor.shape or (1,)).reshape(tensor.shape).astype(tensor.dtype.numpy)


def _over(values: Sequence[np.ndarray]) -> CodeRange:
    """Bound the channels of several arrays of one shape."""
    channels = values[0].shape[-1] if values[0].ndim else 1
    rows = np.concatenate([np.asarray(value).reshape(-1, channels) for value in values]).astype(np.int64)
    return CodeRange(rows.min(axis=0), rows.max(axis=0))


def _may_wrap(step: Step | None) -> bool:
    """Whether a multiplier above 1 could take a requantization out of int32, after which it no longer rises."""
    return any(getattr(step, name, 0) > 0 for name in ("shift", "shift_a", "shift_b"))


def _table(step: LutStep, source: CodeRange, target: Tensor) -> CodeRange:
    table = step.table.view(target.dtype.numpy).astype(np.int64)  # indexed by the input code's bits
    parts = [table[np.arange(low, high + 1) & 0xFF] for low, high in zip(*source, strict=True)]
    return CodeRange(np.array([part.min() for part in parts]), np.array([part.max() for part in parts]))


def _linear(step: Conv2dStep | DepthwiseConv2dStep, source: CodeRange) -> CodeRange:
    """Bound the outputs of a convolution: the extremes of its sums, requantized by the step itself.

    Requantization never falls as the sum rises, and the fold has proved that no sum leaves int32.
    """
    weights = centred_weights(step)
    count, depth = weights.shape[0], weights.shape[3]
    groups = len(source.low) // depth
    low, high = (
        np.repeat((bound - step.input_zero).reshape(groups, depth), count // groups, axis=0) for bound in source
    )  # (O, D)
    falling, rising = np.minimum(weights, 0), np.maximum(weights, 0)
    least = np.einsum("oyxd,od->oyx", rising, low) + np.einsum("oyxd,od->oyx", falling, high)
    most = np.einsum("oyxd,od->oyx", rising, high) + np.einsum("oyxd,od->oyx", falling, low)
    patterns = tap_patterns(step).astype(np.int64)  # taps outside the image count as the zero point: they add nothing
    bias = step.bias.astype(np.int64) + step.input_zero * weights.sum(axis=(1, 2, 3))
    return CodeRange(
        _requantized(step, bias + np.einsum("pyx,oyx->po", patterns, least).min(axis=0)),
        _requantized(step, bias + np.einsum("pyx,oyx->po", patterns, most).max(axis=0)),
    )


def _requantized(step: Conv2dStep | DepthwiseConv2dStep, sums: np.ndarray) -> np.ndarray:
    """Run a step on one pixel whose accumulators are ``sums`` (O,); return its codes (O,) int64."""
    channels = len(sums)
    pixel = dataclasses.replace(
        step,
        input=(1, 1, 1, channels if isinstance(step, DepthwiseConv2dStep) else 1),
        output=(1, 1, 1, channels),
        kernel=(1, 1),
        stride=(1, 1),
        dilation=(1, 1),
        padding=(0, 0),
        weights=np.full(channels, step.weights_zero, np.int8),
        # a channel whose multiplier is 0 may have larger sums; its code is the zero point whatever they are
        bias=np.clip(sums, INT32_MIN, INT32_MAX).astype(np.int32),
    )
    if isinstance(pixel, Conv2dStep):
        pixel = dataclasses.replace(pixel, groups=1)
    (codes,) = pixel.reference_q([np.zeros(pixel.input, np.int8)])
    return codes.reshape(-1).astype(np.int64)

# SPDX-License-Identifier: Apache-2.0
"""How far below its input an output may lie so that a step overwrites only what it has read.

Distances are input offset - output offset in bytes. native/ops/order.h computes the same in closed form.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from edgeq.ops.base import Shape
from edgeq.ops.linear import Pair

GEMM_ROWS = 16  # pixels of a pointwise convolution that may be read before the first of them is written
ANYWHERE = -(1 << 40)  # a distance that every two places keep


class Sliding(Protocol):
    """A step that slides windows over NHWC images of bytes."""

    @property
    def groups(self) -> int: ...
    @property
    def input(self) -> Shape: ...
    @property
    def output(self) -> Shape: ...
    @property
    def kernel(self) -> Pair: ...
    @property
    def stride(self) -> Pair: ...
    @property
    def padding(self) -> Pair: ...


def is_pointwise(step: Sliding) -> bool:
    """Say whether every output pixel is one input pixel times the weights."""
    inside = all((step.output[axis + 1] - 1) * step.stride[axis] < step.input[axis + 1] for axis in range(2))
    return step.kernel == (1, 1) and step.padding == (0, 0) and inside


def convolution_distance(step: Sliding) -> int | None:
    """Return the least distance for a convolution, None for one in groups, which reads its input once for each."""
    if step.groups != 1:
        return None
    if is_pointwise(step):
        return pixel_distance(step.input, step.output, stride=step.stride)
    return image_distance(step.input, step.output, stride=step.stride[0], before=step.padding[0])


def image_distance(source: Shape, target: Shape, *, stride: int, before: int) -> int:
    """Return the least distance for steps that write the rows of NHWC images of bytes in ascending order.

    Every output row y ends at or below the first input row that it reads, max(0, y * stride - before).
    """
    y = np.arange(target[1], dtype=np.int64)
    image = np.arange(source[0], dtype=np.int64)[:, None]
    first = image * source[1] + np.clip(y * stride - before, 0, source[1])
    ends = (image * target[1] + y + 1) * target[2] * target[3]
    return int((ends - first * source[2] * source[3]).max())


def pixel_distance(source: Shape, target: Shape, *, stride: Pair) -> int:
    """Return the least distance for pointwise convolutions of NHWC images of bytes.

    They finish pixels in ascending groups of at most GEMM_ROWS: the output of every group ends at or below the first
    pixel that the group reads, wherever groups begin.
    """
    n, y, x = np.indices(target[:3], dtype=np.int64)
    starts = ((n * source[1] + y * stride[0]) * source[2] + x * stride[1]) * source[3]
    ends = np.minimum(np.arange(starts.size) + GEMM_ROWS, starts.size) * target[3]
    return int((ends - starts.reshape(-1)).max())

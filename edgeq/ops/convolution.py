# SPDX-License-Identifier: Apache-2.0
"""The geometry of convolutions, and the sum over windows in NumPy that their references and integer twins share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeq.errors import GraphError
from edgeq.ops.folding import same_padding, valid_padding
from edgeq.ops.linear import Pair

Padding = str | tuple[int, int, int, int]  # "same", "valid" or (top, bottom, left, right)


@dataclass(frozen=True)
class Window:
    """A kernel sliding over an image: pairs of (vertical, horizontal)."""

    kernel: Pair
    stride: Pair
    dilation: Pair
    before: Pair  # padding at the top and at the left
    output: Pair


def slide(size: Pair, kernel: Pair, *, stride: Pair, padding: Padding, dilation: Pair = (1, 1)) -> Window:
    """Place a kernel over an image of (height, width). Raises GraphError when no output pixel is left."""
    if min(*stride, *dilation, *kernel) < 1:
        raise GraphError(f"kernel {kernel}, stride {stride} and dilation {dilation} must be at least 1")
    output, before = [], []
    for axis in range(2):
        geometry = (size[axis], kernel[axis], stride[axis], dilation[axis])
        if padding == "same":
            count, first = same_padding(*geometry)
        elif padding == "valid":
            count, first = valid_padding(*geometry)
        elif isinstance(padding, tuple) and len(padding) == 4 and min(padding) >= 0:
            first, last = padding[2 * axis : 2 * axis + 2]
            count = (size[axis] + first + last - (kernel[axis] - 1) * dilation[axis] - 1) // stride[axis] + 1
        else:
            raise GraphError(f'padding {padding!r} is neither "same", "valid" nor (top, bottom, left, right)')
        if count < 1:
            raise GraphError(f"kernel {kernel} with dilation {dilation} does not fit an image of {size}")
        output.append(count)
        before.append(first)
    return Window(kernel, stride, dilation, (before[0], before[1]), (output[0], output[1]))


def convolve(image: np.ndarray, weights: np.ndarray, window: Window, *, fill: float = 0) -> np.ndarray:
    """Sum weights times image over every window; taps outside the image count as ``fill``.

    image (N, H, W, C) and weights (O, KH, KW, C / groups) of one float dtype, the result (N, OH, OW, O) too. In
    float64 integers are exact while sums stay below 2^53.
    """
    batch, _, _, channels = image.shape
    count, _, _, depth = weights.shape
    groups = channels // depth
    total = np.zeros((groups, batch * window.output[0] * window.output[1], count // groups), image.dtype)
    for y, x in np.ndindex(*window.kernel):
        rows, row_inside = tap_places(image.shape[1], window, 0, y)
        columns, column_inside = tap_places(image.shape[2], window, 1, x)
        taps = np.where(
            (row_inside[:, None] & column_inside)[None, :, :, None],
            image[:, rows[:, None], columns],
            image.dtype.type(fill),
        )  # (N, OH, OW, C)
        taps = taps.reshape(-1, groups, depth).transpose(1, 0, 2)
        matrix = weights[:, y, x].reshape(groups, count // groups, depth).transpose(0, 2, 1)
        total += taps * matrix if depth == 1 else taps @ matrix
    return total.transpose(1, 0, 2).reshape(batch, *window.output, count)


def tap_places(size: int, window: Window, axis: int, tap: int) -> tuple[np.ndarray, np.ndarray]:
    """Return one tap's coordinate for every output pixel, clipped, and whether it was inside."""
    first = tap * window.dilation[axis] - window.before[axis]
    places = np.arange(window.output[axis]) * window.stride[axis] + first
    return np.clip(places, 0, size - 1), (places >= 0) & (places < size)


def random_window(rng: np.random.Generator, *, dilated: bool = True) -> tuple[Pair, Pair, Pair, Pair, Padding]:
    """Draw (image size, kernel, stride, dilation, padding) that leave at least one output pixel."""

    def pair(high: int) -> Pair:
        return int(rng.integers(1, high + 1)), int(rng.integers(1, high + 1))

    while True:
        size, kernel, stride, dilation = pair(10), pair(4), pair(3), (pair(3) if dilated else (1, 1))
        explicit = tuple(int(pad) for pad in rng.integers(0, 4, size=4))
        padding: Padding = ("same", "valid", (explicit[0], explicit[1], explicit[2], explicit[3]))[rng.integers(3)]
        try:
            slide(size, kernel, stride=stride, padding=padding, dilation=dilation)
        except GraphError:
            continue
        return size, kernel, stride, dilation, padding


def pair_of(sizes: Sequence[int]) -> Pair:
    """Return two sizes as a pair."""
    return int(sizes[0]), int(sizes[1])

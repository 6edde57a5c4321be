# SPDX-License-Identifier: Apache-2.0
"""The geometry of convolutions, and the sum over windows in NumPy that their references and integer twins share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeq.errors import GraphError
from edgeq.ops.folding import same_padding, valid_padding
from edgeq.ops.linear import Pair

SHALLOW = 16  # channels whose windows are gathered, as they take little memory

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
    if 0 in (*window.kernel, *window.output):  # as phases of transposed convolutions may be
        return np.zeros((batch, *window.output, count), image.dtype)
    padded = _padded(image, window, fill)
    pixels = batch * window.output[0] * window.output[1]
    if depth == 1 and count == channels:
        sums = np.zeros((batch, *window.output, channels), image.dtype)
        for y, x in np.ndindex(*window.kernel):
            sums += _taps(padded, window, y, x) * weights[:, y, x, 0]
        return sums
    if groups == 1 and depth < SHALLOW:  # one long product is faster than many short ones
        taps = [_taps(padded, window, y, x).reshape(pixels, depth) for y, x in np.ndindex(*window.kernel)]
        product = np.concatenate(taps, axis=1) @ weights.reshape(count, -1).T
        return np.asarray(product.reshape(batch, *window.output, count))
    total = np.zeros((groups, pixels, count // groups), image.dtype)
    for y, x in np.ndindex(*window.kernel):
        parts = _taps(padded, window, y, x).reshape(pixels, groups, depth).transpose(1, 0, 2)
        matrix = weights[:, y, x].reshape(groups, count // groups, depth).transpose(0, 2, 1)
        total += parts * matrix if depth == 1 else parts @ matrix
    return total.transpose(1, 0, 2).reshape(batch, *window.output, count)


def _padded(image: np.ndarray, window: Window, fill: float) -> np.ndarray:
    """Return the part of the image that windows cover, with ``fill`` where they leave it."""
    covered, inside, source = [], [slice(None)], [slice(None)]
    for axis in range(2):
        before, size = window.before[axis], image.shape[1 + axis]
        reach = (window.output[axis] - 1) * window.stride[axis] + (window.kernel[axis] - 1) * window.dilation[axis] + 1
        covered.append(reach)
        last = min(size, reach - before)
        source.append(slice(max(0, -before), max(last, max(0, -before))))
        inside.append(slice(max(0, before), max(0, before) + source[-1].stop - source[-1].start))
    if window.before == (0, 0) and tuple(covered) == image.shape[1:3]:
        return image
    padded = np.full((image.shape[0], *covered, image.shape[3]), image.dtype.type(fill))
    padded[tuple(inside)] = image[tuple(source)]
    return padded


def _taps(padded: np.ndarray, window: Window, y: int, x: int) -> np.ndarray:
    """Return a view of the tap (y, x) of every window: (N, OH, OW, C)."""
    first = y * window.dilation[0], x * window.dilation[1]
    rows, columns = (
        slice(first[axis], first[axis] + (window.output[axis] - 1) * window.stride[axis] + 1, window.stride[axis])
        for axis in range(2)
    )
    return padded[:, rows, columns]


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

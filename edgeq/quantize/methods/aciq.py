# SPDX-License-Identifier: Apache-2.0
"""Analytic clipping: the best clip of the Gauss or Laplace distribution that fits better."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from edgeq.quantize.methods.histogram import Histogram, HistogramMethod, require_bits

FIT_BINS = 2048


@dataclass(frozen=True)
class Aciq(HistogramMethod):
    """mean +- c * sigma of a Gauss or c * b of a Laplace distribution, cut to what was seen; b is the mean deviation.

    The constants c are those with the least error of 2^bits levels, and the distribution is the one whose cumulative
    distribution is nearer in squares. ``symmetric`` puts both distributions and the range about zero. A tensor without
    negative values is taken for the positive half of a distribution about zero, whose other half a ReLU has cut off:
    the values in the histogram's first bin count for nothing, the range starts at zero, and c is that of one bit more.

    Source: Banner et al., "Post training 4-bit quantization of convolutional networks for rapid-deployment",
    arXiv 1810.05723. Left out: its allocation of bits to channels.
    """

    name: ClassVar[str] = "aciq"

    bits: int = 8
    symmetric: bool = False

    def __post_init__(self) -> None:
        require_bits("aciq", self.bits, most=15)

    def choose(self, seen: Histogram) -> tuple[float, float]:
        edges, counts = seen.bins(FIT_BINS)
        if len(counts) == 1:
            return seen.low, seen.high
        half = seen.low >= 0 and not self.symmetric
        if half and edges[1] <= edges[2] - edges[1]:  # the first bin begins at zero
            counts[0] = 0
        middles, bits = (edges[1:] + edges[:-1]) / 2, self.bits + half
        center = 0.0 if half or self.symmetric else float(np.average(middles, weights=counts))
        sigma = math.sqrt(np.average((middles - center) ** 2, weights=counts))
        deviation = float(np.average(np.abs(middles - center), weights=counts))
        shares = np.cumsum(counts) / counts.sum()  # (bins,) at the upper edges
        gauss = _cumulative(_gauss, (edges[1:] - center) / sigma, half=half)
        laplace = _cumulative(_laplace, (edges[1:] - center) / deviation, half=half)
        nearer_gauss = np.sum((shares - gauss) ** 2) <= np.sum((shares - laplace) ** 2)
        reach = gauss_clip(bits) * sigma if nearer_gauss else laplace_clip(bits) * deviation
        if self.symmetric:
            reach = min(reach, max(-seen.low, seen.high))
            return -reach, reach
        return 0.0 if half else max(center - reach, seen.low), min(center + reach, seen.high)


@cache
def gauss_clip(bits: int) -> float:
    """Return the clip of N(0, 1) with the least error of 2^bits levels: clipped tails plus step^2 / 12 inside."""
    return _root(lambda clip: 2 * _gauss_tail(clip) - clip / (3 * 4**bits))


@cache
def laplace_clip(bits: int) -> float:
    """Return the same for the Laplace distribution with mean deviation 1."""
    return _root(lambda clip: math.exp(-clip) - clip / (3 * 4**bits))


def _gauss_tail(clip: float) -> float:
    """Return the integral of (x - clip) times the density of N(0, 1) from clip on."""
    return math.exp(-clip * clip / 2) / math.sqrt(2 * math.pi) - clip * math.erfc(clip / math.sqrt(2)) / 2


def _root(falling: Callable[[float], float]) -> float:
    """Return where a falling function crosses zero between 0 and 64."""
    low, high = 0.0, 64.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return low


def _cumulative(cdf: Callable[[float], float], values: np.ndarray, *, half: bool) -> np.ndarray:
    """Return a symmetric distribution's cumulative shares at values (n,), of its positive half alone if ``half``."""
    shares = np.array([cdf(value) for value in values])
    return 2 * shares - 1 if half else shares


def _gauss(value: float) -> float:
    return math.erfc(-value / math.sqrt(2)) / 2


def _laplace(value: float) -> float:
    return math.exp(value) / 2 if value < 0 else 1 - math.exp(-value) / 2

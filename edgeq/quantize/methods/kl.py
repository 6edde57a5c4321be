# SPDX-License-Identifier: Apache-2.0
"""Entropy calibration: the clip whose quantized distribution is nearest to the observed one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from edgeq.errors import UsageError
from edgeq.quantize.methods.base import Method, Observer
from edgeq.quantize.methods.histogram import Histogram

SMOOTHING = 1e-4


@dataclass(frozen=True)
class Kl(Method):
    """Choose the clip of |r| with the least Kullback-Leibler divergence; [-t, t], or [0, t] without negative values.

    Source: Migacz, "8-bit inference with TensorRT", GTC 2017. Falls back to the full range where fewer bins than
    levels hold anything.
    """

    name: ClassVar[str] = "kl"

    levels: int = 128
    step: int = 1

    def __post_init__(self) -> None:
        if not 2 <= self.levels <= 1024:
            raise UsageError(f"kl: {self.levels} levels given, 2 to 1024 expected")
        if self.step < 1:
            raise UsageError(f"kl: step {self.step} given, at least 1 expected")

    def observer(self, tensor: str) -> KlObserver:
        return KlObserver(tensor, self)


class KlObserver(Observer):
    """A growing histogram."""

    def __init__(self, tensor: str, options: Kl) -> None:
        super().__init__(tensor)
        self.options = options
        self.histogram = Histogram()

    def observe(self, values: np.ndarray) -> None:
        self.histogram.add(values)

    def absorb(self, other: Self) -> None:
        self.histogram.merge(other.histogram)

    def choose(self) -> tuple[float, float]:
        seen = self.histogram
        peak = max(abs(seen.low), abs(seen.high))
        bins, width = seen.magnitudes()
        counts = bins.astype(np.float64)
        if len(counts) > 1 and counts[0] > 0.5 * counts.sum():
            counts[0] = counts[1]  # the zeros of a ReLU would outweigh everything
        if np.count_nonzero(counts) < self.options.levels:
            return seen.low, seen.high
        kept = best_bins(counts, self.options.levels, self.options.step)
        threshold = min((kept + 0.5) * width, peak)
        return (0.0 if seen.low >= 0 else -threshold), (0.0 if seen.high <= 0 else threshold)


def best_bins(counts: np.ndarray, levels: int, step: int) -> int:
    """Return how many leading bins of ``counts`` (n,) to keep; of equal divergences the most bins win."""
    best, least = len(counts), np.inf
    for kept in range(levels, len(counts) + 1, step):
        clipped = counts[:kept].copy()
        clipped[-1] += counts[kept:].sum()
        divergence = kl_divergence(clipped, expand(counts[:kept], levels))
        if divergence <= least:
            best, least = kept, divergence
    return best


def expand(counts: np.ndarray, levels: int) -> np.ndarray:
    """Merge bins (n,) into levels and spread each level's count evenly over its bins that are not empty."""
    starts = np.arange(levels) * len(counts) // levels  # (levels,)
    level_of = np.repeat(np.arange(levels), np.diff(np.append(starts, len(counts))))  # (n,)
    filled = counts > 0
    sums = np.add.reduceat(counts, starts)
    occupied = np.add.reduceat(filled.astype(np.float64), starts)
    return np.where(filled, (sums / np.maximum(occupied, 1))[level_of], 0)


def kl_divergence(p: np.ndarray, q: np.ndarray) -> float:
    """KL(P || Q) of two histograms (n,); infinite when Q is empty.

    Where P has mass and Q none, Q gets a little, taken in proportion from its other bins.
    """
    if not q.any():
        return float("inf")
    p, q = p / p.sum(), q / q.sum()
    holes = (p > 0) & (q == 0)
    if holes.any():
        q = np.where(holes, SMOOTHING, q * (1 - SMOOTHING * np.count_nonzero(holes)))
    used = p > 0
    return float(np.sum(p[used] * np.log(p[used] / q[used])))

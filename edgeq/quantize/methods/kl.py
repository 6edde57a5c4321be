# SPDX-License-Identifier: Apache-2.0
"""Entropy calibration: the clip whose quantized distribution is nearest to the observed one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import UsageError
from edgeq.quantize.methods.histogram import Histogram, HistogramMethod, require_bits

BINS = 2048
SMOOTHING = 1e-4


@dataclass(frozen=True)
class Kl(HistogramMethod):
    """Choose the clip t of |r| with the least Kullback-Leibler divergence: [-t, t], as far as values were seen.

    Of equal divergences the largest clip wins. ``bits`` give 2^(bits - 1) levels for |r|; with ``unsigned`` tensors
    without negative values get the 2^bits - 1 of unsigned storage. With ``symmetric`` the range is [-t, t] whatever was
    seen. Falls back to the full range where fewer bins than levels hold anything. A value that is far more frequent
    than its neighbours, other than zero, misleads it.

    Source: Migacz, "8-bit inference with TensorRT", GTC 2017.
    """

    name: ClassVar[str] = "kl"

    bits: int = 8
    unsigned: bool = False
    symmetric: bool = False

    def __post_init__(self) -> None:
        require_bits("kl", self.bits, most=11)
        if self.unsigned and self.symmetric:
            raise UsageError("kl: unsigned=true given with symmetric=true, which needs the sign", hint="leave one out")

    def choose(self, seen: Histogram) -> tuple[float, float]:
        peak = max(-seen.low, seen.high)
        levels = 2**self.bits - 1 if self.unsigned and seen.low >= 0 else 2 ** (self.bits - 1)
        threshold = peak
        if peak > 0:
            counts = seen.magnitudes(BINS)
            counts[0] = min(counts[0], counts[1])  # the zeros of a ReLU would outweigh everything
            if np.count_nonzero(counts) >= levels:
                threshold = (best_bins(counts, levels) + 0.5) * peak / BINS
        if self.symmetric:
            return -threshold, threshold
        return (0.0 if seen.low >= 0 else max(seen.low, -threshold)), (
            0.0 if seen.high <= 0 else min(seen.high, threshold)
        )


def best_bins(counts: np.ndarray, levels: int) -> int:
    """Return how many leading bins of ``counts`` (n,), n >= levels, to keep; of equal divergences the most bins win."""
    kept = np.arange(levels, len(counts) + 1)
    return int(kept[len(kept) - 1 - np.argmin(divergences(counts, kept, levels)[::-1])])


def merge_levels(counts: np.ndarray, kept: np.ndarray, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Merge the first ``kept[m]`` of bins (n,) into levels; return their sums and how many of their bins are not empty.

    Both are (M, levels). Level j covers bins [floor(j * kept / levels), floor((j + 1) * kept / levels)).
    """
    bounds = np.arange(levels + 1) * kept[:, np.newaxis] // levels  # (M, levels + 1)
    sums = np.diff(np.concatenate(([0.0], np.cumsum(counts)))[bounds])
    occupied = np.diff(np.concatenate(([0], np.cumsum(counts > 0)))[bounds])
    return np.where(occupied > 0, sums, 0.0), occupied


def divergences(counts: np.ndarray, kept: np.ndarray, levels: int) -> np.ndarray:
    """Return KL(P || Q) (M,) for each number of kept bins; infinite where these are all empty.

    P is the kept bins with the rest added to the last. Q is the kept bins merged into levels, each level's sum spread
    evenly over its bins that are not empty; where P has mass and Q none, which only the last bin can, Q gets 1e-4,
    taken in proportion from the others. Both add up to 1.

    Q is constant over the filled bins of a level, so sum P ln Q is a sum over levels, and sum P ln P a prefix sum.
    """
    sums, occupied = merge_levels(counts, kept, levels)
    last = counts[kept - 1]
    inside = np.cumsum(counts)[kept - 1]  # (M,)
    total = counts.sum()
    outside = np.where(kept < len(counts), total - inside, 0.0)
    own = np.cumsum(_x_log_x(counts))[kept - 1] - _x_log_x(last) + _x_log_x(last + outside)  # sum c ln c, c = total * P
    heights = _log(np.where(occupied > 0, sums / np.maximum(occupied, 1), 0.0))  # (M, levels), Q times inside
    cross = np.sum(sums * heights, axis=1)
    hole = (last == 0) & (outside > 0)
    cross = np.where(
        hole,
        cross + inside * (math.log(1 - SMOOTHING) - _log(inside)) + outside * math.log(SMOOTHING),
        cross + outside * heights[:, -1] - total * _log(inside),
    )
    return np.where(inside > 0, (own - cross) / total - math.log(total), np.inf)


def _log(values: np.ndarray) -> np.ndarray:
    """ln, with 0 for values that are 0 and then count for nothing."""
    return np.asarray(np.log(np.where(values > 0, values, 1.0)))


def _x_log_x(values: np.ndarray) -> np.ndarray:
    return np.asarray(values * _log(values))

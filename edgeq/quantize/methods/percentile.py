# SPDX-License-Identifier: Apache-2.0
"""Percentiles of the values, so that rare outliers do not set the scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import UsageError
from edgeq.quantize.methods.histogram import Histogram, HistogramMethod

FOLDED_BINS = 8192


@dataclass(frozen=True)
class Percentile(HistogramMethod):
    """Represent the values between the (100 - p)-th and the p-th percentile; from 0 where no value is negative.

    ``symmetric``: [-t, t] with t the p-th percentile of the absolute values. The percentile is within one bin of the
    exact one, that is 1/8192 of the range. Also in use: 99.9 and 99.999.
    """

    name: ClassVar[str] = "percentile"

    percent: float = 99.99
    symmetric: bool = False

    def __post_init__(self) -> None:
        if not 50 < self.percent <= 100:
            raise UsageError(f"percentile: {self.percent:g} given, a number above 50 and up to 100 expected")

    def choose(self, seen: Histogram) -> tuple[float, float]:
        fraction = self.percent / 100
        peak = max(-seen.low, seen.high)
        if self.symmetric and peak > 0:
            edges = np.arange(FOLDED_BINS + 1) * peak / FOLDED_BINS
            reach = min(_quantile(edges, seen.magnitudes(FOLDED_BINS), fraction), peak)
            return -reach, reach
        edges, counts = seen.bins()
        low = 0.0 if seen.low >= 0 else max(_quantile(edges, counts, 1 - fraction), seen.low)
        high = 0.0 if seen.high <= 0 else min(_quantile(edges, counts, fraction), seen.high)
        return low, high

    def ranges(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        exact = rows.astype(np.float64)
        fraction = self.percent / 100
        if self.symmetric:
            reach = np.quantile(np.abs(exact), fraction, axis=1)
            return -reach, reach
        low, high = np.quantile(exact, [1 - fraction, fraction], axis=1)
        return np.where((exact >= 0).all(axis=1), 0.0, low), np.where((exact <= 0).all(axis=1), 0.0, high)


def _quantile(edges: np.ndarray, counts: np.ndarray, fraction: float) -> float:
    """Interpolate linearly inside the bin that holds the value of rank ``fraction * (count - 1)``."""
    cumulative = np.concatenate(([0], np.cumsum(counts)))  # (bins + 1,)
    rank = fraction * (cumulative[-1] - 1) + 0.5  # a bin's values sit at the middle of their ranks
    return float(np.interp(rank, cumulative, edges))

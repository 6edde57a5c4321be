# SPDX-License-Identifier: Apache-2.0
"""Percentiles of the values, so that rare outliers do not set the scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from edgeq.errors import UsageError
from edgeq.quantize.methods.base import Method, Observer
from edgeq.quantize.methods.histogram import Histogram


@dataclass(frozen=True)
class Percentile(Method):
    """Represent the values between the (100 - p)-th and the p-th percentile; from 0 where no value is negative.

    The percentile is within one bin of the exact one, that is 1/2048 of the range. Also in use: 99.9 and 99.999.
    """

    name: ClassVar[str] = "percentile"

    percent: float = 99.99

    def __post_init__(self) -> None:
        if not 50 < self.percent <= 100:
            raise UsageError(f"percentile: {self.percent:g} given, a number above 50 and up to 100 expected")

    def observer(self, tensor: str) -> PercentileObserver:
        return PercentileObserver(tensor, self)


class PercentileObserver(Observer):
    """A growing histogram."""

    def __init__(self, tensor: str, options: Percentile) -> None:
        super().__init__(tensor)
        self.options = options
        self.histogram = Histogram()

    def observe(self, values: np.ndarray) -> None:
        self.histogram.add(values)

    def absorb(self, other: Self) -> None:
        self.histogram.merge(other.histogram)

    def choose(self) -> tuple[float, float]:
        seen = self.histogram
        low = 0.0 if seen.low >= 0 else self._quantile(1 - self.options.percent / 100)
        high = 0.0 if seen.high <= 0 else self._quantile(self.options.percent / 100)
        return low, high

    def _quantile(self, fraction: float) -> float:
        """Interpolate linearly inside the bin that holds the value of rank ``fraction * (count - 1)``."""
        cumulative = np.concatenate(([0], np.cumsum(self.histogram.counts)))  # (bins + 1,)
        rank = fraction * (int(cumulative[-1]) - 1) + 0.5  # a bin's values sit at the middle of their ranks
        position = float(np.interp(rank, cumulative, self.histogram.edges()))
        return min(max(position, self.histogram.low), self.histogram.high)

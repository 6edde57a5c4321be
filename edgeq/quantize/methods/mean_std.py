# SPDX-License-Identifier: Apache-2.0
"""Mean plus and minus k standard deviations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from edgeq.errors import UsageError
from edgeq.quantize.methods.base import Method, Observer


@dataclass(frozen=True)
class MeanStd(Method):
    """[mean - k * std, mean + k * std], cut to what was seen.

    On a Gaussian, 8 bits reach 33.4 dB with k = 3 and 40.5 dB with k = 4; 4 bits are best with k = 3, 18.6 dB.
    """

    name: ClassVar[str] = "mean_std"

    k: float = 3.0

    def __post_init__(self) -> None:
        if not 0 < self.k <= 100:
            raise UsageError(f"mean_std: k = {self.k:g} given, a number above 0 and up to 100 expected")

    def observer(self, tensor: str) -> MeanStdObserver:
        return MeanStdObserver(tensor, self)

    def ranges(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        exact = rows.astype(np.float64)
        mean, reach = exact.mean(axis=1), self.k * exact.std(axis=1)
        low, high = np.maximum(mean - reach, exact.min(axis=1)), np.minimum(mean + reach, exact.max(axis=1))
        return np.minimum(low, high), np.maximum(low, high)


class MeanStdObserver(Observer):
    """Count, mean and sum of squared deviations, merged as Chan et al. (1979) do."""

    def __init__(self, tensor: str, options: MeanStd) -> None:
        super().__init__(tensor)
        self.options = options
        self.low, self.high = math.inf, -math.inf
        self.count = 0
        self.mean = 0.0
        self.deviations = 0.0

    def observe(self, values: np.ndarray) -> None:
        exact = values.astype(np.float64)
        mean = float(exact.mean())
        self._add(values.size, mean, float(np.sum((exact - mean) ** 2)))
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))

    def absorb(self, other: Self) -> None:
        self._add(other.count, other.mean, other.deviations)
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    def _add(self, count: int, mean: float, deviations: float) -> None:
        total = self.count + count
        step = mean - self.mean
        self.deviations += deviations + step * step * self.count * count / total
        self.mean += step * count / total
        self.count = total

    def choose(self) -> tuple[float, float]:
        reach = self.options.k * math.sqrt(self.deviations / self.count)
        low, high = max(self.mean - reach, self.low), min(self.mean + reach, self.high)
        return min(low, high), max(low, high)

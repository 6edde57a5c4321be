# SPDX-License-Identifier: Apache-2.0
"""The mean of each sample's range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from edgeq.quantize.methods.base import Method, Observer


@dataclass(frozen=True)
class AvgMinMax(Method):
    """[mean over samples of the smallest value, mean over samples of the largest].

    Less swayed than the full range by a sample unlike the others. A sample is an entry along the first axis, so in a
    tensor whose first axis holds tokens each token counts as one.
    """

    name: ClassVar[str] = "avg_minmax"

    def observer(self, tensor: str) -> AvgMinMaxObserver:
        return AvgMinMaxObserver(tensor)


class AvgMinMaxObserver(Observer):
    """Sums of the samples' smallest and largest values."""

    def __init__(self, tensor: str) -> None:
        super().__init__(tensor)
        self.samples = 0
        self.sums = np.zeros(2)  # (low, high)

    def observe(self, values: np.ndarray) -> None:
        self.samples += len(values)
        self.sums = self.sums + [part.sum(dtype=np.float64) for part in (values.min(axis=1), values.max(axis=1))]

    def absorb(self, other: Self) -> None:
        self.samples += other.samples
        self.sums = self.sums + other.sums

    def choose(self) -> tuple[float, float]:
        low, high = self.sums / self.samples
        return float(low), float(high)

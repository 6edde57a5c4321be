# SPDX-License-Identifier: Apache-2.0
"""The full observed range."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from edgeq.quantize.methods.base import Method, Observer


@dataclass(frozen=True)
class MinMax(Method):
    """Represent every value seen: nothing is clipped, one outlier costs all others resolution."""

    name: ClassVar[str] = "minmax"

    def observer(self, tensor: str) -> MinMaxObserver:
        return MinMaxObserver(tensor)

    def ranges(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return rows.min(axis=1).astype(np.float64), rows.max(axis=1).astype(np.float64)


class MinMaxObserver(Observer):
    """Running minimum and maximum."""

    def __init__(self, tensor: str) -> None:
        super().__init__(tensor)
        self.low, self.high = math.inf, -math.inf

    def observe(self, values: np.ndarray) -> None:
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))

    def absorb(self, other: Self) -> None:
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    def choose(self) -> tuple[float, float]:
        return self.low, self.high

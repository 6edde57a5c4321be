# SPDX-License-Identifier: Apache-2.0
"""The full observed range."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from edgeq.quantize.methods.base import Method, Observer
from edgeq.quantize.methods.levels import with_zero


@dataclass(frozen=True)
class MinMax(Method):
    """Represent every value seen: nothing is clipped, one outlier costs all others resolution.

    ``symmetric`` ranges reach as far below zero as above.
    """

    name: ClassVar[str] = "minmax"

    symmetric: bool = False

    def observer(self, tensor: str) -> MinMaxObserver:
        return MinMaxObserver(tensor, self)

    def ranges(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        low, high = rows.min(axis=1).astype(np.float64), rows.max(axis=1).astype(np.float64)
        return with_zero(low, high, symmetric=True) if self.symmetric else (low, high)


class MinMaxObserver(Observer):
    """Running minimum and maximum."""

    def __init__(self, tensor: str, options: MinMax) -> None:
        super().__init__(tensor)
        self.options = options
        self.low, self.high = math.inf, -math.inf

    def observe(self, values: np.ndarray) -> None:
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))

    def absorb(self, other: Self) -> None:
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    def choose(self) -> tuple[float, float]:
        if self.options.symmetric:
            reach = max(-self.low, self.high)
            return -reach, reach
        return self.low, self.high

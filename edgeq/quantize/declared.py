# SPDX-License-Identifier: Apache-2.0
"""What can be said of a model's input without data: its range, or its mean and standard deviation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgeq.quantize.gaussian import cumulative


@dataclass(frozen=True)
class Within:
    """Values anywhere in [low, high]."""

    low: float
    high: float

    @property
    def mean(self) -> float:
        return (self.low + self.high) / 2

    @property
    def std(self) -> float:
        return (self.high - self.low) / math.sqrt(12)

    def of_normals(self, values: np.ndarray) -> np.ndarray:
        """Map standard normal values onto the range, evenly."""
        return np.asarray(self.low + (self.high - self.low) * cumulative(values))


@dataclass(frozen=True)
class Around:
    """Values of a mean and a standard deviation."""

    mean: float
    std: float

    @property
    def low(self) -> float:
        return -math.inf

    @property
    def high(self) -> float:
        return math.inf

    def of_normals(self, values: np.ndarray) -> np.ndarray:
        """Map standard normal values to those of this mean and deviation."""
        return np.asarray(self.mean + self.std * values)


Declared = Within | Around

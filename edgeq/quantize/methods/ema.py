# SPDX-License-Identifier: Apache-2.0
"""A moving average of each batch's range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from edgeq.errors import UsageError
from edgeq.quantize.methods.base import Method, Observer


@dataclass(frozen=True)
class Ema(Method):
    """lo = (1 - c) * lo + c * min(batch), hi likewise; the first batch sets both. Depends on the order of batches.

    Source: Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference", arXiv 1806.08342.
    """

    name: ClassVar[str] = "ema"

    rate: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1:
            raise UsageError(f"ema: rate {self.rate:g} given, a number above 0 and up to 1 expected")

    def observer(self, tensor: str) -> EmaObserver:
        return EmaObserver(tensor, self)


class EmaObserver(Observer):
    """The averages, and what is needed to append one observer's batches to another's."""

    def __init__(self, tensor: str, options: Ema) -> None:
        super().__init__(tensor)
        self.options = options
        self.batches = 0
        self.first = np.zeros(2)  # (low, high) of the first batch
        self.average = np.zeros(2)  # (low, high)

    def observe(self, values: np.ndarray) -> None:
        found = np.array([values.min(), values.max()], np.float64)
        if self.batches:
            self.average = (1 - self.options.rate) * self.average + self.options.rate * found
        else:
            self.first = self.average = found
        self.batches += 1

    def absorb(self, other: Self) -> None:
        if not self.batches:
            self.first, self.average, self.batches = other.first, other.average, other.batches
            return
        # the other's first batch entered with weight 1 and must count with weight rate, after one's own average
        keep = (1 - self.options.rate) ** (other.batches - 1)
        step = (1 - self.options.rate) * self.average + self.options.rate * other.first
        self.average = other.average - keep * other.first + keep * step
        self.batches += other.batches

    def choose(self) -> tuple[float, float]:
        return float(self.average[0]), float(self.average[1])

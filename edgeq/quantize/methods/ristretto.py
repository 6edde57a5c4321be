# SPDX-License-Identifier: Apache-2.0
"""Ranges for power-of-two scales: the one that holds every value, or its half where that loses less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.quantize.methods.histogram import Histogram, HistogramMethod, require_bits
from edgeq.quantize.methods.levels import Levels
from edgeq.quantize.methods.mse import Density
from edgeq.quantize.pot import scale_of_range


@dataclass(frozen=True)
class Ristretto(HistogramMethod):
    """Up to 2^n for the smallest n that holds all values, or for one smaller if the squared error of codes is less.

    Codes are two's complement of ``bits`` at scale 2^(n + 1 - bits). The range is symmetric and ends half a step below
    2^n, where codes begin to saturate.

    Source: Gysel et al., "Ristretto", arXiv 1604.03168.
    """

    name: ClassVar[str] = "ristretto"

    bits: int = 8

    def __post_init__(self) -> None:
        require_bits("ristretto", self.bits)

    def choose(self, seen: Histogram) -> tuple[float, float]:
        if seen.low == seen.high == 0:
            return 0.0, 0.0
        density = Density.of(seen)
        top = np.array(2.0 ** (self.bits - 1))
        whole = scale_of_range(seen.low, seen.high, bits=self.bits)
        errors = [density.error(Levels(np.array(scale), -top, top - 1), 2) for scale in (whole, whole / 2)]
        reach = whole * float(top - 0.5) / (2 if errors[1] < errors[0] else 1)
        return -reach, reach

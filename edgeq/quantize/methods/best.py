# SPDX-License-Identifier: Apache-2.0
"""The best of three other methods, chosen for each tensor by cosine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.quantize.methods.histogram import Histogram, HistogramMethod, require_bits
from edgeq.quantize.methods.kl import Kl
from edgeq.quantize.methods.levels import levels_of_range, with_zero
from edgeq.quantize.methods.percentile import Percentile


@dataclass(frozen=True)
class Best(HistogramMethod):
    """Take the full range, the 99.99th percentile or the entropy clip, whichever keeps the values' direction best.

    The measure is the cosine between the values and their quantized selves, over the middles of a histogram's bins;
    the first of equals wins. ``symmetric`` quantizes with 2^bits - 1 levels around zero. Toolchains for Horizon's
    chips choose so, by the cosine of a layer's output.
    """

    name: ClassVar[str] = "best"

    bits: int = 8
    symmetric: bool = False

    def __post_init__(self) -> None:
        require_bits("best", self.bits, most=11)

    def choose(self, seen: Histogram) -> tuple[float, float]:
        clipped = (Percentile(symmetric=self.symmetric), Kl(bits=self.bits, symmetric=self.symmetric))
        low, high = with_zero(seen.low, seen.high, symmetric=True) if self.symmetric else (seen.low, seen.high)
        candidates = [(float(low), float(high)), *(method.choose(seen) for method in clipped)]
        edges, counts = seen.bins()
        middles = (edges[1:] + edges[:-1]) / 2
        return max(candidates, key=lambda ends: self._cosine(middles, counts, ends))

    def _cosine(self, values: np.ndarray, counts: np.ndarray, ends: tuple[float, float]) -> float:
        """Return the cosine between values (n,), each that often, and their nearest levels; 0 where these are all 0."""
        low, high = with_zero(*ends, symmetric=self.symmetric)
        nearest = levels_of_range(low, high, bits=self.bits, symmetric=self.symmetric).nearest(values)
        length = np.sqrt(np.sum(counts * nearest**2) * np.sum(counts * values**2))
        return float(np.sum(counts * nearest * values) / length) if length > 0 else 0.0

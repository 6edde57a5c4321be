# SPDX-License-Identifier: Apache-2.0
"""A histogram that grows with its data: bins are [i * w, (i + 1) * w) for a width w that is a power of two.

When the data outgrow the bins, w doubles and neighbours merge in pairs. Since i = floor(r / w), merged counts are
exactly what counting with the wider bins from the start would have given: the result depends on neither the order nor
the grouping of the batches, and two histograms merge without loss.
"""

from __future__ import annotations

import math

import numpy as np

CAPACITY = 4096  # doubling halves the bins in use, so data spread over their range use at least 2048
_FINEST = 2.0**-160  # below the smallest float32


class Histogram:
    """Counts (int64) of values, their smallest and largest value."""

    def __init__(self) -> None:
        self.low = math.inf
        self.high = -math.inf
        self.width = _FINEST
        self.first = 0  # index of the first bin
        self.counts = np.zeros(1, np.int64)  # (bins,), bins <= CAPACITY

    def add(self, values: np.ndarray) -> None:
        """Count finite values (n,), n >= 1."""
        self._grow(float(values.min()), float(values.max()))
        bins = np.floor(values.astype(np.float64) / self.width).astype(np.int64) - self.first
        self.counts += np.bincount(bins, minlength=len(self.counts))

    def merge(self, other: Histogram) -> None:
        """Add the counts of another histogram that is not empty."""
        self._grow(other.low, other.high, at_least=other.width)
        self.counts += _rebin(other, self.width, self.first, len(self.counts))

    def edges(self) -> np.ndarray:
        """Return the bin edges (bins + 1,) float64."""
        return np.arange(self.first, self.first + len(self.counts) + 1, dtype=np.float64) * self.width

    def magnitudes(self) -> tuple[np.ndarray, float]:
        """Return counts of absolute values (bins,) and a width: bin i holds [i * width, (i + 1) * width)."""
        indices = np.arange(self.first, self.first + len(self.counts))
        folded = np.where(indices >= 0, indices, -indices - 1)
        shift = max(0, int(folded.max()).bit_length() - CAPACITY.bit_length() + 1)
        counts = np.zeros(CAPACITY, np.int64)
        np.add.at(counts, folded >> shift, self.counts)
        return counts[: int(folded.max() >> shift) + 1], self.width * 2**shift

    def _grow(self, low: float, high: float, *, at_least: float = _FINEST) -> None:
        """Make room for values in [low, high] with the smallest width that has enough bins."""
        low, high = min(low, self.low), max(high, self.high)
        width = max(self.width, at_least)
        # an index must stay exact even where all values are close to each other and far from zero
        while max(abs(low), abs(high)) / width >= 2.0**40 or (
            math.floor(high / width) - math.floor(low / width) >= CAPACITY
        ):
            width *= 2
        first, last = math.floor(low / width), math.floor(high / width)
        self.counts = _rebin(self, width, first, last - first + 1)
        self.low, self.high, self.width, self.first = low, high, width, first


def _rebin(source: Histogram, width: float, first: int, bins: int) -> np.ndarray:
    """Return the counts of ``source`` in bins of a width that is the same or a power of two times its own."""
    counts = np.zeros(bins, np.int64)
    if source.low <= source.high:
        shift = int(math.log2(width / source.width))
        indices = np.arange(source.first, source.first + len(source.counts), dtype=np.int64) >> min(shift, 63)
        np.add.at(counts, indices - first, source.counts)
    return counts

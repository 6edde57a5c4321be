# SPDX-License-Identifier: Apache-2.0
"""A histogram that grows with its data, and the calibration methods that need nothing else.

Bins are [i * w, (i + 1) * w) for a width w that is a power of two. When the data outgrow the bins, w doubles and
neighbours merge in pairs. Since i = floor(r / w), merged counts are exactly what counting with the wider bins from the
start would have given: the result depends on neither the order nor the grouping of the batches, and two histograms
merge without loss.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Self

import numpy as np

from edgeq.errors import UsageError
from edgeq.quantize.methods.base import Method, Observer

CAPACITY = 16384  # doubling halves the bins in use, so data spread over their range use at least 8192
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
        """Count finite values of any shape, at least one."""
        self._grow(float(values.min()), float(values.max()))
        bins = np.floor(values.reshape(-1).astype(np.float64) / self.width).astype(np.int64) - self.first
        self.counts += np.bincount(bins, minlength=len(self.counts))

    def merge(self, other: Histogram) -> None:
        """Add the counts of another histogram that is not empty."""
        self._grow(other.low, other.high, at_least=other.width)
        self.counts += _rebin(other, self.width, self.first, len(self.counts))

    def bins(self, most: int = CAPACITY) -> tuple[np.ndarray, np.ndarray]:
        """Return edges (bins + 1,) float64 and counts (bins,), neighbours merged until there are at most ``most``.

        The outermost edges are where the data end, or next to it where a bin would become too thin to divide by.
        """
        width = self.width
        while math.floor(self.high / width) - math.floor(self.low / width) >= most:
            width *= 2
        first, last = math.floor(self.low / width), math.floor(self.high / width)
        edges = np.arange(first, last + 2, dtype=np.float64) * width
        edges[0] = min(self.low, edges[1] - width / 1000)
        edges[-1] = max(self.high, edges[-2] + width / 1000)
        return edges, _rebin(self, width, first, last - first + 1)

    def magnitudes(self, bins: int) -> np.ndarray:
        """Return counts (bins,) float64 of absolute values in equal bins from 0 to the largest; not all may be 0.

        A count of this histogram that falls into two of the bins is divided between them.
        """
        peak = max(abs(self.low), abs(self.high))
        width = self.width
        while peak / width >= CAPACITY:
            width *= 2
        first, last = math.floor(self.low / width), math.floor(self.high / width)
        indices = np.arange(first, last + 1)
        counts = _rebin(self, width, first, len(indices))
        folded = np.bincount(np.where(indices >= 0, indices, -indices - 1), weights=counts)
        edges = np.arange(len(folded) + 1) * width
        edges[-1] = max(peak, edges[-2] + width / 1000)
        cumulative = np.concatenate(([0.0], np.cumsum(folded)))  # whole numbers: empty bins differ by exactly 0
        steps = np.arange(bins + 1) / bins * peak
        found = np.diff(np.interp(steps, edges, cumulative))
        found[-1] += cumulative[-1] - np.interp(peak, edges, cumulative)
        return np.asarray(found)

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
        if (width, first, last - first + 1) != (self.width, self.first, len(self.counts)):
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


@dataclass(frozen=True)
class HistogramMethod(Method):
    """A method whose choice depends on a histogram of the values alone."""

    def observer(self, tensor: str) -> HistogramObserver:
        return HistogramObserver(tensor, self)

    @abstractmethod
    def choose(self, seen: Histogram) -> tuple[float, float]:
        """Return the range for values counted in ``seen``, which is not empty."""


class HistogramObserver(Observer):
    """A growing histogram."""

    def __init__(self, tensor: str, method: HistogramMethod) -> None:
        super().__init__(tensor)
        self.method = method
        self.histogram = Histogram()

    def observe(self, values: np.ndarray) -> None:
        self.histogram.add(values)

    def absorb(self, other: Self) -> None:
        self.histogram.merge(other.histogram)

    def choose(self) -> tuple[float, float]:
        return self.method.choose(self.histogram)


def require_bits(method: str, bits: int, *, least: int = 2, most: int = 16) -> None:
    """Raise UsageError unless a method's option ``bits`` is a bit width that it has levels for."""
    if not least <= bits <= most:
        raise UsageError(f"{method}: {bits} bits given, {least} to {most} expected")

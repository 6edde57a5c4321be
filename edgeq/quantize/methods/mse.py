# SPDX-License-Identifier: Apache-2.0
"""The clipped range with the least quantization error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np

from edgeq.errors import UsageError
from edgeq.quantize.methods.histogram import Histogram, HistogramMethod, require_bits
from edgeq.quantize.methods.levels import Levels, levels_of_range, with_zero

MAX_BINS = 2048  # enough for eight to a step of 8 bits
_CHUNK = 1 << 15  # values that are tried at once: what a cache holds


@dataclass(frozen=True)
class Mse(HistogramMethod):
    """Shrink the observed range by factors 1, 0.99, 0.98, ... and keep the one with the least sum of |r - r^|^exponent.

    The error is integrated over each bin of a histogram, values taken as uniform inside. ``symmetric`` ranges use
    2^bits - 1 levels around zero, others 2^bits with the zero point rounded as in execution; those of a tensor without
    negative values start at zero, which is unsigned storage. ``joint`` tries every pair of factors for the two ends.
    Ranges narrower than ``least_width`` are widened upwards to it. Exponent 2.4 is what GPTQ implementations use.

    Source: Nagel et al., "A white paper on neural network quantization", arXiv 2106.08295.
    """

    name: ClassVar[str] = "mse"

    candidates: int = 80
    exponent: float = 2.0
    bits: int = 8
    symmetric: bool = False
    joint: bool = False
    least_width: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.candidates <= 100:
            raise UsageError(f"mse: {self.candidates} candidates given, 1 to 100 expected")
        if not 1 <= self.exponent <= 8:
            raise UsageError(f"mse: exponent {self.exponent:g} given, 1 to 8 expected")
        require_bits("mse", self.bits)
        if self.symmetric and self.joint:
            raise UsageError("mse: joint=true given with symmetric=true, whose ends are one", hint="leave one out")
        if not 0 <= self.least_width < math.inf:
            raise UsageError(f"mse: a least width of {self.least_width:g} given, 0 or a positive number expected")

    def choose(self, seen: Histogram) -> tuple[float, float]:
        low, high = with_zero(seen.low, seen.high, symmetric=self.symmetric)
        if low < high:
            density = Density.of(seen)
            tried = [(low * down, high * up) for down, up in self._factors()]
            errors = [density.error(self._levels(*ends), self.exponent) for ends in tried]
            low, high = tried[int(np.argmin(errors))]
        return float(low), max(float(high), float(low) + self.least_width)

    def ranges(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lows, highs = np.empty(len(rows)), np.empty(len(rows))
        step = max(1, _CHUNK // rows.shape[1])
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            lows[part], highs[part] = self._best(rows[part].astype(np.float64))
        return lows, np.maximum(highs, lows + self.least_width)

    def _best(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends (R,) with the least error of each of rows (R, K) float64."""
        low, high = with_zero(rows.min(axis=1), rows.max(axis=1), symmetric=self.symmetric)
        least = np.full(len(rows), np.inf)
        best_low, best_high = low, high
        for down, up in self._factors():
            errors = self._levels((low * down)[:, np.newaxis], (high * up)[:, np.newaxis]).nearest(rows)
            errors -= rows
            if self.exponent == 2:
                total = np.einsum("rk,rk->r", errors, errors)
            else:
                total = np.sum(np.abs(errors) ** self.exponent, axis=1)
            better = total < least
            least = np.where(better, total, least)
            best_low, best_high = np.where(better, low * down, best_low), np.where(better, high * up, best_high)
        return best_low, best_high

    def _factors(self) -> list[tuple[float, float]]:
        """List the factors for (low, high), the least clipping first."""
        factors = [1 - index / 100 for index in range(self.candidates)]
        return list(product(factors, factors)) if self.joint else [(factor, factor) for factor in factors]

    def _levels(self, low: np.ndarray, high: np.ndarray) -> Levels:
        return levels_of_range(low, high, bits=self.bits, symmetric=self.symmetric)


@dataclass(frozen=True, eq=False)
class Density:
    """A histogram as a function that is constant between ``edges`` (n,) and falls at them by ``jumps`` (n,)."""

    edges: np.ndarray
    jumps: np.ndarray

    @classmethod
    def of(cls, seen: Histogram) -> Density:
        """Return the density of at most 2048 bins."""
        edges, counts = seen.bins(MAX_BINS)
        return cls(edges, -np.diff(counts / np.diff(edges), prepend=0, append=0))

    def error(self, levels: Levels, exponent: float) -> float:
        """Sum |r - r^|^exponent over all values, r^ the nearest level.

        With k the nearest level over the scale, t = r / scale - k and p the exponent, an antiderivative of the error is
        scale^(p + 1) * (0.5^p * k + sign(t) * |t|^(p + 1)) / (p + 1), also beyond the last level. Its differences over
        the bins, times their densities, are summed with the terms collected by edge.
        """
        ratio = self.edges / levels.scale
        nearest = np.minimum(np.maximum(np.floor(ratio + 0.5), levels.bottom), levels.top)
        rest = ratio - nearest
        power = rest * rest * rest if exponent == 2 else np.sign(rest) * np.abs(rest) ** (exponent + 1)
        integral = 0.5**exponent * nearest + power  # (n,)
        return float(np.sum(integral * self.jumps) * levels.scale ** (exponent + 1) / (exponent + 1))

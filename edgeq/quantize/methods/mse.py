# SPDX-License-Identifier: Apache-2.0
"""The clipped range with the least quantization error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from edgeq.errors import UsageError
from edgeq.ir.fixed_point import round_away
from edgeq.quantize.methods.base import Method, Observer
from edgeq.quantize.methods.histogram import Histogram

MAX_BINS = 2048  # enough for eight to a step of 8 bits


@dataclass(frozen=True)
class Mse(Method):
    """Shrink the observed range by factors 1, 0.99, 0.98, ... and keep the one with the least sum of |r - r^|^exponent.

    The error is integrated over each bin of a histogram, values taken as uniform inside. ``symmetric`` ranges use
    2^bits - 1 levels around zero, others 2^bits with the zero point rounded as in execution. Exponent 2.4 is what GPTQ
    implementations use. Left out: a search over both ends separately.
    """

    name: ClassVar[str] = "mse"

    candidates: int = 80
    exponent: float = 2.0
    bits: int = 8
    symmetric: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.candidates <= 100:
            raise UsageError(f"mse: {self.candidates} candidates given, 1 to 100 expected")
        if not 1 <= self.exponent <= 8:
            raise UsageError(f"mse: exponent {self.exponent:g} given, 1 to 8 expected")
        if not 2 <= self.bits <= 16:
            raise UsageError(f"mse: {self.bits} bits given, 2 to 16 expected")

    def observer(self, tensor: str) -> MseObserver:
        return MseObserver(tensor, self)


class MseObserver(Observer):
    """A growing histogram."""

    def __init__(self, tensor: str, options: Mse) -> None:
        super().__init__(tensor)
        self.options = options
        self.histogram = Histogram()

    def observe(self, values: np.ndarray) -> None:
        self.histogram.add(values)

    def absorb(self, other: Self) -> None:
        self.histogram.merge(other.histogram)

    def choose(self) -> tuple[float, float]:
        low, high = min(self.histogram.low, 0.0), max(self.histogram.high, 0.0)
        if self.options.symmetric:
            high = max(-low, high)
            low = -high
        if low == high:
            return low, high
        edges, counts = self._bins()
        # what quantization_error needs of the counts, once for all candidates
        jumps = -np.diff(counts / np.diff(edges), prepend=0, append=0)  # (bins + 1,)
        errors = []
        factors = 1 - np.arange(self.options.candidates) / 100
        for factor in factors:
            scale, levels = self._grid(low * factor, high * factor)
            errors.append(quantization_error(edges, jumps, scale=scale, levels=levels, exponent=self.options.exponent))
        best = float(factors[int(np.argmin(errors))])
        return low * best, high * best

    def _bins(self) -> tuple[np.ndarray, np.ndarray]:
        """Return edges (bins + 1,) and counts (bins,), at most 2048 bins; the outermost end where the data end."""
        edges, counts = self.histogram.edges(), self.histogram.counts
        if len(counts) > MAX_BINS:
            edges, counts = np.append(edges[:-1:2], edges[-1]), np.add.reduceat(counts, np.arange(0, len(counts), 2))
        thin = self.histogram.width / 1000  # keeps the density of a bin with one value finite
        edges[0] = min(self.histogram.low, edges[1] - thin)
        edges[-1] = max(self.histogram.high, edges[-2] + thin)
        return edges, counts

    def _grid(self, low: float, high: float) -> tuple[float, tuple[int, int]]:
        """Return the scale of a range, and its lowest and highest level in steps of that scale."""
        top = 2 ** (self.options.bits - 1) - 1
        if self.options.symmetric:
            return high / top, (-top, top)
        bottom = -top - 1
        scale = (high - low) / (top - bottom)
        zero = min(max(int(round_away(bottom - low / scale)), bottom), top)
        return scale, (bottom - zero, top - zero)


def quantization_error(
    edges: np.ndarray, jumps: np.ndarray, *, scale: float, levels: tuple[int, int], exponent: float
) -> float:
    """Sum |r - r^|^exponent over a histogram, values uniform inside each bin.

    edges (bins + 1,) of the bins; jumps (bins + 1,), by how much the density falls at each edge. r^ is the nearest of
    scale * levels[0] ... scale * levels[1]. With k the nearest level, t = r / scale - k and p the exponent, an
    antiderivative of the error is scale^(p + 1) * (0.5^p * k + sign(t) * |t|^(p + 1)) / (p + 1), also beyond the last
    level. Its differences over the bins, times their densities, are summed with the terms collected by edge.
    """
    ratio = edges / scale
    nearest = np.minimum(np.maximum(np.floor(ratio + 0.5), levels[0]), levels[1])
    rest = ratio - nearest
    power = rest * rest * rest if exponent == 2 else np.sign(rest) * np.abs(rest) ** (exponent + 1)
    integral = 0.5**exponent * nearest + power  # (bins + 1,)
    return float(np.sum(integral * jumps) * scale ** (exponent + 1) / (exponent + 1))

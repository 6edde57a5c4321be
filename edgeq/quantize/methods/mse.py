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
        edges = np.clip(self.histogram.edges(), self.histogram.low, self.histogram.high)  # data end inside a bin
        errors = []
        factors = 1 - np.arange(self.options.candidates) / 100
        for factor in factors:
            scale, zero, bottom, top = self._grid(low * factor, high * factor)
            errors.append(
                quantization_error(
                    edges,
                    self.histogram.counts,
                    scale=scale,
                    levels=(bottom - zero, top - zero),
                    exponent=self.options.exponent,
                )
            )
        best = float(factors[int(np.argmin(errors))])
        return low * best, high * best

    def _grid(self, low: float, high: float) -> tuple[float, int, int, int]:
        """Return (scale, zero point, lowest code, highest code)."""
        if self.options.symmetric:
            top = 2 ** (self.options.bits - 1) - 1
            return high / top, 0, -top, top
        bottom, top = -(2 ** (self.options.bits - 1)), 2 ** (self.options.bits - 1) - 1
        scale = (high - low) / (top - bottom)
        return scale, int(np.clip(round_away(bottom - low / scale), bottom, top)), bottom, top


def quantization_error(
    edges: np.ndarray, counts: np.ndarray, *, scale: float, levels: tuple[int, int], exponent: float
) -> float:
    """Sum |r - r^|^exponent over bins (n,) with edges (n + 1,), values uniform inside each bin.

    r^ is the nearest of scale * levels[0] ... scale * levels[1]. With k the nearest level and t = r / scale - k, an
    antiderivative is scale^(p + 1) * (2 * 0.5^(p + 1) * k + sign(t) * |t|^(p + 1)) / (p + 1), p the exponent; it holds
    beyond the last level too.
    """
    ratio = edges / scale
    nearest = np.clip(np.floor(ratio + 0.5), *levels)
    rest = ratio - nearest
    magnitude = np.abs(rest)
    power = rest * rest * rest if exponent == 2 else np.sign(rest) * magnitude ** (exponent + 1)
    integral = np.diff(2 * 0.5 ** (exponent + 1) * nearest + power) / (exponent + 1)
    spread = np.diff(ratio)
    narrow = spread < 1e-6  # a bin of equal values, whose integral cancels out
    mean = np.where(narrow, magnitude[:-1] ** exponent, integral / np.where(narrow, 1, spread))
    return float(np.sum(counts * mean) * scale**exponent)

# SPDX-License-Identifier: Apache-2.0
"""Blocks: weights that share a scale (a tensor's, a channel's or a group's), and the choice of that scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from edgeq.ir.coding import GROUP_SCALE_MAX, Coding
from edgeq.ir.fixed_point import round_away
from edgeq.quantize.affine import usable_scales
from edgeq.quantize.methods.nested import parse_ranges
from edgeq.quantize.methods.weights import INT8_MAX, Grid, WeightFormat
from edgeq.quantize.ranges import ranges_of_rows

PER = ("channel", "tensor")
OWN_CLIPS = ("mse", "minmax")  # besides those of calibration methods
FACTORS = ("integer", "m1", "m2")  # of groups
_LARGEST_POWER = 128  # among the powers of two that a group scale holds
_COARSE = 0.93 ** np.arange(40)  # down to 0.06
_FINE = 0.93 ** (np.arange(-7, 8) / 8)

Rounding = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Blocks:
    """Weights cut into blocks (R, n): a tensor is one, a channel one each, or ceil(K / group) groups in each channel.

    ``importance`` (R, n) weighs squared errors; it is 0 where a short last group is filled up, and not 0 everywhere.
    """

    values: np.ndarray
    importance: np.ndarray
    channels: int
    depth: int  # K
    group: int

    def grid(self, scales: np.ndarray, coding: Coding | None = None, *, factors: str = "integer") -> Grid:
        """Return the grid whose blocks have scales (R,) >= 0, those of groups as integers times one per channel."""
        if self.group == 0 or coding is None:
            return Grid(usable_scales(np.broadcast_to(scales, self.channels)), coding)
        unit, parts = group_factors(scales.reshape(self.channels, -1), factors)
        return Grid(unit, replace(coding, group=self.group, group_scales=parts))

    def fit(
        self,
        coding: Coding | None,
        *,
        clip: str = "mse",
        exponent: float = 2,
        unused: tuple[int, ...] = (),
        bounds: np.ndarray | None = None,
        factors: str = "integer",
    ) -> Grid:
        """Return the grid of a coding with one table, every block's scale chosen.

        The ends of a block's range, see ``ends``, become the largest values of their sign; with clip ``mse`` the sum of
        |error|^exponent then decides. ``bounds`` (1, n - 1) and ``unused`` are as in Grid.
        """
        levels = _levels(coding, unused)
        low, high = self.ends(clip)
        scales = np.maximum(np.maximum(high / levels[-1], low / levels[0]), 0)
        if clip == "mse":
            rounding = to_levels(levels, None if bounds is None else bounds[0])
            scales = self.best_scales(scales, rounding, exponent=exponent, most=4 / 3)
        return replace(self.grid(scales, coding, factors=factors), unused=unused, bounds=bounds)

    def ends(self, clip: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the ranges (R,) of the blocks: with clip ``minmax`` or ``mse`` of all values, else by calibration.

        ``clip`` then names a method, as in ``percentile:99.9``.
        """
        if clip in OWN_CLIPS:
            return self.values.min(axis=1), self.values.max(axis=1)
        rows = self.values.reshape(self.channels, -1)[:, : self.depth] if self.group else self.values
        low, high = ranges_of_rows(parse_ranges(clip), rows, group=self.group)
        return low.reshape(-1), high.reshape(-1)

    def best_scales(self, first: np.ndarray, rounding: Rounding, *, exponent: float = 2, most: float = 1) -> np.ndarray:
        """Return the scales (R,), parts of ``first`` up to ``most``, with the least sum of |error|^exponent.

        ``rounding`` turns weights in units of their scale (R, n) into integers. ``first`` itself is tried.
        """
        best, least = first, self._errors(first, rounding, exponent)
        for factor in most * _COARSE:
            best, least = self._better(best, least, first * factor, rounding, exponent)
        middle = best
        for factor in _FINE:
            best, least = self._better(best, least, middle * factor, rounding, exponent)
        return best

    def _better(
        self, best: np.ndarray, least: np.ndarray, tried: np.ndarray, rounding: Rounding, exponent: float
    ) -> tuple[np.ndarray, np.ndarray]:
        errors = self._errors(tried, rounding, exponent)
        return np.where(errors < least, tried, best), np.minimum(errors, least)

    def _errors(self, scales: np.ndarray, rounding: Rounding, exponent: float) -> np.ndarray:
        """Return the weighted sums of |error|^exponent (R,)."""
        steps = np.where(scales > 0, scales, 1)[:, np.newaxis]
        rest = np.abs(self.values - rounding(self.values / steps) * steps)
        return np.asarray((self.importance * (rest * rest if exponent == 2 else rest**exponent)).sum(axis=1))


def blocks(
    weights: np.ndarray, *, per: str = "channel", group: int = 0, importance: np.ndarray | None = None
) -> Blocks:
    """Cut weights (O, K) into blocks; with ``group`` > 0 into groups of so many along K."""
    channels, depth = weights.shape
    weighed = np.ones(weights.shape) if importance is None else np.broadcast_to(importance, weights.shape)
    if group:
        shape = (channels * -(-depth // group), group)
        padding = ((0, 0), (0, -depth % group))
        inside = np.pad(np.ones(weights.shape), padding).reshape(shape)
        weights, weighed = (np.pad(part, padding).reshape(shape) for part in (weights, weighed))
    else:
        shape = (1, weights.size) if per == "tensor" else weights.shape
        weights, weighed, inside = weights.reshape(shape), weighed.reshape(shape), np.ones(shape)
    nothing = ~weighed.any(axis=1, keepdims=True)
    return Blocks(weights, np.where(nothing, inside, weighed), channels, depth, group)


def check_blocks(format: WeightFormat, *, per: str, group: int = 0) -> None:
    """Raise UsageError for options that ``blocks`` cannot follow."""
    format.require(per in PER, f"per {per!r}", " or ".join(PER))
    format.require(group >= 0, f"a group of {group}", "0 for none, or more")
    format.require(per == "channel" or group == 0, f"per {per!r} with groups", "per 'channel', in which groups lie,")


def check_clip(format: WeightFormat, *, clip: str, exponent: float = 2) -> None:
    """Raise UsageError for options that ``Blocks.fit`` cannot follow."""
    if clip not in OWN_CLIPS:
        parse_ranges(clip)
    format.require(1 <= exponent <= 8, f"exponent {exponent:g}", "1 to 8")


def to_range(low: np.ndarray | float, high: np.ndarray | float) -> Rounding:
    """Return rounding to the integers of a range."""
    return lambda ratios: np.minimum(np.maximum(np.rint(ratios), low), high)


def to_levels(levels: np.ndarray, bounds: np.ndarray | None = None) -> Rounding:
    """Return rounding to ascending levels (n,), each from one of the ascending bounds (n - 1,) to the next."""
    if bounds is None and np.all(np.diff(levels) == 1):
        return to_range(levels[0], levels[-1])
    edges = (levels[:-1] + levels[1:]) / 2 if bounds is None else bounds
    return lambda ratios: np.asarray(levels[np.searchsorted(edges, ratios)])


def group_factors(scales: np.ndarray, rule: str) -> tuple[np.ndarray, np.ndarray]:
    """Return scales (O,) and integers (O, groups) uint8 whose products are near the scales of groups (O, groups).

    The integers are 1 ... 255, 0 for a scale of 0. With the rules m1 and m2 of ZeroQuant-FP (arXiv 2307.09782) they are
    powers of two, with m1 the scales too; products are then no smaller than the scales given, so that nothing clips.
    """
    largest = scales.max(axis=1)
    if rule == "integer":
        unit = usable_scales(largest / GROUP_SCALE_MAX)
        parts = round_away(scales / unit[:, np.newaxis])
    else:
        unit = usable_scales(largest / _LARGEST_POWER)
        if rule == "m1":
            unit = 2 ** np.ceil(np.log2(unit))
        ratios = np.maximum(scales / unit[:, np.newaxis], 1)
        parts = np.minimum(2 ** np.ceil(np.log2(ratios) - 1e-6), _LARGEST_POWER)  # less what float32 rounding adds
    return unit, np.where(scales > 0, np.clip(parts, 1, GROUP_SCALE_MAX), 0).astype(np.uint8)


def _levels(coding: Coding | None, unused: tuple[int, ...]) -> np.ndarray:
    """Return the distinct integers of a coding's codes in ascending order, without groups."""
    if coding is None:
        return np.arange(-INT8_MAX, INT8_MAX + 1, dtype=np.float64)
    return np.unique(np.delete(coding.meanings()[0], unused)).astype(np.float64)

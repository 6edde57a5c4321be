# SPDX-License-Identifier: Apache-2.0
"""Weights that are entries of a table found by k-means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import UsageError
from edgeq.ir.coding import CodeKind, Coding
from edgeq.ir.fixed_point import round_away
from edgeq.quantize.methods.blocks import PER, Blocks, blocks, to_levels
from edgeq.quantize.methods.kmeans import Points, linear_start, lloyd, optimum, plus_plus_start, quantile_start
from edgeq.quantize.methods.weights import INT8_MAX, INT16_MAX, Grid, WeightFormat

_STARTS = ("auto", "linear", "quantile", "kmeans++", "optimum")
_PINS = ("auto", "always", "never")
_ROUNDS = 2  # of a table and the scales of its weights
_MOST_POINTS = 100_000  # that the exact optimum is found for
_MOST_WORK = 16 * _MOST_POINTS  # points times entries that ``auto`` finds it for, in about two seconds


@dataclass(frozen=True)
class Codebook(WeightFormat):
    """A table of 2^bits integers per tensor, or one per output channel, by weighted k-means in one dimension.

    A tensor's table is that of weights divided by a scale of their channel or, with ``group``, their group: first the
    root mean square or the largest magnitude, then the best scale for the table, for which the table is then moved.
    Tables of channels cost 2^(bits+1) bytes each, more than they save on less than some hundred weights. Entries are
    rounded to int8, or int16 if ``wide``.

    ``start`` is where Lloyd's iteration starts, ``optimum`` the exact result, ``auto`` this one for layers of up to
    1.6 million / 2^bits distinct weights, on others Lloyd's iteration from quantiles. Zero is an entry where
    ``pin_zero`` says ``always``, or ``auto`` and a tenth of the weights or a whole channel are zeros. Sources: Han et
    al., "Deep compression", arXiv 1510.00149; Kim et al., "SqueezeLLM", arXiv 2306.07629, for importance. Left out:
    Huffman codes, training of the entries.
    """

    name: ClassVar[str] = "codebook"

    bits: int = 4
    per: str = "tensor"
    group: int = 0
    start: str = "auto"
    wide: bool = False
    pin_zero: str = "auto"
    iterations: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        self.require(1 <= self.bits <= 8, f"{self.bits} bits", "1 to 8")
        self.require(self.per in PER, f"per {self.per!r}", " or ".join(PER))
        self.require(self.group >= 0, f"a group of {self.group}", "0 for none, or more")
        self.require(not self.group or self.per == "tensor", "a group with tables of channels", "per=tensor or group=0")
        self.require(self.start in _STARTS, f"start {self.start!r}", " or ".join(_STARTS))
        self.require(self.pin_zero in _PINS, f"pin_zero {self.pin_zero!r}", " or ".join(_PINS))
        self.require(self.iterations >= 1, f"{self.iterations} iterations", "1 or more")
        self.require(self.seed >= 0, f"seed {self.seed}", "0 or more")

    def fit(self, weights: np.ndarray, *, importance: np.ndarray | None = None) -> Grid:
        cut = blocks(weights, group=self.group, importance=importance)
        rng, pinned = np.random.default_rng(self.seed), self._pins_zero(weights)
        if self.per == "channel":
            tables = [self._table(Points(*row), rng, pinned) for row in zip(cut.values, cut.importance, strict=True)]
            return self._grid(cut, np.ones(len(weights)), np.array(tables))
        scales = np.abs(cut.values).max(axis=1) if self.group else np.sqrt(np.mean(cut.values**2, axis=1))
        centroids = None
        for _ in range(_ROUNDS):
            ratios = cut.values / np.where(scales > 0, scales, 1)[:, np.newaxis]
            masses = cut.importance * (scales * scales)[:, np.newaxis]
            points = Points(ratios, masses if masses.any() else cut.importance)
            centroids = self._table(points, rng, pinned, centroids)
            scales = cut.best_scales(scales, to_levels(centroids), most=4 / 3)
        assert centroids is not None
        return self._grid(cut, scales, centroids[np.newaxis])

    def _grid(self, cut: Blocks, scales: np.ndarray, centroids: np.ndarray) -> Grid:
        """Return the grid of centroids (tables, 2^bits), rounded to integers, times scales (R,)."""
        most = INT16_MAX if self.wide else INT8_MAX
        sizes = np.abs(centroids).max(axis=1)  # (tables,)
        levels = round_away(centroids * (most / np.where(sizes > 0, sizes, 1))[:, np.newaxis]).astype(np.int16)
        return cut.grid(scales * sizes / most, Coding(CodeKind.LEVELS, self.bits, levels))

    def _pins_zero(self, weights: np.ndarray) -> bool:
        empty = bool(np.any(~weights.any(axis=1)))
        return self.pin_zero == "always" or (self.pin_zero == "auto" and (empty or float(np.mean(weights == 0)) > 0.1))

    def _table(
        self, points: Points, rng: np.random.Generator, pinned: bool, start: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the ascending centroids (2^bits,) of one table; those that are one too many repeat."""
        size, count = 1 << self.bits, len(points.values)
        kept = np.union1d(points.values, 0) if pinned else points.values
        if len(kept) <= size:
            return np.pad(kept, (0, size - len(kept)), mode="edge")
        if start is not None:
            return lloyd(points, start, iterations=self.iterations, pinned=pinned)
        if self.start == "optimum" or (self.start == "auto" and count * size <= _MOST_WORK):
            if count > _MOST_POINTS:
                raise UsageError(
                    f"codebook: the optimum of {count} weights, more than {_MOST_POINTS}, would take too long",
                    hint="give start=linear, or per=channel for smaller tables",
                )
            start = optimum(points, size)
        elif self.start == "kmeans++":
            start = plus_plus_start(points, size, rng)
        else:
            start = (linear_start if self.start == "linear" else quantile_start)(points, size)
        return lloyd(points, start, iterations=self.iterations, pinned=pinned)

# SPDX-License-Identifier: Apache-2.0
"""Weights that are entries of a table found by k-means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq.errors import UsageError
from edgeq.ir.coding import CodeKind, Coding
from edgeq.ir.fixed_point import round_away
from edgeq.quantize.methods.blocks import PER, blocks, group_factors
from edgeq.quantize.methods.kmeans import Points, linear_start, lloyd, optimum, plus_plus_start, quantile_start
from edgeq.quantize.methods.weights import INT8_MAX, INT16_MAX, Grid, WeightFormat, usable_scales

_STARTS = ("linear", "quantile", "kmeans++", "optimum")
_PINS = ("auto", "always", "never")
_MOST_POINTS = 100_000  # that the exact optimum is found for


@dataclass(frozen=True)
class Codebook(WeightFormat):
    """Tables of 2^bits integers per output channel or one per tensor, by weighted k-means in one dimension.

    A tensor's table holds the weights of all channels, each divided by the channel's root mean square; with ``group``
    a table holds weights divided by the largest magnitude of their group. Entries are rounded to int8, or int16 if
    ``wide``. ``start`` is where Lloyd's iteration starts, or ``optimum`` for the exact result. Zero is an entry where
    ``pin_zero`` says ``always``, or ``auto`` and a tenth of the weights or a whole channel are zeros. Sources: Han et
    al., "Deep compression", arXiv 1510.00149; Kim et al., "SqueezeLLM", arXiv 2306.07629, for importance. Left out:
    Huffman codes, training of the entries.
    """

    name: ClassVar[str] = "codebook"

    bits: int = 4
    per: str = "channel"
    group: int = 0
    start: str = "linear"
    wide: bool = False
    pin_zero: str = "auto"
    iterations: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        self.require(1 <= self.bits <= 8, f"{self.bits} bits", "1 to 8")
        self.require(self.per in PER, f"per {self.per!r}", " or ".join(PER))
        self.require(self.group >= 0, f"a group of {self.group}", "0 for none, or more")
        self.require(self.start in _STARTS, f"start {self.start!r}", " or ".join(_STARTS))
        self.require(self.pin_zero in _PINS, f"pin_zero {self.pin_zero!r}", " or ".join(_PINS))
        self.require(self.iterations >= 1, f"{self.iterations} iterations", "1 or more")
        self.require(self.seed >= 0, f"seed {self.seed}", "0 or more")

    def fit(self, weights: np.ndarray, *, importance: np.ndarray | None = None) -> Grid:
        channels = len(weights)
        masses = np.ones(weights.shape) if importance is None else np.broadcast_to(importance, weights.shape)
        units, parts = np.ones(channels), None
        if self.group:
            peaks = np.abs(blocks(weights, group=self.group).values).max(axis=1)
            units, parts = group_factors(peaks.reshape(channels, -1), "integer")
        elif self.per == "tensor":
            units = usable_scales(np.sqrt(np.mean(weights * weights, axis=1)))
        norms = np.broadcast_to(units[:, np.newaxis], weights.shape)
        if parts is not None:
            norms = norms * np.repeat(parts, self.group, axis=1)[:, : weights.shape[1]]
        shape = (1, weights.size) if self.per == "tensor" else weights.shape
        points = (weights / np.where(norms > 0, norms, 1)).reshape(shape)
        centroids = self._centroids(points, (masses * norms * norms).reshape(shape), self._pins_zero(weights))
        most = INT16_MAX if self.wide else INT8_MAX
        sizes = np.abs(centroids).max(axis=1)  # (tables,)
        levels = round_away(centroids * (most / np.where(sizes > 0, sizes, 1))[:, np.newaxis]).astype(np.int16)
        grid = Grid(usable_scales(units * sizes / most), Coding(CodeKind.LEVELS, self.bits, levels))
        if parts is None:
            return grid
        assert grid.coding is not None
        return replace(grid, coding=replace(grid.coding, group=self.group, group_scales=parts))

    def _pins_zero(self, weights: np.ndarray) -> bool:
        empty = bool(np.any(~weights.any(axis=1)))
        return self.pin_zero == "always" or (self.pin_zero == "auto" and (empty or float(np.mean(weights == 0)) > 0.1))

    def _centroids(self, points: np.ndarray, masses: np.ndarray, pinned: bool) -> np.ndarray:
        """Return ascending centroids (tables, 2^bits) of points (tables, n); those that are one too many repeat."""
        masses = np.where(masses.any(axis=1, keepdims=True), masses, 1)
        rng = np.random.default_rng(self.seed)
        found = [self._table(Points(*row), rng, pinned) for row in zip(points, masses, strict=True)]
        return np.array(found)

    def _table(self, points: Points, rng: np.random.Generator, pinned: bool) -> np.ndarray:
        """Return the ascending centroids (2^bits,) of one table."""
        size, count = 1 << self.bits, len(points.values)
        if count <= size:
            return np.pad(points.values, (0, size - count), mode="edge")
        if self.start == "optimum":
            if count > _MOST_POINTS:
                raise UsageError(
                    f"codebook: the optimum of {count} weights, more than {_MOST_POINTS}, would take too long",
                    hint="give start=linear, or per=channel for smaller tables",
                )
            start = optimum(points, size)
        elif self.start == "kmeans++":
            start = plus_plus_start(points, size, rng)
        else:
            start = {"linear": linear_start, "quantile": quantile_start}[self.start](points, size)
        return lloyd(points, start, iterations=self.iterations, pinned=pinned)

# SPDX-License-Identifier: Apache-2.0
"""Weight formats: the values that the weights of a layer may take, and the choice of them for a layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from edgeq.errors import UsageError
from edgeq.ir.coding import Coding
from edgeq.ir.fixed_point import round_away

INT8_MAX, INT16_MAX = 127, 32767


@dataclass(frozen=True, eq=False)
class Grid:
    """The values that the weights (O, K) of a layer may take: scales[o] times the integers of a coding.

    ``scales`` (O,) are float32 values held as float64. Without a coding the codes are the integers themselves, int8 in
    [-127, 127], which every kernel reads. ``unused`` codes are never chosen: those that a float format reserves, or
    whose opposite is missing. ``bounds`` (1 or O, n - 1) are the meanings where ``nearest`` goes from one to the next
    of the n that codes have, for formats whose rule is another than the middle.
    """

    scales: np.ndarray
    coding: Coding | None = None
    unused: tuple[int, ...] = ()
    bounds: np.ndarray | None = None

    def values(self, codes: np.ndarray, *, first: int = 0) -> np.ndarray:
        """Return the real values (O, n) of codes (O, n) at inputs first ... first + n - 1."""
        integers = codes if self.coding is None else self.coding.columns(codes, first=first)
        return np.asarray(integers * self.scales[:, np.newaxis], np.float64)

    def nearest(self, weights: np.ndarray, *, first: int = 0) -> np.ndarray:
        """Return the codes (O, n) of the values nearest to weights (O, n); int8 without a coding, else uint8.

        Ties go away from zero, in groups with zero points to the larger value.
        """
        if self.coding is None:
            ratios = round_away(weights / self.scales[:, np.newaxis])
            return np.asarray(np.clip(ratios, -INT8_MAX, INT8_MAX), np.int8)
        _, order, bounds = self._tables
        return _entries(order, _count(bounds, self._in_meanings(weights, first)))

    def neighbours(self, weights: np.ndarray, *, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return the codes (O, n) of the largest values <= weights and of the smallest >= weights.

        Beyond the outermost value both are its code; a weight that is a value gets its code twice.
        """
        if self.coding is None:
            ratios = weights / self.scales[:, np.newaxis]
            low, high = (np.clip(edge(ratios), -INT8_MAX, INT8_MAX).astype(np.int8) for edge in (np.floor, np.ceil))
            return low, high
        meanings, order, _ = self._tables
        targets = self._in_meanings(weights, first)
        reached = _count(meanings, targets)
        low = np.maximum(reached - 1, 0)
        exact = (_entries(meanings, low) == targets) | (reached == 0)
        high = np.where(exact, low, np.minimum(low + 1, order.shape[1] - 1))
        return _entries(order, low), _entries(order, high)

    @cached_property
    def _tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the distinct meanings in ascending order (tables, n), a code for each, and where rounding changes.

        Rows with fewer meanings than others go on with infinities and with their last code.
        """
        assert self.coding is not None
        used = np.setdiff1d(np.arange(1 << self.coding.bits), self.unused)
        found = [np.unique(row[used], return_index=True) for row in self.coding.meanings()]
        most = max(len(values) for values, _ in found)
        meanings = np.full((len(found), most), np.inf)
        order = np.empty((len(found), most), np.uint8)
        for row, (values, places) in enumerate(found):
            meanings[row, : len(values)] = values
            order[row] = used[np.pad(places, (0, most - len(places)), mode="edge")]
        if self.bounds is not None:
            return meanings, order, self.bounds[:, : most - 1]
        middles = (meanings[:, :-1] + meanings[:, 1:]) / 2
        return meanings, order, np.where(middles < 0, np.nextafter(middles, np.inf), middles)

    def _in_meanings(self, weights: np.ndarray, first: int) -> np.ndarray:
        """Return weights (O, n) in units of what codes mean before group scales and zero points.

        A weight that is a value gives its meaning exactly: float32 scales times such integers are exact in float64.
        """
        assert self.coding is not None
        ratios = weights / self.scales[:, np.newaxis]
        if self.coding.group == 0:
            return np.asarray(ratios)
        groups = (first + np.arange(weights.shape[1])) // self.coding.group
        assert self.coding.group_scales is not None
        factors = self.coding.group_scales[:, groups].astype(np.float64)
        ratios = np.where(factors > 0, ratios / np.where(factors > 0, factors, 1), 0.0)
        zeros = self.coding.group_zeros
        return np.asarray(ratios if zeros is None else ratios + zeros[:, groups])


def _entries(table: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the entries at places (O, n) of a table for all rows (1, m), or of one per row (O, m)."""
    rows = np.zeros((1, 1), np.intp) if len(table) == 1 else np.arange(len(places))[:, np.newaxis]
    return np.asarray(table[rows, places])


def _count(ascending: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return how many entries of a table for all rows (1, m), or of one per row (O, m), targets (O, n) reach."""
    if len(ascending) == 1:
        return np.searchsorted(ascending[0], targets, side="right")
    size = ascending.shape[1]
    rows = np.arange(len(targets))[:, np.newaxis]
    found = np.zeros(targets.shape, np.intp)
    for bit in reversed(range(size.bit_length())):  # of the counts, found from the highest by halving
        tried = found + (1 << bit)
        reached = (ascending[rows, np.minimum(tried, size) - 1] <= targets) & (tried <= size)
        found += reached.astype(np.intp) << bit
    return found


@dataclass(frozen=True)
class WeightFormat(ABC):
    """A way to choose the grid of a layer's weights; subclasses are frozen dataclasses whose fields are the options."""

    name: ClassVar[str]

    @abstractmethod
    def fit(self, weights: np.ndarray, *, importance: np.ndarray | None = None) -> Grid:
        """Choose the grid for weights (O, K) float64, all finite.

        ``importance`` (1 or O, K) >= 0 weighs the squared errors where a format can use it.
        """

    def require(self, met: bool, problem: str, expected: str) -> None:
        """Raise UsageError for an option that is not what is expected."""
        if not met:
            raise UsageError(f"{self.name}: {problem} given, {expected} expected")

# SPDX-License-Identifier: Apache-2.0
"""Weight formats: the values that the weights of a layer may take, and the choice of them for a layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from edgeq.ir.coding import Coding

INT8_MAX = 127


@dataclass(frozen=True, eq=False)
class Grid:
    """The values that the weights (O, K) of a layer may take: scales[o] times the integers of a coding.

    ``scales`` (O,) are float32 values held as float64. Without a coding the codes are the integers themselves, int8 in
    [-127, 127], which every kernel reads.
    """

    scales: np.ndarray
    coding: Coding | None = None

    def values(self, codes: np.ndarray, *, first: int = 0) -> np.ndarray:
        """Return the real values (O, n) of codes (O, n) at inputs first ... first + n - 1."""
        integers = codes if self.coding is None else self.coding.columns(codes, first=first)
        return np.asarray(integers * self.scales[:, np.newaxis], np.float64)

    def nearest(self, weights: np.ndarray, *, first: int = 0) -> np.ndarray:
        """Return the codes (O, n) of the values nearest to weights (O, n), ties to the larger magnitude's side.

        Codes are int8 without a coding, else uint8.
        """
        lower, upper = self.neighbours(weights, first=first)
        below, above = (self.values(codes, first=first) for codes in (lower, upper))
        middle = (below + above) / 2
        take_upper = np.where(middle >= 0, weights >= middle, weights > middle)
        return np.where(take_upper, upper, lower)

    def neighbours(self, weights: np.ndarray, *, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return the codes (O, n) of the largest values <= weights and of the smallest >= weights.

        Beyond the outermost value both are its code; a weight that is a value gets its code twice.
        """
        if self.coding is None:
            ratios = weights / self.scales[:, np.newaxis]
            low, high = (np.clip(edge(ratios), -INT8_MAX, INT8_MAX).astype(np.int8) for edge in (np.floor, np.ceil))
            return low, high
        meanings, order = self._sorted
        targets = self._in_meanings(weights, first)
        lower, upper = np.empty(weights.shape, np.uint8), np.empty(weights.shape, np.uint8)
        last = meanings.shape[1] - 1
        for row in range(len(weights)):
            table = 0 if len(meanings) == 1 else row
            place = np.searchsorted(meanings[table], targets[row], side="right") - 1
            low = np.clip(place, 0, last)
            exact = (meanings[table][low] == targets[row]) | (place < 0)
            lower[row] = order[table][low]
            upper[row] = order[table][np.where(exact, low, np.minimum(low + 1, last))]
        return lower, upper

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the distinct meanings of codes in ascending order (tables, n), and a code for each.

        Tables with fewer distinct meanings than others are filled up with their last.
        """
        assert self.coding is not None
        found = [np.unique(row, return_index=True) for row in self.coding.meanings()]
        most = max(len(values) for values, _ in found)
        values = [np.pad(values.astype(np.float64), (0, most - len(values)), mode="edge") for values, _ in found]
        codes = [np.pad(codes.astype(np.uint8), (0, most - len(codes)), mode="edge") for _, codes in found]
        return np.array(values), np.array(codes)

    def _in_meanings(self, weights: np.ndarray, first: int) -> np.ndarray:
        """Return weights (O, n) in units of what codes mean before group scales and zero points."""
        assert self.coding is not None
        ratios = weights / self.scales[:, np.newaxis]
        if self.coding.group == 0:
            return np.asarray(ratios)
        groups = (first + np.arange(weights.shape[1])) // self.coding.group
        assert self.coding.group_scales is not None
        factors = self.coding.group_scales.astype(np.float64)[:, groups]
        ratios = np.where(factors > 0, ratios / np.where(factors > 0, factors, 1), 0.0)
        zeros = self.coding.group_zeros
        return np.asarray(ratios if zeros is None else ratios + zeros.astype(np.float64)[:, groups])


@dataclass(frozen=True)
class WeightFormat:
    """A way to choose the grid of a layer's weights; subclasses are frozen dataclasses whose fields are the options."""

    name: ClassVar[str]

    def fit(self, weights: np.ndarray, *, importance: np.ndarray | None = None) -> Grid:
        """Choose the grid for weights (O, K) float64, all finite.

        ``importance`` (1 or O, K) >= 0 weighs the squared errors where a format can use it.
        """
        raise NotImplementedError

# SPDX-License-Identifier: Apache-2.0
"""Weights that are -1, 0 or 1 times a scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ir.coding import CodeKind, Coding
from edgeq.quantize.methods.blocks import Blocks, blocks, check_blocks
from edgeq.quantize.methods.weights import Grid, WeightFormat

_UNUSED = (3,)  # means the same as 2
_RULES = ("optimum", "twn", "absmean")


@dataclass(frozen=True)
class Ternary(WeightFormat):
    """Ternary weights, two bits each, with one level per channel, tensor or group.

    Rule ``optimum`` is the level with the least squared error; ``twn`` the mean of |w| over |w| > 0.7 mean |w|;
    ``absmean`` the mean of |w|, as trained weights of BitNet expect. Weights then take the nearest value, which for
    ``twn`` has less error than its own threshold. Sources: Li et al., "Ternary weight networks", arXiv 1605.04711; Ma
    et al., "The era of 1-bit LLMs", arXiv 2402.17764. Left out: two trained levels (TTQ), denser packing.
    """

    name: ClassVar[str] = "ternary"

    rule: str = "optimum"
    per: str = "channel"
    group: int = 0

    def __post_init__(self) -> None:
        self.require(self.rule in _RULES, f"rule {self.rule!r}", " or ".join(_RULES))
        check_blocks(self, per=self.per, group=self.group)

    def fit(self, weights: np.ndarray, *, importance: np.ndarray | None = None) -> Grid:
        cut = blocks(weights, per=self.per, group=self.group, importance=importance)
        level = {"optimum": best_level, "twn": twn_level, "absmean": mean_level}[self.rule]
        grid = cut.grid(level(cut), Coding(CodeKind.TERNARY, 2))
        return Grid(grid.scales, grid.coding, _UNUSED)


def mean_level(cut: Blocks) -> np.ndarray:
    """Return the weighted means of |w| (R,)."""
    return np.asarray((cut.importance * np.abs(cut.values)).sum(axis=1) / cut.importance.sum(axis=1))


def twn_level(cut: Blocks) -> np.ndarray:
    """Return the weighted means (R,) of |w| over |w| > 0.7 mean |w|."""
    sizes = np.abs(cut.values)
    counted = cut.importance * (sizes > 0.7 * mean_level(cut)[:, np.newaxis])
    total = counted.sum(axis=1)
    return np.asarray((counted * sizes).sum(axis=1) / np.where(total > 0, total, 1))


def best_level(cut: Blocks) -> np.ndarray:
    """Return the levels (R,) with the least squared error: the mean of the k largest |w| for the best k.

    With importance h the best k maximizes (sum of h |w|)^2 / (sum of h), each over the k largest.
    """
    order = np.argsort(-np.abs(cut.values), axis=1, kind="stable")
    counted = np.take_along_axis(cut.importance, order, axis=1)
    mass = counted.cumsum(axis=1)
    sums = (counted * np.take_along_axis(np.abs(cut.values), order, axis=1)).cumsum(axis=1)
    mass = np.where(mass > 0, mass, 1)
    best = np.argmax(sums * sums / mass, axis=1)[:, np.newaxis]
    return np.asarray(np.take_along_axis(sums / mass, best, axis=1)[:, 0])

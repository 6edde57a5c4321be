# SPDX-License-Identifier: Apache-2.0
"""Weights that are floating-point numbers of 4 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ir.coding import CodeKind, Coding
from edgeq.quantize.methods.blocks import FACTORS, blocks, check_blocks, check_clip
from edgeq.quantize.methods.minifloat import minifloat_coding
from edgeq.quantize.methods.shift_tables import powers_coding
from edgeq.quantize.methods.weights import Grid, WeightFormat

# bitsandbytes: 0, 1/192, 2/3, 1, 1/3, 1/2, 1/6, 1/4 by code; times 127
_BNB = (0, 1, 85, 127, 42, 64, 21, 32)
_FORMATS = ("e2m1", "e3m0", "e1m2", "bnb", "auto")


@dataclass(frozen=True)
class Fp4(WeightFormat):
    """A sign and 3 bits of exponent and mantissa times the largest magnitude of each group, as exact integers.

    ``e2m1`` has magnitudes 0, 1, 2, 3, 4, 6, 8, 12 in units of its smallest, ``e3m0`` 0 and powers of two, ``e1m2``
    0 ... 7; ``bnb`` is the table of bitsandbytes, rounded to int8; ``auto`` the one of the first three with the least
    squared error over the layer, as LLM-FP4 searches. Clip and ``factors`` as in nf4. Sources: Liu et al., "LLM-FP4",
    arXiv 2310.16836; Wu et al., "ZeroQuant-FP", arXiv 2307.09782. Left out: the search by output error, shifted
    exponents of activations.
    """

    name: ClassVar[str] = "fp4"

    format: str = "e2m1"
    group: int = 64
    clip: str = "minmax"
    factors: str = "integer"

    def __post_init__(self) -> None:
        self.require(self.format in _FORMATS, f"format {self.format!r}", " or ".join(_FORMATS))
        check_blocks(self, per="channel", group=self.group)
        check_clip(self, clip=self.clip)
        self.require(self.factors in FACTORS, f"factors {self.factors!r}", " or ".join(FACTORS))

    def fit(self, weights: np.ndarray, *, importance: np.ndarray | None = None) -> Grid:
        cut = blocks(weights, group=self.group, importance=importance)
        formats = _FORMATS[:3] if self.format == "auto" else (self.format,)
        grids = [cut.fit(_coding(format), clip=self.clip, factors=self.factors) for format in formats]
        weighed = np.float64(1) if importance is None else importance
        errors = [np.sum(weighed * (grid.values(grid.nearest(weights)) - weights) ** 2) for grid in grids]
        return grids[int(np.argmin(errors))]


def _coding(format: str) -> Coding:
    if format == "e3m0":
        return powers_coding(4)
    if format == "bnb":
        return Coding(CodeKind.LEVELS, 4, np.array([[*_BNB, *(-level for level in _BNB)]], np.int16))
    return minifloat_coding(int(format[1]), int(format[3]))

# SPDX-License-Identifier: Apache-2.0
"""Weights at 16 quantiles of a normal distribution: NF4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ir.coding import CodeKind, Coding
from edgeq.ir.fixed_point import round_away
from edgeq.quantize.methods.blocks import FACTORS, blocks, check_blocks, check_clip
from edgeq.quantize.methods.weights import INT8_MAX, INT16_MAX, Grid, WeightFormat

LEVELS = (
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
    *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
    *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
    *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
)


@dataclass(frozen=True)
class Nf4(WeightFormat):
    """The NF4 levels as integers of 8 bits, or of 16 if ``wide``, times the largest magnitude of each group.

    With clip ``mse`` the scale with the least squared error instead, or what a calibration method clips as in int.
    Group scales are integers of 8 bits, or powers of two by rule m1 or m2 of ZeroQuant-FP (rounded up, nothing clips);
    with group 0 a channel has one real scale. Source: Dettmers et al., "QLoRA", arXiv 2305.14314. Left out: its double
    quantization, in whose place are integer scales.
    """

    name: ClassVar[str] = "nf4"

    group: int = 64
    wide: bool = False
    clip: str = "minmax"
    factors: str = "integer"

    def __post_init__(self) -> None:
        check_blocks(self, per="channel", group=self.group)
        check_clip(self, clip=self.clip)
        self.require(self.factors in FACTORS, f"factors {self.factors!r}", " or ".join(FACTORS))

    def fit(self, weights: np.ndarray, *, importance: np.ndarray | None = None) -> Grid:
        most = INT16_MAX if self.wide else INT8_MAX
        levels = round_away(np.array([LEVELS]) * most).astype(np.int16)
        cut = blocks(weights, group=self.group, importance=importance)
        return cut.fit(Coding(CodeKind.LEVELS, 4, levels), clip=self.clip, factors=self.factors)

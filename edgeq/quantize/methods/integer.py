# SPDX-License-Identifier: Apache-2.0
"""Weights of few bits at equal distances, with one scale per channel, tensor or group."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq.errors import UsageError
from edgeq.ir.coding import CodeKind, Coding
from edgeq.ir.fixed_point import round_away
from edgeq.quantize.methods.blocks import blocks, check_blocks, check_clip, to_range
from edgeq.quantize.methods.levels import with_zero
from edgeq.quantize.methods.weights import Grid, WeightFormat


@dataclass(frozen=True)
class Integer(WeightFormat):
    """Integers of 2 to 8 bits: symmetric, or with a zero point per group; groups have integer scales of 8 bits.

    Symmetric codes reach from -(2^(bits-1) - 1) to its opposite, with ``signed_max`` from -2^(bits-1). With clip
    ``minmax`` nothing is clipped; with ``mse`` the range shrinks to where the sum of |error|^exponent is least, 2.4
    being the exponent of GPTQ implementations; any other calibration method may choose it, as in
    ``clip=percentile:99.9``, its own options apart by semicolons. Sources: Krishnamoorthi, arXiv 1806.08342; Frantar et
    al., "GPTQ", arXiv 2210.17323; Jacob et al., arXiv 1712.05877, for zero points. Left out: a search over both ends of
    an asymmetric range separately, fractional zero points, negative scales.
    """

    name: ClassVar[str] = "int"

    bits: int = 4
    group: int = 0
    per: str = "channel"
    asymmetric: bool = False
    clip: str = "mse"
    exponent: float = 2.4
    signed_max: bool = False

    def __post_init__(self) -> None:
        self.require(2 <= self.bits <= 8, f"{self.bits} bits", "2 to 8")
        check_blocks(self, per=self.per, group=self.group)
        check_clip(self, clip=self.clip, exponent=self.exponent)
        if self.asymmetric and (self.group == 0 or self.signed_max):
            raise UsageError(
                "int: zero points belong to groups of unsigned codes", hint="give group=64 and leave signed_max false"
            )

    def fit(self, weights: np.ndarray, *, importance: np.ndarray | None = None) -> Grid:
        if self.asymmetric:
            return self._asymmetric(weights, importance)
        coding = Coding(CodeKind.TWOS, self.bits)
        unused = () if self.signed_max else (1 << (self.bits - 1),)
        cut = blocks(weights, per=self.per, group=self.group, importance=importance)
        return cut.fit(coding, clip=self.clip, exponent=self.exponent, unused=unused)

    def _asymmetric(self, weights: np.ndarray, importance: np.ndarray | None) -> Grid:
        """Return the grid of unsigned codes, whose ranges [low, high] hold zero exactly and shrink at both ends."""
        cut = blocks(weights, group=self.group, importance=importance)
        low, high = with_zero(*cut.ends(self.clip), symmetric=False)
        top = (1 << self.bits) - 1
        scales = (high - low) / top
        zeros = np.clip(round_away(-low / np.where(scales > 0, scales, 1)), 0, top)
        if self.clip == "mse":
            rounding = to_range(-zeros[:, np.newaxis], top - zeros[:, np.newaxis])
            scales = cut.best_scales(scales, rounding, exponent=self.exponent)
        grid = cut.grid(scales, Coding(CodeKind.UNSIGNED, self.bits))
        assert grid.coding is not None
        assert grid.coding.group_scales is not None
        shaped = zeros.astype(np.uint8).reshape(grid.coding.group_scales.shape)
        return replace(grid, coding=replace(grid.coding, group_zeros=shaped))

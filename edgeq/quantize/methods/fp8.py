# SPDX-License-Identifier: Apache-2.0
"""Weights that are floating-point numbers of up to 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.quantize.methods.blocks import FACTORS, blocks, check_blocks, check_clip
from edgeq.quantize.methods.minifloat import minifloat_coding, reserved_codes, split_format
from edgeq.quantize.methods.weights import Grid, WeightFormat


@dataclass(frozen=True)
class Fp8(WeightFormat):
    """``e4m3``, ``e5m2`` or any ``e<exponent bits>m<mantissa bits>`` of up to 8 bits, as exact integers.

    The scale takes the largest magnitude to the largest value, with clip ``mse`` the squared error decides, or a
    calibration method as in int. The codes of NaN and infinity stay unused in e4m3 (which has no infinity) and e5m2, in
    others only with ``ieee``. ``factors`` of groups as in nf4. Ties go away from zero, not to even. Sources:
    Micikevicius et al., "FP8 formats for deep learning", arXiv 2209.05433; Wu et al., arXiv 2307.09782; Gysel et al.,
    arXiv 1604.03168, for formats without reserved codes. Left out: conversion to int8 for speed.
    """

    name: ClassVar[str] = "fp8"

    format: str = "e4m3"
    group: int = 0
    per: str = "channel"
    clip: str = "minmax"
    factors: str = "integer"
    ieee: bool = False

    def __post_init__(self) -> None:
        exponent, mantissa = split_format(self.format)
        fits = 1 <= exponent + mantissa <= 7
        self.require(fits, f"format {self.format!r}", "e1 ... e5 with m1 ... m6, 8 bits with the sign at most,")
        check_blocks(self, per=self.per, group=self.group)
        check_clip(self, clip=self.clip)
        self.require(self.factors in FACTORS, f"factors {self.factors!r}", " or ".join(FACTORS))

    def fit(self, weights: np.ndarray, *, importance: np.ndarray | None = None) -> Grid:
        exponent, mantissa = split_format(self.format)
        unused: tuple[int, ...] = ()
        if self.ieee or self.format in ("e4m3", "e5m2"):
            every = self.ieee or self.format == "e5m2"
            unused = reserved_codes(exponent, mantissa, every_mantissa=every)
        cut = blocks(weights, per=self.per, group=self.group, importance=importance)
        return cut.fit(minifloat_coding(exponent, mantissa), clip=self.clip, unused=unused, factors=self.factors)

# SPDX-License-Identifier: Apache-2.0
"""Weights of 8 bits, which every kernel reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.quantize.methods.blocks import blocks, check_blocks, check_clip
from edgeq.quantize.methods.weights import Grid, WeightFormat


@dataclass(frozen=True)
class Int8(WeightFormat):
    """Symmetric int8 in [-127, 127], one scale per output channel or one per tensor.

    The scale is the largest magnitude / 127, or with clip ``mse`` the one with the least sum of |error|^exponent; clip
    may also be any calibration method, as in int. Source: Krishnamoorthi, "Quantizing deep convolutional networks for
    efficient inference", arXiv 1806.08342.
    """

    name: ClassVar[str] = "int8"

    per: str = "channel"
    clip: str = "minmax"
    exponent: float = 2.4

    def __post_init__(self) -> None:
        check_blocks(self, per=self.per)
        check_clip(self, clip=self.clip, exponent=self.exponent)

    def fit(self, weights: np.ndarray, *, importance: np.ndarray | None = None) -> Grid:
        cut = blocks(weights, per=self.per, importance=importance)
        return cut.fit(None, clip=self.clip, exponent=self.exponent)

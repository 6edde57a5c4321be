# SPDX-License-Identifier: Apache-2.0
"""Weights that are -1 or 1 times a scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ir.coding import CodeKind, Coding
from edgeq.quantize.methods.blocks import blocks, check_blocks
from edgeq.quantize.methods.ternary import mean_level
from edgeq.quantize.methods.weights import Grid, WeightFormat


@dataclass(frozen=True)
class Binary(WeightFormat):
    """One bit per weight, 1 for w >= 0, times the mean of |w| of the channel or tensor; the least squared error.

    With ``center`` (BitNet) the bit is 1 for w >= the mean of the whole tensor. Channels of zeros stay zeros. Sources:
    Rastegari et al., "XNOR-Net", arXiv 1603.05279; Wang et al., "BitNet", arXiv 2310.11453. Left out: binary
    activations.
    """

    name: ClassVar[str] = "binary"

    per: str = "channel"
    center: bool = False

    def __post_init__(self) -> None:
        check_blocks(self, per=self.per)

    def fit(self, weights: np.ndarray, *, importance: np.ndarray | None = None) -> Grid:
        cut = blocks(weights, per=self.per, importance=importance)
        levels = np.array([[-1, 1]], np.int16)
        alive = weights.any(axis=1, keepdims=True)
        if not alive.all():
            levels = levels * alive.astype(np.int16)
        grid = cut.grid(mean_level(cut), Coding(CodeKind.LEVELS, 1, levels))
        bounds = weights.mean() / grid.scales[:, np.newaxis] if self.center else None
        return Grid(grid.scales, grid.coding, bounds=bounds)

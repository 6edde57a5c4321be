# SPDX-License-Identifier: Apache-2.0
"""Weights that are powers of two times a scale: logarithmic quantization."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq.errors import UsageError
from edgeq.quantize.methods.blocks import Blocks, blocks, check_blocks, to_levels
from edgeq.quantize.methods.shift_tables import powers_coding
from edgeq.quantize.methods.weights import Grid, WeightFormat

_ROUNDINGS = ("value", "log")
_SCALES = ("best", "least", "inq")


@dataclass(frozen=True)
class Pot(WeightFormat):
    """Zero and +-2^e with 2^(bits-1) - 1 exponents e, times a scale per channel, tensor or group.

    Rounding is to the nearest in value, or with ``log`` to the nearest exponent. The scale is the ``best`` in squared
    error; with ``inq`` the power of two that the largest weight asks for; with ``least`` the least squares of the codes
    that this one gives. Sources: Miyashita et al., arXiv 1603.01025; Zhou et al., "Incremental network quantization",
    arXiv 1702.03044. Left out: INQ's retraining between portions, log activations.
    """

    name: ClassVar[str] = "pot"

    bits: int = 4
    group: int = 0
    per: str = "channel"
    rounding: str = "value"
    scale: str = "best"

    def __post_init__(self) -> None:
        self.require(2 <= self.bits <= 6, f"{self.bits} bits", "2 to 6")  # 6 reach 2^30
        check_blocks(self, per=self.per, group=self.group)
        self.require(self.rounding in _ROUNDINGS, f"rounding {self.rounding!r}", " or ".join(_ROUNDINGS))
        self.require(self.scale in _SCALES, f"scale {self.scale!r}", " or ".join(_SCALES))
        if self.group and self.scale == "inq":
            raise UsageError("pot: scales of groups are no powers of two", hint="give scale=best or group=0")

    def fit(self, weights: np.ndarray, *, importance: np.ndarray | None = None) -> Grid:
        coding = powers_coding(self.bits)
        cut = blocks(weights, per=self.per, group=self.group, importance=importance)
        bounds = _log_bounds(self.bits) if self.rounding == "log" else None
        if self.scale == "best":
            return cut.fit(coding, bounds=bounds)
        top = float(coding.meanings().max())
        peaks = np.abs(cut.values).max(axis=1)
        # the largest weight rounds to the largest power or up to it: e = floor(log2(4 / 3 * peak)), as INQ has it
        scales = np.where(peaks > 0, 2 ** np.floor(np.log2(4 / 3 * np.where(peaks > 0, peaks, 1))) / top, 0)
        if self.scale == "least":
            levels = np.unique(coding.meanings()).astype(np.float64)
            scales = _least_squares(cut, scales, levels, None if bounds is None else bounds[0])
        return replace(cut.grid(scales, coding), bounds=bounds)


def _log_bounds(bits: int) -> np.ndarray:
    """Return where the nearest exponent changes, (1, n - 1): half an exponent above each power and below the first."""
    middles = 2 ** (np.arange((1 << (bits - 1)) - 1) - 0.5)
    return np.concatenate([-middles[::-1], middles])[np.newaxis]


def _least_squares(cut: Blocks, scales: np.ndarray, levels: np.ndarray, bounds: np.ndarray | None) -> np.ndarray:
    """Return the scales (R,) with the least squared error for the levels that weights take at other scales."""
    steps = np.where(scales > 0, scales, 1)[:, np.newaxis]
    taken = to_levels(levels, bounds)(cut.values / steps)
    squares = (cut.importance * taken * taken).sum(axis=1)
    moved = (cut.importance * taken * cut.values).sum(axis=1) / np.where(squares > 0, squares, 1)
    return np.where(squares > 0, moved, scales)

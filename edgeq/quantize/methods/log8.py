# SPDX-License-Identifier: Apache-2.0
"""Weights of 8 bits at equal distances of their logarithm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ir.coding import CodeKind, Coding
from edgeq.ir.fixed_point import round_away
from edgeq.quantize.affine import usable_scales
from edgeq.quantize.methods.weights import INT16_MAX, Grid, WeightFormat

STEPS = 16  # to an octave
LARGEST = 127  # magnitude code
ZERO = 0x80


@dataclass(frozen=True)
class Log8(WeightFormat):
    """Sign and magnitude: code m stands for c * 2^((m - 127) / 16), 7.9 octaves, and code 0x80 for zero.

    c, one per tensor, is the smallest power of 2^(1/16) that holds every weight. There is no negative of code 0, whose
    place the zero has. Rounding is to the nearest logarithm, down to half of the smallest magnitude; the integers of
    the table are the values rounded to 16 bits. As good as int8 on weights with long tails, worse on others: on a
    Gaussian 37.9 dB with c = 4 deviations. Source: the codes of HiSilicon's NNIE. Left out: activations in these codes.
    """

    name: ClassVar[str] = "log8"

    def fit(self, weights: np.ndarray, *, importance: np.ndarray | None = None) -> Grid:
        peak = float(np.abs(weights).max(initial=0))
        clip = 2 ** (np.ceil(STEPS * np.log2(peak)) / STEPS) if peak > 0 else 0.0
        levels = np.zeros((1, 256))
        levels[0, : LARGEST + 1] = _magnitudes(0)
        levels[0, ZERO + 1 :] = -_magnitudes(1)
        coding = Coding(CodeKind.LEVELS, 8, round_away(levels).astype(np.int16))
        # between neighbours the middle of their logarithms, beside zero half of the smallest
        above, below = _magnitudes(0.5)[:-1], _magnitudes(1.5)[:-1]
        bounds = np.concatenate([-below[::-1], [-_magnitudes(1)[0] / 2, _magnitudes(0)[0] / 2], above])
        scales = usable_scales(np.full(len(weights), clip / INT16_MAX))
        return Grid(scales, coding, bounds=bounds[np.newaxis])


def _magnitudes(first: float) -> np.ndarray:
    """Return INT16_MAX * 2^((m - 127) / 16) for m = first, first + 1, ... up to 127, or up to 127.5."""
    return np.asarray(INT16_MAX * 2.0 ** ((np.arange(first, LARGEST + 1) - LARGEST) / STEPS))

# SPDX-License-Identifier: Apache-2.0
"""The error of scalar quantizers on N(0, 1), integrated exactly."""

from __future__ import annotations

import math

import numpy as np


def mse_of_levels(levels: np.ndarray) -> float:
    """Return the mean squared distance of N(0, 1) to the nearest of ascending levels (n,)."""
    cuts = [-math.inf, *((levels[1:] + levels[:-1]) / 2).tolist(), math.inf]
    total = 0.0
    for level, low, high in zip(levels.tolist(), cuts, cuts[1:], strict=False):
        share = _share_below(high) - _share_below(low) if low < 0 else _share_below(-low) - _share_below(-high)
        total += (1 + level * level) * share - _moment(high) + _moment(low)
        total -= 2 * level * (_density(low) - _density(high))
    return total


def _share_below(value: float) -> float:
    return math.erfc(-value / math.sqrt(2)) / 2


def _density(value: float) -> float:
    return math.exp(-value * value / 2) / math.sqrt(2 * math.pi)


def _moment(value: float) -> float:
    return 0.0 if math.isinf(value) else value * _density(value)

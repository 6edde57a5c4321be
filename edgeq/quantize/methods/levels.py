# SPDX-License-Identifier: Apache-2.0
"""The levels that a range gets, as execution has them: multiples of a scale, zero among them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeq.ir.fixed_point import round_away


@dataclass(frozen=True, eq=False)
class Levels:
    """The values scale * bottom, scale * (bottom + 1), ... scale * top; arrays of one shape, the ends whole.

    A range without width gets scale 1.
    """

    scale: np.ndarray
    bottom: np.ndarray
    top: np.ndarray

    def nearest(self, values: np.ndarray) -> np.ndarray:
        """Return the nearest level of each value; values broadcast with the levels' arrays."""
        return np.asarray(self.scale * np.clip(np.rint(values / self.scale), self.bottom, self.top))


def with_zero(low: np.ndarray | float, high: np.ndarray | float, *, symmetric: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return ranges widened to hold zero, and to both sides alike if ``symmetric``."""
    bottom, top = np.asarray(np.minimum(low, 0.0)), np.asarray(np.maximum(high, 0.0))
    if symmetric:
        top = np.maximum(-bottom, top)
        bottom = -top
    return bottom, top


def levels_of_range(low: np.ndarray, high: np.ndarray, *, bits: int, symmetric: bool) -> Levels:
    """Return the levels of ranges that hold zero: 2^bits with a rounded zero point, or 2^bits - 1 around zero.

    Ranges from 0 on get the levels of unsigned storage.
    """
    reach = 2 ** (bits - 1) - 1
    if symmetric:
        scale = high / reach
        bottom, top = np.full_like(scale, -reach), np.full_like(scale, reach)
    else:
        scale = (high - low) / (2 * reach + 1)
        zero = round_away(-reach - 1 - low / np.where(scale > 0, scale, 1.0))
        zero = np.clip(zero, -reach - 1, reach)
        bottom, top = -reach - 1 - zero, reach - zero
    return Levels(np.where(scale > 0, scale, 1.0), bottom, top)

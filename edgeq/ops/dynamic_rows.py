# SPDX-License-Identifier: Apache-2.0
"""Rows of integers to int8 codes with a scale of each row's own, chosen while the model runs.

A dynamic tensor is two: codes (int8) and a row (m, e, zero point) of int32 for each row of codes, as
edgeq/ir/run_time_scale.py describes. Sources: ZeroQuant, arXiv 2206.01861, for one scale per token; TensorFlow Lite's
hybrid operators for the symmetric and the asymmetric range.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence

import numpy as np

from edgeq.errors import GraphError
from edgeq.ir.fixed_point import round_away
from edgeq.ir.run_time_scale import COLUMNS, Scale, product, scale_of_integer, scale_of_real, shifted
from edgeq.ops.base import Shape

DEVIATIONS = 3  # on either side of the mean, of MEAN_STD
_PRECISION = 22  # bits that the factor of a row has beyond those of its largest value


class RowRange(enum.IntEnum):
    """Which values of a row its codes span; the values are permanent codes of the model file."""

    SYMMETRIC = 0  # [-max|v|, max|v|] in codes -127 to 127, zero point 0
    ASYMMETRIC = 1  # [min, max] widened to hold 0, in codes -128 to 127
    MEAN_STD = 2  # mean +- 3 standard deviations, within the asymmetric one

    @property
    def levels(self) -> int:
        """Codes between the range's ends."""
        return 127 if self is RowRange.SYMMETRIC else 255

    @property
    def peak(self) -> int:
        """The largest magnitude of a code less its zero point."""
        return self.levels

    def step_of(self, unit: float, count: int) -> Scale:
        """Return what turns a range in integers of ``unit`` into the scale of one code; rows have ``count`` values."""
        return scale_of_real(unit / (self.levels * (count if self is RowRange.MEAN_STD else 1)))


def quantize_row(
    values: np.ndarray, *, row_range: RowRange, deviations: int, source: Scale, kept: Scale, step: Scale
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Return the codes (n,) of integers (n,) with |v| <= 2^30, and the row of their scale.

    The scale is range * ``source`` * ``step``; a row of zeros has ``kept``.
    """
    values = np.asarray(values, np.int64)
    if row_range is RowRange.SYMMETRIC:
        codes, reach, zero = _symmetric(values)
        fallen = 0
    else:
        low, high, count, fallen = min(0, int(values.min())), max(0, int(values.max())), 1, 0
        if row_range is RowRange.MEAN_STD:
            low, high, fallen = _mean_std(values, low, high, deviations)
            count = len(values)
        codes, zero = _affine(_shift(values * count, fallen), low, high)
        reach = high - low
    if reach == 0:
        return np.zeros(len(values), np.int8), (*kept, 0)
    scale = product(product(shifted(scale_of_integer(reach), fallen), source), step)
    return codes.astype(np.int8), (*scale, zero)


def _symmetric(values: np.ndarray) -> tuple[np.ndarray, int, int]:
    reach = int(np.abs(values).max())
    bits = reach.bit_length() + _PRECISION
    factor = ((127 << bits) + reach // 2) // max(reach, 1)
    return np.sign(values) * ((np.abs(values) * factor + (1 << (bits - 1))) >> bits), reach, 0


def _affine(values: np.ndarray, low: int, high: int) -> tuple[np.ndarray, int]:
    """Spread [low, high] over [-128, 127]; values beyond saturate. Zero has a code of its own, the zero point."""
    reach = high - low
    bits = reach.bit_length() + _PRECISION
    factor = ((255 << bits) + reach // 2) // max(reach, 1)
    zero = ((-low * factor + (1 << (bits - 1))) >> bits) - 128
    return np.clip(_shift(np.clip(values, low, high) * factor, bits) + zero, -128, 127), zero


def _mean_std(values: np.ndarray, low: int, high: int, deviations: int) -> tuple[int, int, int]:
    """Return (low, high, fallen): mean +- deviations in units of 2^fallen / n, within n * [low, high].

    Values fall by as many bits as keep n * v below 2^31, so that n * sum(v^2) stays below 2^62.
    """
    count = len(values)
    fallen = max(0, max(-low, high).bit_length() + count.bit_length() - 31)
    small = _shift(values, fallen)
    total, squares = int(small.sum()), int((small * small).sum())
    spread = deviations * math.isqrt(count * squares - total * total)
    ends = [count * int(_shift(np.int64(end), fallen)) for end in (low, high)]
    return min(0, max(total - spread, ends[0])), max(0, min(total + spread, ends[1])), fallen


def _shift(values: np.ndarray | np.int64, bits: int) -> np.ndarray:
    """Return values / 2^bits, ties toward +infinity."""
    return np.asarray(values if bits == 0 else (values + (1 << (bits - 1))) >> bits)


def reference_rows(
    values: np.ndarray, rows: int, row_range: RowRange, deviations: int, *, kept: np.ndarray | float = 1.0
) -> list[np.ndarray]:
    """Quantize real values (rows, ...) as ``quantize_row`` does: codes in their shape, and the rows of scales.

    ``kept`` (rows,) are the scales of rows of zeros.
    """
    flat = np.asarray(values, np.float64).reshape(rows, -1)
    low, high = np.minimum(flat.min(axis=1), 0), np.maximum(flat.max(axis=1), 0)
    if row_range is RowRange.SYMMETRIC:
        low = -(high := np.maximum(-low, high))
        bottom, steps = -127, 254
    else:
        if row_range is RowRange.MEAN_STD:
            mean, spread = flat.mean(axis=1), deviations * flat.std(axis=1)
            low, high = np.minimum(np.maximum(mean - spread, low), 0), np.maximum(np.minimum(mean + spread, high), 0)
        bottom, steps = -128, 255
    scales = np.where(high > low, (high - low) / steps, kept)
    zeros = np.where(high > low, round_away(bottom - low / scales), 0)
    codes = np.clip(round_away(flat / scales[:, None]) + zeros[:, None], bottom, 127)
    pairs = [(*scale_of_real(float(scale)), int(zero)) for scale, zero in zip(scales, zeros, strict=True)]
    return [codes.reshape(values.shape), np.array(pairs, np.float64)]


def scale_shape(rows: int) -> Shape:
    """Return the shape of the scales of so many rows."""
    return rows, COLUMNS


def require_rows(shape: Sequence[int], rows: int) -> None:
    """Raise GraphError unless a tensor of this shape divides into equal rows."""
    elements = int(np.prod(shape, dtype=np.int64))
    if rows < 1 or elements % rows:
        raise GraphError(f"{elements} elements of shape {list(shape)} do not divide into {rows} rows")

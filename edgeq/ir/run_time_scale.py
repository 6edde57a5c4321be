# SPDX-License-Identifier: Apache-2.0
"""Scales that are computed while a model runs, in integers: s = m * 2^(e - 31), 2^30 <= m < 2^31.

The C twin is native/include/edgeq/run_time_scale.h. Scales are pairs (m, e) of Python integers; a tensor of them holds
a row (m, e, zero point) of int32 for each row of codes.
"""

from __future__ import annotations

import math

import numpy as np

Scale = tuple[int, int]

LIMIT = 2**29  # of what ``apply_scale`` returns
COLUMNS = 3  # m, e and the zero point
MAX_EXPONENT = 2**12  # of a scale in a tensor: what lies beyond is read as this
MAX_CONSTANT_EXPONENT = 2**14  # of a scale among a step's parameters
SMALLEST: Scale = (2**30, -MAX_CONSTANT_EXPONENT)


def scale_of_real(real: float) -> Scale:
    """Return the nearest scale of a real number > 0: ``quantize_multiplier`` without its bounds on the exponent."""
    if not math.isfinite(real) or real <= 0:
        raise ValueError(f"scale {real!r} is not a finite number > 0")
    fraction, exponent = math.frexp(real)
    multiplier = math.floor(fraction * 2**31 + 0.5)
    return (2**30, exponent + 1) if multiplier == 2**31 else (multiplier, exponent)


def scale_of_integer(value: int) -> Scale:
    """Return the scale of an integer > 0, its highest 31 bits."""
    bits = value.bit_length()
    return (value << (31 - bits) if bits <= 31 else value >> (bits - 31)), bits


def real_of_scale(scale: Scale) -> float:
    """Return the real number that a scale stands for."""
    return math.ldexp(scale[0], scale[1] - 31)


def product(a: Scale, b: Scale) -> Scale:
    """Return a * b, rounded to 30 bits or more."""
    multiplier, exponent = (a[0] * b[0] + 2**30) >> 31, a[1] + b[1]
    return (multiplier << 1, exponent - 1) if multiplier < 2**30 else (multiplier, exponent)


def inverse(scale: Scale) -> Scale:
    """Return 1 / scale, rounded down."""
    return min(2**31 - 1, 2**61 // scale[0]), 1 - scale[1]


def shifted(scale: Scale, exponent: int) -> Scale:
    """Return scale * 2^exponent."""
    return scale[0], scale[1] + exponent


def apply_scale(x: np.ndarray | int, multipliers: np.ndarray | int, exponents: np.ndarray | int) -> np.ndarray:
    """Return x * m * 2^(e - 31), ties toward +infinity, saturated to +-2^29; arguments broadcast.

    x holds int32 values, 0 <= m < 2^31; exponents are any. Returns int64.
    """
    products = np.asarray(x, np.int64) * np.asarray(multipliers, np.int64)
    right = 31 - np.asarray(exponents, np.int64)
    within = np.clip(right, 1, 62)
    fallen = np.where(right > 62, 0, (products + (np.int64(1) << (within - 1))) >> within)
    risen = np.clip(products, -LIMIT, LIMIT) << np.clip(-right, 0, 31)
    return np.clip(np.where(right > 0, fallen, risen), -LIMIT, LIMIT)


def read_scale(row: np.ndarray) -> tuple[Scale, int]:
    """Return the scale and the zero point of a tensor's row (3,) int32; what is none is read as one nearby."""
    multiplier, exponent, zero = (int(value) for value in row)
    legal = (multiplier & (2**30 - 1)) | 2**30
    return (legal, max(-MAX_EXPONENT, min(MAX_EXPONENT, exponent))), max(-128, min(127, zero))

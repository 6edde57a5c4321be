# SPDX-License-Identifier: Apache-2.0
"""Fixed-point arithmetic: the one Python definition of every rounding that reaches an integer result.

The C twin is native/include/edgeq/fixed_point.h. Functions take and return int64 arrays that hold int32 values,
unless they say otherwise. Sources: gemmlowp fixedpoint.h, TensorFlow Lite 8-bit quantization specification.
"""

from __future__ import annotations

import enum
import math

import numpy as np

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1


class Mode(enum.IntEnum):
    """How a requantization rounds; the values are permanent codes of the model file."""

    DOUBLE = 0  # two roundings: high multiply, then rounding shift (gemmlowp)
    SINGLE = 1  # one rounding, ties toward +infinity
    EXACT = 2  # one rounding, ties away from zero
    INT16 = 3  # 16-bit multiplier, 64-bit accumulator (16x8 kernels)
    SHIFT = 4  # SINGLE where every multiplier is 2^30, a power of two: a shift alone


def round_away(value: np.ndarray | float) -> np.ndarray:
    """Round to the nearest integer, ties away from zero; keeps the float dtype."""
    value = np.asarray(value)
    whole = np.trunc(value)  # adding 0.5 and truncating would round 0.49999997 up in float32
    with np.errstate(invalid="ignore"):  # infinities stay what they are
        return np.asarray(whole + np.sign(value) * (np.abs(value - whole) >= 0.5))


def wrap32(value: np.ndarray) -> np.ndarray:
    """Reduce to int32 as two's complement does."""
    value = np.asarray(value, np.int64)
    return ((value + 2**31) & 0xFFFFFFFF) - 2**31


def srdhm(a: np.ndarray | int, b: np.ndarray | int) -> np.ndarray:
    """Saturating rounding doubling high multiply of int32 values: (a * b) / 2^31, ties toward +infinity."""
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    nudge = np.where(product >= 0, 2**30, 1 - 2**30)
    total = product + nudge
    # C division truncates toward zero
    high = np.where(total >= 0, total >> 31, -((-total) >> 31))
    return np.minimum(high, INT32_MAX)  # only INT32_MIN * INT32_MIN exceeds it


def srdhm16(a: np.ndarray | int, b: np.ndarray | int) -> np.ndarray:
    """The same for int16 values: (a * b) / 2^15, ties toward +infinity."""
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    total = product + np.where(product >= 0, 2**14, 1 - 2**14)
    high = np.where(total >= 0, total >> 15, -((-total) >> 15))
    return np.minimum(high, 32767)


def rdp(x: np.ndarray | int, exponent: np.ndarray | int) -> np.ndarray:
    """Rounding divide by 2^exponent, ties away from zero; 0 <= exponent <= 31."""
    x = np.asarray(x, np.int64)
    exponent = np.asarray(exponent, np.int64)
    mask = (np.int64(1) << exponent) - 1
    remainder = x & mask
    threshold = (mask >> 1) + (x < 0)
    return np.asarray((x >> exponent) + (remainder > threshold))


def rescale(x: np.ndarray, source_bits: int, target_bits: int) -> np.ndarray:
    """Change the number of integer bits of a Q number: rounding right or saturating left shift."""
    if source_bits < target_bits:
        return rdp(x, target_bits - source_bits)
    return saturating_shift_left(x, source_bits - target_bits)


def saturating_shift_left(x: np.ndarray, exponent: int) -> np.ndarray:
    """x * 2^exponent, saturated to int32 as gemmlowp does (threshold (1 << (31 - e)) - 1 on either side)."""
    x = np.asarray(x, np.int64)
    if exponent == 0:
        return x
    threshold = (1 << (31 - exponent)) - 1
    shifted = np.where(np.abs(x) > threshold, 0, x) << exponent
    return np.where(x > threshold, INT32_MAX, np.where(x < -threshold, INT32_MIN, shifted))


def clz32(x: int) -> int:
    """Leading zeros of a uint32; 32 for 0."""
    return 32 - int(x).bit_length()


def quantize_multiplier(real: float, *, mode: Mode = Mode.DOUBLE) -> tuple[int, int]:
    """Split a real multiplier >= 0 into (m, shift): real ~ m * 2^(shift - 31), 2^30 <= m < 2^31, or (0, 0).

    Raises ValueError for a negative or non-finite multiplier.
    """
    if not math.isfinite(real) or real < 0:
        raise ValueError(f"multiplier {real!r} is not a finite number >= 0")
    if real == 0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = math.floor(fraction * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift + 1
    if shift < -31:
        return 0, 0
    if mode is not Mode.DOUBLE and shift > 30:
        return INT32_MAX, 30
    return multiplier, shift


def requant(x: np.ndarray, multipliers: np.ndarray | int, shifts: np.ndarray | int, mode: Mode | int) -> np.ndarray:
    """Multiply accumulators by m * 2^(shift - 31) in one of the modes; arguments broadcast.

    x holds int32 values (int64 within +-2^47 for INT16). Returns int64. SHIFT takes every multiplier for 2^30.
    """
    x = np.asarray(x, np.int64)
    m = np.asarray(multipliers, np.int64)
    shift = np.asarray(shifts, np.int64)
    if mode == Mode.DOUBLE:
        left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
        return rdp(srdhm(wrap32(x << left), m), right)
    if mode == Mode.INT16:
        m16 = np.where(m < 0x7FFF0000, (m + 2**15) >> 16, 0x7FFF)
        total = 15 - shift
        return np.asarray((x * m16 + (np.int64(1) << (total - 1))) >> total)
    if mode == Mode.SHIFT:
        right = np.maximum(1 - shift, 0)
        return np.asarray(((x << np.maximum(shift - 1, 0)) + ((np.int64(1) << right) >> 1)) >> right)
    total = 31 - shift
    half = np.int64(1) << (total - 1)
    product = x * m
    if mode == Mode.SINGLE:
        return np.asarray((product + half) >> total)
    if mode == Mode.EXACT:
        return np.where(product >= 0, (product + half) >> total, -((-product + half) >> total))
    raise ValueError(f"unknown requantization mode {mode}")


def requant_wide(x: np.ndarray, m: np.ndarray, shift: np.ndarray, mode: int) -> np.ndarray:
    """x * m * 2^(shift - 31) in modes single and exact for |x| < 2^47, -31 <= shift <= 14.

    The 78-bit product is taken in two parts, low 16 bits first: no bit is lost as 31 - shift >= 17.
    """
    x, m = np.asarray(x, np.int64), np.asarray(m, np.int64)
    total = 31 - np.asarray(shift, np.int64)
    magnitude = np.abs(x) if mode == Mode.EXACT else x
    parts = (magnitude >> 16) * m + (((magnitude & 0xFFFF) * m) >> 16)
    scaled = (parts + (np.int64(1) << (total - 17))) >> (total - 16)
    return np.asarray(np.sign(x) * scaled if mode == Mode.EXACT else scaled)


def exp_neg(a: np.ndarray, integer_bits: int) -> np.ndarray:
    """exp(a) in Q0.31 for a <= 0 in Q(integer_bits).(31 - integer_bits)."""
    a = np.asarray(a, np.int64)
    fraction_bits = 31 - integer_bits
    quarter = np.int64(1) << (fraction_bits - 2)
    a_mod = (a & (quarter - 1)) - quarter
    result = _exp_quarter(saturating_shift_left(a_mod, integer_bits))
    remainder = a_mod - a
    for power, factor in _EXP_FACTORS:
        if integer_bits > power:
            bit = np.int64(1) << (fraction_bits + power)
            result = np.where(remainder & bit, srdhm(result, factor), result)
    if integer_bits > 5:
        result = np.where(a < -(1 << (36 - integer_bits)), 0, result)
    return np.where(a == 0, INT32_MAX, result)


_EXP_FACTORS = (
    (-2, 1672461947),
    (-1, 1302514674),
    (0, 790015084),
    (1, 290630308),
    (2, 39332535),
    (3, 720401),
    (4, 242),
)


def _exp_quarter(a: np.ndarray) -> np.ndarray:
    """exp(a) in Q0.31 for a in [-1/4, 0) Q0.31, by a fourth-order Taylor series around -1/8."""
    x = a + 2**28
    x2 = srdhm(x, x)
    x3 = srdhm(x2, x)
    x4 = srdhm(x2, x2)
    tail = rdp(srdhm(rdp(x4, 2) + x3, 715827883) + x2, 1)
    return 1895147668 + srdhm(1895147668, x + tail)


def recip1p(a: np.ndarray) -> np.ndarray:
    """1 / (1 + a) in Q0.31 for a in [0, 1) Q0.31, by three Newton steps."""
    return rescale(_two_over_1p(a), 1, 0)


def ratio1p(a: np.ndarray) -> np.ndarray:
    """(1 - a) / (1 + a) in Q0.31 for a in [0, 1) Q0.31; host only, for tables."""
    return rescale(_two_over_1p(a) - 2**29, 2, 0)


def _two_over_1p(a: np.ndarray) -> np.ndarray:
    """2 / (1 + a) in Q2.29 for a in [0, 1) Q0.31."""
    total = np.asarray(a, np.int64) + INT32_MAX
    half = (total + 1) >> 1  # a >= 0, so the sum is positive and truncation is a shift
    x = 1515870810 + srdhm(half, -1010580540)
    for _ in range(3):
        x = x + rescale(srdhm(x, 2**29 - srdhm(half, x)), 4, 2)
    return np.asarray(x)


def invsqrt(value: int) -> tuple[int, int]:
    """1 / sqrt(value) as (m, shift) for an int32 value >= 0; (2^31 - 1, 0) for 0 and 1."""
    if value <= 1:
        return INT32_MAX, 0
    right = 11
    while value >= 2**29:
        value //= 4
        right += 1
    pairs = (clz32(value) - 1) // 2 - 1
    right -= pairs
    value <<= 2 * pairs
    half = rdp(value >> 1, 1)
    x = np.asarray(2**28, np.int64)
    for _ in range(5):
        x3 = rescale(srdhm(srdhm(x, x), x), 9, 3)
        x = rescale(wrap32(srdhm(402653184, x) - srdhm(half, x3)), 6, 3)
    x = srdhm(x, 1518500250)
    if right < 0:
        return int(wrap32(x << -right)), 0
    return int(x), -right

# SPDX-License-Identifier: Apache-2.0
"""Fixed-point arithmetic: published vectors, and the C definition against the Python one."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq.ir.fixed_point import (
    INT32_MAX,
    INT32_MIN,
    Mode,
    clz32,
    exp_neg,
    invsqrt,
    quantize_multiplier,
    rdp,
    recip1p,
    requant,
    requant_wide,
    rescale,
    round_away,
    saturating_shift_left,
    srdhm,
    srdhm16,
    wrap32,
)

EDGES = np.array(
    sorted(
        {sign * (2**power) + step for power in range(31) for sign in (1, -1) for step in (-1, 0, 1)}
        | {0, INT32_MIN, INT32_MIN + 1, INT32_MAX}
    ),
    np.int32,
)
RANDOM = np.random.default_rng(11).integers(INT32_MIN, INT32_MAX, 20_000, np.int32, endpoint=True)
VALUES = np.concatenate([EDGES, RANDOM])


def pairs(first, second):
    """Return every pair of two arrays as two int32 arrays."""
    a, b = np.meshgrid(np.asarray(first, np.int32), np.asarray(second, np.int32))
    return np.ascontiguousarray(a.ravel()), np.ascontiguousarray(b.ravel())


def test_rounding_functions_treat_ties_as_they_are_named():
    assert (srdhm(-5, 2**30), srdhm(5, 2**30)) == (-2, 3)
    assert srdhm(INT32_MIN, INT32_MIN) == INT32_MAX
    assert srdhm16(-32768, -32768) == 32767
    assert (rdp(-3, 1), rdp(3, 1), rdp(-2, 2)) == (-2, 2, -1)
    assert list(round_away(np.array([-2.5, -0.5, 0.5, 1.4, 2.5]))) == [-3, -1, 1, 1, 3]


@pytest.mark.parametrize(
    ("real", "expected"),
    [
        (1.0, (1073741824, 1)),
        (0.5, (1073741824, 0)),
        (0.25, (1073741824, -1)),
        (1 / 3, (1431655765, -1)),
        (1.5, (1610612736, 1)),
        (100.0, (1677721600, 7)),
        (0.0003921568859368563, (1724724224, -11)),
        (0.9999999999, (1073741824, 1)),
        (1e-9, (1152921505, -29)),
        (4.6e-10, (2121375568, -31)),
        (2.3e-10, (0, 0)),
        (0.0, (0, 0)),
    ],
)
def test_multiplier_splits_into_31_bits_and_a_shift(real, expected):
    assert quantize_multiplier(real) == expected


@pytest.mark.parametrize("real", [-1.0, math.nan, math.inf])
def test_multiplier_that_is_negative_or_not_finite_is_refused(real):
    with pytest.raises(ValueError, match="multiplier"):
        quantize_multiplier(real)


def test_multiplier_beyond_single_rounding_saturates():
    assert quantize_multiplier(2.0**31, mode=Mode.SINGLE) == (INT32_MAX, 30)


@pytest.mark.parametrize(
    ("x", "real", "double", "single", "exact"),
    [
        (5, 0.5, 3, 3, 3),
        (-5, 0.5, -2, -2, -3),
        (-1, 0.5, 0, 0, -1),
        (-6, 0.25, -2, -1, -2),
        (-2, 0.25, -1, 0, -1),
        (2, 0.25, 1, 1, 1),
        (-12345, 1.5, -18517, -18517, -18518),
        (12347, 0.09999, 1235, 1235, 1235),
        (INT32_MAX, 0.9999, 2147268899, 2147268899, 2147268899),
    ],
)
def test_modes_differ_only_in_rounding(x, real, double, single, exact):
    for mode, expected in ((Mode.DOUBLE, double), (Mode.SINGLE, single), (Mode.EXACT, exact)):
        assert requant(x, *quantize_multiplier(real), mode) == expected


def test_exact_mode_is_rounding_half_away_from_zero():
    rng = np.random.default_rng(3)
    x = rng.integers(-(2**20), 2**20, 50_000)
    for power in range(1, 12):
        expected = round_away(x / 2**power)
        assert np.array_equal(requant(x, *quantize_multiplier(2.0**-power), Mode.EXACT), expected)


def rsh(x, exponent):
    """Divide by 2^exponent, ties toward +infinity: what the rounding shifts of vector instruction sets do."""
    return (np.asarray(x, np.int64) + ((1 << exponent) >> 1)) >> exponent


MULTIPLIERS = np.append(np.random.default_rng(7).integers(2**30, 2**31, 50), [0, 1, 2**30, 2**30 + 1, INT32_MAX])


@pytest.mark.parametrize("shift", range(-31, 0))
def test_single_mode_is_a_truncating_high_multiply_and_a_rounding_shift(shift):
    for x, m in (pairs(EDGES, MULTIPLIERS), pairs(RANDOM, MULTIPLIERS[-5:])):
        product = x.astype(np.int64) * m
        expected = requant(x, m, shift, Mode.SINGLE)
        assert np.array_equal(rsh(product >> 31, -shift), expected)
        if shift <= -2:  # the high word alone holds every bit that counts
            assert np.array_equal(rsh(product >> 32, -shift - 1), expected)


@pytest.mark.parametrize("shift", range(30))
def test_single_mode_truncates_one_bit_further_for_multipliers_of_half_and_more(shift):
    x, m = pairs(VALUES[np.abs(VALUES.astype(np.int64)) < 2 ** (30 - shift)], MULTIPLIERS)
    doubled = x.astype(np.int64) << (shift + 1)  # fits int32
    assert np.array_equal(rsh((doubled * m) >> 31, 1), requant(x, m, shift, Mode.SINGLE))


@pytest.mark.parametrize("exponent", range(1, 32))
def test_a_negative_number_less_one_rounds_its_ties_away_from_zero(exponent):
    near = np.arange(-(2**12), 0) * 2 ** max(0, exponent - 10)  # every tie among the small ones
    x = np.concatenate([near, near + 1, near - 1, VALUES.astype(np.int64)])
    x = x[(x > INT32_MIN) & (x < 0)]
    assert np.any(rdp(x, exponent) != rsh(x, exponent))
    assert np.array_equal(rdp(x, exponent), rsh(x - 1, exponent))


@pytest.mark.parametrize("shift", range(-31, 4))
def test_double_mode_above_the_zero_point_may_round_all_ties_up(shift):
    high = np.append(np.arange(-(2**12), 2**12), EDGES[np.abs(EDGES.astype(np.int64)) < 2 ** (30 - max(shift, 0))])
    x, m = pairs(high, MULTIPLIERS)
    both_up = rsh(srdhm(wrap32(x.astype(np.int64) << max(shift, 0)), m), max(-shift, 0))
    found = requant(x, m, shift, Mode.DOUBLE)
    for zero, act_min in ((-128, -128), (-128, -100), (3, 3), (3, 90)):
        assert np.array_equal(np.clip(found + zero, act_min, 127), np.clip(both_up + zero, act_min, 127))
    if -10 <= shift < 0:  # where these products have ties below zero
        assert np.any(found != both_up)


def test_both_forms_of_the_high_multiply_are_the_python_one(shim):
    for a, b in (pairs(EDGES, EDGES), (RANDOM, RANDOM[::-1].copy())):
        expected = srdhm(a, b)
        assert np.array_equal(shim("srdhm", a, b), expected)
        assert np.array_equal(shim("srdhm_published", a, b), expected)


def test_16_bit_high_multiply_is_equal_in_c(shim):
    sixteen = np.unique(np.clip(VALUES, -32768, 32767))[::8]
    a, b = pairs(np.append(sixteen, [-32768, 32767]), EDGES[np.abs(EDGES.astype(np.int64)) <= 32767])
    assert np.array_equal(shim("srdhm16", a, b), srdhm16(a, b))
    lowest = np.array([-32768], np.int32)
    assert shim("srdhm16", lowest, lowest)[0] == 32767


def test_rounding_and_saturating_shifts_are_equal_in_c(shim):
    x, exponents = pairs(EDGES, np.arange(32))
    assert np.array_equal(shim("rdp", x, exponents), rdp(x, exponents))
    for exponent in range(31):
        shifts = np.full(VALUES.size, exponent, np.int32)
        assert np.array_equal(shim("saturating_shl", VALUES, shifts), saturating_shift_left(VALUES, exponent))
    for source, target in ((0, 5), (5, 0), (4, 2), (1, 0), (9, 3), (6, 6)):
        assert np.array_equal(shim("rescale", VALUES, source, target), rescale(VALUES, source, target))


def test_leading_zeros_are_equal_in_c(shim):
    assert list(shim("clz32", EDGES)) == [clz32(int(value) & 0xFFFFFFFF) for value in EDGES]


@pytest.mark.parametrize("mode", [Mode.DOUBLE, Mode.SINGLE, Mode.EXACT])
def test_requantization_is_equal_in_c(shim, mode):
    rng = np.random.default_rng(int(mode))
    multipliers = np.append(rng.integers(2**30, 2**31, 50), [0, 1, 2**30, INT32_MAX])
    for shift in range(-31, 31):
        x, m = pairs(EDGES, multipliers)
        shifts = np.full(x.size, shift, np.int32)
        # C keeps the low 32 bits of a result that an int32 cannot hold
        assert np.array_equal(shim("requant", x, m, shifts, int(mode)), wrap32(requant(x, m, shift, mode)))


@pytest.mark.parametrize("shift", range(-31, 31))
def test_shift_mode_is_single_mode_with_the_multiplier_one_half(shim, shift):
    expected = requant(VALUES, 2**30, shift, Mode.SINGLE)
    assert np.array_equal(requant(VALUES, 2**30, shift, Mode.SHIFT), expected)
    for m in (2**30, 0, INT32_MAX):  # which it does not read
        m_all, shifts = np.full(VALUES.size, m, np.int32), np.full(VALUES.size, shift, np.int32)
        assert np.array_equal(shim("requant", VALUES, m_all, shifts, int(Mode.SHIFT)), wrap32(expected))


def test_shift_mode_by_the_lowest_shift_is_zero():
    assert not np.any(requant(VALUES, 2**30, -31, Mode.SHIFT))


@given(st.lists(st.integers(INT32_MIN, INT32_MAX), min_size=1, max_size=50), st.integers(-31, 30))
def test_shift_mode_rounds_to_the_nearest_and_ties_up(shim, values, shift):
    x = np.array(values, np.int32)
    expected = [math.floor(Fraction(value) * Fraction(2) ** (shift - 1) + Fraction(1, 2)) for value in values]
    assert requant(x, 2**30, shift, Mode.SHIFT).tolist() == expected
    found = shim("requant", x, np.full(x.size, 2**30, np.int32), np.full(x.size, shift, np.int32), int(Mode.SHIFT))
    assert np.array_equal(found, wrap32(np.array(expected, np.int64)))


def test_16_bit_requantization_is_equal_in_c_and_saturates(shim):
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.integers(-(2**47) + 1, 2**47, 5000), EDGES.astype(np.int64)])
    m = rng.integers(2**30, 2**31, x.size).astype(np.int32)
    m[::7] = INT32_MAX
    for shift in range(-31, 15):
        shifts = np.full(x.size, shift, np.int32)
        expected = np.clip(requant(x, m, shift, Mode.INT16), INT32_MIN, INT32_MAX)
        assert np.array_equal(shim("requant_int16", x, m, shifts), expected)


@pytest.mark.parametrize("mode", [Mode.SINGLE, Mode.EXACT])
def test_wide_requantization_is_equal_in_c_and_rounds_the_whole_product(shim, mode):
    rng = np.random.default_rng(6)
    x = np.concatenate([rng.integers(-(2**47) + 1, 2**47, 500), EDGES.astype(np.int64), EDGES.astype(np.int64) << 15])
    m = rng.integers(2**30, 2**31, x.size).astype(np.int32)
    m[::7], m[1::7], m[2::7] = INT32_MAX, 2**30, 0
    for shift in range(-31, 15):
        found = requant_wide(x, m, np.full(x.size, shift), mode)
        total = 31 - shift
        products = [int(value) * int(factor) for value, factor in zip(x, m, strict=True)]
        magnitudes = [abs(product) if mode is Mode.EXACT else product for product in products]
        rounded = [(magnitude + (1 << (total - 1))) >> total for magnitude in magnitudes]
        if mode is Mode.EXACT:
            rounded = [-value if product < 0 else value for value, product in zip(rounded, products, strict=True)]
        assert found.tolist() == rounded
        in_c = shim("requant_wide", x, m, np.full(x.size, shift, np.int32), int(mode))
        assert np.array_equal(in_c, np.clip(found, INT32_MIN, INT32_MAX))


@pytest.mark.parametrize("integer_bits", [0, 1, 4, 5, 6, 12])
def test_exponential_is_equal_in_c_and_near_exp(shim, integer_bits):
    a = np.unique(np.minimum(VALUES, 0))
    found = exp_neg(a, integer_bits)
    assert np.array_equal(shim("exp_neg", a, integer_bits), found)
    exact = np.exp(a.astype(np.float64) / 2.0 ** (31 - integer_bits))
    assert np.abs(found / 2.0**31 - exact).max() < 1e-6


def test_reciprocal_is_equal_in_c_and_near_the_quotient(shim):
    a = np.unique(VALUES[VALUES >= 0])
    found = recip1p(a)
    assert np.array_equal(shim("recip1p", a), found)
    assert np.abs(found / 2.0**31 - 1 / (1 + a / 2.0**31)).max() < 1e-6


def test_inverse_square_root_is_equal_in_c_and_near_the_root(shim):
    values = np.unique(np.concatenate([np.arange(2000, dtype=np.int32), VALUES[VALUES >= 0]]))[::20].copy()
    shifts = np.empty(values.size, np.int32)
    found = shim("invsqrt", shifts, values)
    assert [(int(m), int(shift)) for m, shift in zip(found, shifts, strict=True)] == [
        invsqrt(int(value)) for value in values
    ]
    roots = found * 2.0 ** (shifts.astype(np.float64) - 31) * np.sqrt(values)
    assert np.abs(roots[values > 1] - 1).max() < 2e-6

# SPDX-License-Identifier: Apache-2.0
"""Run-time scales: their arithmetic against exact fractions, and the C definition against the Python one."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq.ir.fixed_point import INT32_MAX, INT32_MIN
from edgeq.ir.run_time_scale import (
    LIMIT,
    MAX_EXPONENT,
    apply_scale,
    inverse,
    product,
    read_scale,
    real_of_scale,
    scale_of_integer,
    scale_of_real,
    shifted,
)

MULTIPLIERS = st.one_of(st.sampled_from([2**30, 2**30 + 1, 2**31 - 1, 3 * 2**29]), st.integers(2**30, 2**31 - 1))
SCALES = st.tuples(MULTIPLIERS, st.integers(-200, 200))
INT32 = st.one_of(st.sampled_from([INT32_MIN, INT32_MAX, 0, 1, -1]), st.integers(INT32_MIN, INT32_MAX))


def exact(scale):
    """Return the fraction that a scale stands for."""
    return Fraction(scale[0]) * Fraction(2) ** (scale[1] - 31)


def legal(scale):
    return 2**30 <= scale[0] < 2**31


@pytest.mark.parametrize(
    ("real", "scale"),
    [
        (1.0, (1073741824, 1)), (0.5, (1073741824, 0)), (0.25, (1073741824, -1)), (1 / 3, (1431655765, -1)),
        (1.5, (1610612736, 1)), (100.0, (1677721600, 7)), (0.0003921568859368563, (1724724224, -11)),
        (0.9999999999, (1073741824, 1)), (1e-9, (1152921505, -29)), (2.0**-100, (1073741824, -99)),
        (2.0**40, (1073741824, 41)),
    ],
)  # fmt: skip
def test_a_real_becomes_the_multiplier_of_section_2_without_bounds_on_the_exponent(real, scale):
    assert scale_of_real(real) == scale


@pytest.mark.parametrize("real", [0.0, -1.0, math.inf, math.nan])
def test_only_positive_reals_are_scales(real):
    with pytest.raises(ValueError, match="not a finite number > 0"):
        scale_of_real(real)


@given(st.floats(1e-300, 1e300))
def test_a_real_is_kept_to_31_bits(real):
    scale = scale_of_real(real)
    assert legal(scale)
    assert real_of_scale(scale) == pytest.approx(real, rel=2.0**-31)


@given(st.integers(1, 2**62))
def test_an_integer_keeps_its_highest_31_bits(value):
    scale = scale_of_integer(value)
    assert legal(scale)
    assert 0 <= value - exact(scale) < max(1, Fraction(value, 2**30)) * (value >= 2**31) + (value < 2**31)
    assert value >= 2**31 or exact(scale) == value


@given(SCALES, SCALES)
def test_a_product_is_within_a_unit_in_the_last_place(a, b):
    found = product(a, b)
    assert legal(found)
    assert abs(exact(found) / (exact(a) * exact(b)) - 1) <= Fraction(1, 2**30)


@given(SCALES)
def test_an_inverse_is_rounded_down(scale):
    found = inverse(scale)
    assert legal(found)
    assert 1 - Fraction(1, 2**30) <= exact(found) * exact(scale) <= 1


@given(INT32, st.integers(0, 2**31 - 1), st.integers(-80, 80))
def test_applying_a_scale_rounds_the_exact_product_and_saturates(x, multiplier, exponent):
    ideal = math.floor(x * exact((multiplier, exponent)) + Fraction(1, 2))
    expected = 0 if 31 - exponent > 62 else max(-LIMIT, min(LIMIT, ideal))
    assert apply_scale(x, multiplier, exponent) == expected


def test_what_is_no_scale_is_read_as_one_and_scales_as_they_are():
    assert read_scale(np.array([2**30 + 5, -7, 100])) == ((2**30 + 5, -7), 100)
    assert read_scale(np.array([0, INT32_MIN, INT32_MIN])) == ((2**30, -MAX_EXPONENT), -128)
    assert read_scale(np.array([-1, INT32_MAX, INT32_MAX])) == ((2**31 - 1, MAX_EXPONENT), 127)
    assert exact(shifted((2**30, 3), 4)) == 2**6


# ------------------------------------------------------------------------------------------------ C

RNG = np.random.default_rng(7)
COUNT = 20_000
EDGES = np.array([INT32_MIN, INT32_MIN + 1, -1, 0, 1, 2**29, 2**30 - 1, 2**30, INT32_MAX - 1, INT32_MAX])


def drawn(low, high, edges):
    """Draw int32 values, a third of them edges."""
    values = RNG.integers(low, high, COUNT, np.int64, endpoint=True)
    return np.where(RNG.random(COUNT) < 0.3, RNG.choice(edges, COUNT), values).astype(np.int32)


def multipliers():
    return drawn(2**30, 2**31 - 1, [2**30, 2**30 + 1, 2**31 - 1])


def called(shim, name, *arguments, results=2):
    """Call a function of scales that writes several arrays."""
    more = [np.zeros(COUNT, np.int32) for _ in range(results - 1)]
    first = shim(name, *more, *arguments)
    return [first[:COUNT], *more]


def test_c_applies_scales_as_python_does(shim):
    x, m, e = drawn(INT32_MIN, INT32_MAX, EDGES), drawn(0, 2**31 - 1, EDGES[EDGES >= 0]), drawn(-70, 70, [-31, -32, 31])
    np.testing.assert_array_equal(shim("apply_scale", x, m, e), apply_scale(x, m, e))
    far = np.array([-(2**20), 2**20], np.int32)
    np.testing.assert_array_equal(shim("apply_scale", far * 0 + 5, far * 0 + 2**30, far), [0, LIMIT])


def test_c_multiplies_and_inverts_as_python_does(shim):
    a, b = (multipliers(), drawn(-100, 100, [0])), (multipliers(), drawn(-100, 100, [0]))
    rows = list(zip(*(array.tolist() for array in (*a, *b)), strict=True))
    expected = np.array([product(row[:2], row[2:]) for row in rows]).T
    np.testing.assert_array_equal(called(shim, "scale_product", *a, *b), expected)
    np.testing.assert_array_equal(called(shim, "scale_inverse", *a), np.array([inverse(row[:2]) for row in rows]).T)


def test_c_makes_and_reads_scales_as_python_does(shim):
    values = RNG.integers(1, 2**62, COUNT) >> RNG.integers(0, 62, COUNT) | 1
    expected = np.array([scale_of_integer(value) for value in values.tolist()]).T
    np.testing.assert_array_equal(called(shim, "scale_of_integer", values), expected)
    rows = np.stack([drawn(INT32_MIN, INT32_MAX, EDGES) for _ in range(3)], axis=1)
    read = np.array([(*scale, zero) for scale, zero in map(read_scale, rows)]).T
    wide = np.zeros((3, 3 * COUNT), np.int32)
    wide[0] = shim("read_scale", wide[1], wide[2], np.ascontiguousarray(rows.reshape(-1)))
    np.testing.assert_array_equal(wide[:, :COUNT], read)

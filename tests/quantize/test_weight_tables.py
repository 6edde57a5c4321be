# SPDX-License-Identifier: Apache-2.0
"""Weight formats with a table: the values that papers and other libraries give."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from needs import needs_module
from weight_grids import fit, rounded


def test_nf4_levels_are_the_published_integers():
    integers = [-127, -88, -67, -50, -36, -23, -12, 0, 10, 20, 31, 43, 56, 71, 92, 127]
    assert fit("nf4", np.ones((1, 64))).coding.levels.tolist() == [integers]


@pytest.mark.parametrize(
    ("format", "magnitudes"),
    [
        ("e2m1", [0, 1, 2, 3, 4, 6, 8, 12]),
        ("e3m0", [0, 1, 2, 4, 8, 16, 32, 64]),
        ("e1m2", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("bnb", [0, 1, 85, 127, 42, 64, 21, 32]),
    ],
)
def test_fp4_codes_are_the_published_integers(format, magnitudes):
    meanings = fit(f"fp4:{format}", np.ones((1, 64))).coding.meanings()
    assert meanings.tolist() == [[*magnitudes, *(-magnitude for magnitude in magnitudes)]]


def test_fp4_auto_is_the_best_of_the_three():
    rng = np.random.default_rng(1)
    for weights in (rng.uniform(-1, 1, (4, 128)), rng.standard_normal((4, 128)), 2.0 ** rng.integers(-5, 0, (4, 128))):
        tried = [rounded(fit(f"fp4:{format}", weights), weights) for format in ("e2m1", "e3m0", "e1m2", "auto")]
        errors = [np.sum((values - weights) ** 2) for values in tried]
        assert errors[3] == min(errors[:3])


@pytest.mark.parametrize(
    ("text", "theirs", "largest"),
    [
        ("fp8:e4m3", "float8_e4m3fn", 448),
        ("fp8:e5m2", "float8_e5m2", 57344),
        ("fp8:e3m2", "float6_e3m2fn", 28),
        ("fp8:e2m3", "float6_e2m3fn", 7.5),
        ("fp8:e4m3,ieee=true", "float8_e4m3", 240),
        ("fp4:e2m1,group=0", "float4_e2m1fn", 6),
    ],
)
def test_floats_are_those_of_ml_dtypes(text, theirs, largest):
    ml_dtypes = needs_module("ml_dtypes")
    dtype = getattr(ml_dtypes, theirs)
    grid = fit(text, np.array([[largest, 0]]))
    codes = np.arange(1 << grid.coding.bits, dtype=np.uint8)[np.newaxis]
    values = codes.view(dtype).astype(np.float64)
    finite = np.isfinite(values)
    assert sorted(grid.unused) == codes[~finite].tolist()
    assert np.array_equal(grid.values(codes)[finite], values[finite])
    rng = np.random.default_rng(12)
    weights = rng.uniform(-1, 1, (1, 20_000)) * largest * 2.0 ** -rng.integers(0, 36, (1, 20_000))
    assert np.array_equal(rounded(grid, weights), weights.astype(dtype).astype(np.float64))


def test_apot_levels_are_the_published_ones():
    meanings = np.unique(fit("apot:4", np.ones((1, 2))).coding.meanings())
    assert (meanings[meanings >= 0] / meanings.max()).tolist() == [0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1]
    terms = {
        3: ((0, 4, 2, 1),),
        5: ((0, 32, 8, 2), (0, 16, 4, 1)),
        6: ((0, 64, 16, 2), (0, 32, 8, 1), (0, 4)),
        7: ((0, 256, 32, 4), (0, 128, 16, 2), (0, 64, 8, 1)),
    }
    for bits, choices in terms.items():
        meanings = fit(f"apot:{bits}", np.ones((1, 2))).coding.meanings()
        assert set(np.abs(meanings[0])) == {sum(chosen) for chosen in itertools.product(*choices)}


def test_pot_levels_reach_as_many_powers_as_the_bits_count():
    for bits in range(2, 7):
        meanings = np.unique(np.abs(fit(f"pot:{bits}", np.ones((1, 2))).coding.meanings()))
        assert meanings.tolist() == [0, *(2**power for power in range(2 ** (bits - 1) - 1))]


def test_pot_rounds_in_value_from_three_quarters_and_in_log_from_the_square_root_of_a_half():
    weights = np.array([[0.75, 0.7499, 0.70711, 0.7071, 1, -0.75, -0.7071, 0.0079, 0.0055, 0.0111, 0]])
    value, log = (rounded(fit(f"pot:4,scale=inq,rounding={rule}", weights), weights)[0] for rule in ("value", "log"))
    assert value.tolist() == [1, 0.5, 0.5, 0.5, 1, -1, -0.5, 2**-6, 0, 2**-6, 0]
    assert log.tolist() == [1, 1, 1, 0.5, 1, -1, -0.5, 0, 0, 2**-6, 0]


def test_pot_exponent_of_inq_is_that_of_four_thirds_of_the_largest():
    for largest, power in ((1, 1), (1.4999, 1), (1.5, 2), (2, 2), (0.74, 0.5)):
        weights = np.array([[largest, 0]])
        assert rounded(fit("pot:4,scale=inq", weights), weights)[0, 0] == power


def test_pot_least_squares_scale_beats_the_power_and_best_beats_both():
    weights = np.random.default_rng(3).standard_normal((20, 60))
    errors = [np.sum((rounded(fit(f"pot:4,scale={scale}", weights), weights) - weights) ** 2, axis=1)
              for scale in ("best", "least", "inq")]  # fmt: skip
    assert np.all(errors[1] <= errors[2] * (1 + 1e-6))
    assert errors[0].sum() < errors[1].sum() < errors[2].sum()


def test_binary_around_the_mean_has_as_many_of_each_sign():
    weights = np.random.default_rng(3).standard_normal((4, 500)) + 0.5
    codes = fit("binary:tensor,center=true", weights).nearest(weights)
    assert np.array_equal(codes, weights >= weights.mean())

# SPDX-License-Identifier: Apache-2.0
"""Weight formats: what they share, their tables of values, and the options that they refuse."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from needs import needs_module

from edgeq.errors import UsageError
from edgeq.ir.coding import CodeKind, pack_codes
from edgeq.quantize.methods import methods, parse, spell
from edgeq.quantize.methods.weights import Grid, WeightFormat

EVERY = (
    "int8 int8:tensor,mse int:2 int:3,group=5 int:4 int:4,per=tensor int:4,8,clip=minmax int:4,8,asymmetric=true "
    "int:6,signed_max=true int:8,64 int:2,4,asymmetric=true,clip=minmax ternary ternary:twn ternary:twn,group=7 "
    "ternary:absmean,tensor binary binary:tensor pot:2 pot:3,8 pot:4 pot:6 pot:4,scale=least pot:4,scale=inq "
    "pot:4,per=tensor apot:3 apot:4,8 apot:5 apot:6 apot:7,per=tensor codebook:1 codebook:4 codebook:4,channel "
    "codebook:3,group=8 codebook:2,group=5,wide=true codebook:8,wide=true codebook:2,start=linear "
    "codebook:3,start=kmeans++,pin_zero=always codebook:3,start=quantile nf4 nf4:8,wide=true nf4:0,clip=mse "
    "nf4:8,factors=m1 nf4:8,factors=m2 fp4 fp4:e3m0,8 fp4:e1m2,8 fp4:bnb,8 fp4:auto,8,mse fp8 fp8:e5m2 fp8:e4m3,8 "
    "fp8:e3m2,clip=mse fp8:e2m5,per=tensor fp8:e4m3,ieee=true"
)
OTHER_RULES = "pot:4,rounding=log pot:3,8,rounding=log,scale=least binary:tensor,center=true"
formats = pytest.mark.parametrize("text", EVERY.split())
all_formats = pytest.mark.parametrize("text", f"{EVERY} {OTHER_RULES}".split())


def fit(text: str, weights: np.ndarray, importance: np.ndarray | None = None) -> Grid:
    return parse(text, WeightFormat).fit(np.asarray(weights, np.float64), importance=importance)


def rounded(grid: Grid, weights: np.ndarray) -> np.ndarray:
    return grid.values(grid.nearest(weights))


def drawn(seed: int) -> np.ndarray:
    """Return weights of a random shape; some with zeros, channels or groups of zeros, one sign, or few values."""
    rng = np.random.default_rng(seed)
    weights = rng.standard_t(4, (rng.integers(1, 7), rng.integers(1, 30))) * np.exp(rng.normal(0, 2, 1))
    weights *= np.exp(rng.normal(0, 2, (len(weights), 1)))
    kind = rng.integers(6)
    if kind == 0:
        weights[rng.integers(len(weights))] = 0
    elif kind == 1:
        weights[:, :8] = 0
    elif kind == 2:
        weights = np.abs(weights) * rng.choice([-1, 1])
    elif kind == 3:
        weights = np.round(weights)
    return weights.astype(np.float32).astype(np.float64)


def every_value(grid: Grid, shape: tuple[int, int]) -> np.ndarray:
    """Return the values of all codes in use at every place: (codes, O, K)."""
    codes = np.arange(-127, 128)
    if grid.coding is not None:
        codes = np.setdiff1d(np.arange(1 << grid.coding.bits), grid.unused)
    return np.array([grid.values(np.full(shape, code)) for code in codes])


def test_folder_registers_the_formats():
    assert {text.partition(":")[0] for text in EVERY.split()} <= set(methods(WeightFormat))


@all_formats
def test_spelled_formats_are_read_again(text):
    made = parse(text, WeightFormat)
    assert parse(spell(made), WeightFormat) == made


@formats
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_nearest_and_neighbours_are_the_nearest_of_all_values(text, seed):
    weights = drawn(seed)
    grid = fit(text, weights)
    probed = np.concatenate([weights, weights * 1.7, weights - np.abs(weights).max(), weights * 0.01])
    for part in np.split(probed, 4):
        values = every_value(grid, part.shape)
        tolerance = 1e-9 * np.abs(values).max(axis=0)
        errors = np.abs(rounded(grid, part) - part)
        assert np.all(errors <= np.abs(values - part).min(axis=0) + tolerance)
        lower, upper = (grid.values(codes) for codes in grid.neighbours(part))
        below, above = np.where(values <= part, values, -np.inf).max(0), np.where(values >= part, values, np.inf).min(0)
        assert np.all(np.abs(lower - np.where(below > -np.inf, below, values.min(axis=0))) <= tolerance)
        assert np.all(np.abs(upper - np.where(above < np.inf, above, values.max(axis=0))) <= tolerance)


@all_formats
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_column_alone_and_values_themselves_keep_their_codes(text, seed):
    weights = drawn(seed)
    grid = fit(text, weights)
    codes = grid.nearest(weights)
    for column in range(weights.shape[1]):
        alone = slice(column, column + 1)
        assert np.array_equal(grid.nearest(weights[:, alone], first=column), codes[:, alone])
        assert np.array_equal(grid.values(codes[:, alone], first=column), grid.values(codes)[:, alone])
    values = grid.values(codes)
    if "center" not in text:  # bits there follow the mean, which no value need be on the right side of
        assert np.array_equal(rounded(grid, values), values)
    for neighbour in grid.neighbours(values):
        assert np.array_equal(grid.values(neighbour), values)


@all_formats
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_grids_fit_the_weights_shape_and_scale_with_them(text, seed):
    weights = drawn(seed)
    grid = fit(text, weights)
    assert grid.scales.shape == (len(weights),)
    assert np.all(grid.scales >= 1e-30)
    assert np.array_equal(grid.scales, grid.scales.astype(np.float32))
    codes = grid.nearest(weights)
    if grid.coding is None:
        assert codes.dtype == np.int8
    else:
        assert codes.dtype == np.uint8
        assert codes.max() < 1 << grid.coding.bits
        assert pack_codes(codes, grid.coding.bits).shape == (len(weights), -(-weights.shape[1] * grid.coding.bits // 8))
        assert len(grid.coding.meanings()) in (1, len(weights))
        if grid.coding.group:
            groups = -(-weights.shape[1] // grid.coding.group)
            assert grid.coding.group_scales.shape == (len(weights), groups)
    values = grid.values(codes)
    large = rounded(fit(text, weights * 1024), weights * 1024)
    assert np.abs(large / 1024 - values).max() <= 1e-6 * np.abs(values).max(initial=0)


@all_formats
@pytest.mark.parametrize("shape", [(1, 1), (3, 20)])
def test_zeros_stay_zeros(text, shape):
    grid = fit(text, np.zeros(shape))
    assert not rounded(grid, np.zeros(shape)).any()
    assert np.all(grid.scales == 1)


@all_formats
def test_zeros_of_a_channel_and_of_a_group_stay_zeros(text):
    weights = np.random.default_rng(3).standard_normal((4, 24))
    weights[1] = 0
    values = rounded(fit(text, weights), weights)
    assert not values[1].any()
    assert values[[0, 2, 3]].any(axis=1).all()
    weights[2, :8] = 0
    grid = fit(text, weights)
    if grid.coding is not None and grid.coding.group == 8:
        assert not rounded(grid, weights)[2, :8].any()


@formats
@pytest.mark.parametrize("value", [3.0, -0.7])
def test_a_constant_is_kept(text, value):
    weights = np.full((3, 11), value)
    relative = np.abs(rounded(fit(text, weights), weights) / value - 1).max()
    assert relative < (0.34 if "inq" in text or "m1" in text else 1e-6)  # powers of two as scales


@formats
def test_channels_of_very_different_size_are_each_their_own(text):
    weights = np.random.default_rng(4).standard_normal((2, 40))
    alone = rounded(fit(text, weights[:1]), weights[:1])
    beside = rounded(fit(text, weights * [[1], [1e12]]), weights * [[1], [1e12]])
    if getattr(parse(text, WeightFormat), "per", "channel") == "channel":
        assert np.array_equal(alone, beside[:1])


@pytest.mark.filterwarnings("error")
def test_a_channel_next_to_nothing_is_taken_as_zero():
    with pytest.warns(UserWarning, match="channel 1"):
        grid = fit("int8", np.array([[1.0, 2], [1e-35, 0]]))
    assert not rounded(grid, np.array([[1.0, 2], [1e-35, 0]]))[1].any()
    assert grid.scales[0] == grid.scales[1]


def test_ties_go_away_from_zero():
    grid = Grid(np.array([0.5]))
    assert grid.nearest(np.array([[0.25, -0.25, 0.75, -0.75, 100]])).tolist() == [[1, -1, 2, -2, 127]]
    grid = fit("int:4,clip=minmax", np.array([[3.5, 0]]))
    assert grid.nearest(np.array([[0.25, -0.25, 3.4, -9]])).tolist() == [[1, 15, 7, 9]]
    grid = fit("int:4,4,asymmetric=true,clip=minmax", 255 * np.array([[-8.0, 7, 0, 0]]))
    assert (rounded(grid, 255 * np.array([[-0.5, 0.5, 1.5, -1.5]])) / 255).tolist() == [[0, 1, 2, -1]]
    assert fit("binary", np.array([[1.0, -1]])).nearest(np.zeros((1, 2))).tolist() == [[1, 1]]


@pytest.mark.parametrize(
    "text", ["int:3,exponent=2", "int8:clip=mse,exponent=2", "codebook:3", "apot:4", "ternary", "pot"]
)
def test_importance_lowers_the_error_that_it_weighs(text):
    rng = np.random.default_rng(11)
    weights, importance = rng.standard_normal((4, 200)), rng.exponential(size=(1, 200)) ** 3
    with_it, without = (fit(text, weights, given) for given in (importance, None))
    weighed = [np.sum(importance * (rounded(grid, weights) - weights) ** 2) for grid in (with_it, without)]
    assert weighed[0] < weighed[1]
    nothing = fit(text, weights, np.zeros((4, 200)))
    assert np.array_equal(nothing.scales, without.scales)


def test_best_scale_is_never_worse_than_the_largest_weights():
    rng = np.random.default_rng(2)
    weights = rng.standard_t(3, (30, 25))
    for text in ("int:4,exponent=2", "nf4:0", "fp4:group=0", "fp8:e4m3"):
        errors = [((rounded(fit(f"{text},clip={clip}", weights), weights) - weights) ** 2).sum(axis=1)
                  for clip in ("mse", "minmax")]  # fmt: skip
        assert np.all(errors[0] <= errors[1] * (1 + 1e-6))
        assert errors[0].sum() < 0.98 * errors[1].sum()


def test_best_scale_is_as_good_as_that_of_a_dense_search():
    weights = np.random.default_rng(2).standard_t(3, (10, 200))
    for text, levels in (("int:4,exponent=2", 7), ("pot:4", 64)):
        tried = np.abs(weights).max(axis=1) / levels * np.linspace(0.1, 1.4, 250)[:, np.newaxis]
        grid = fit(text, weights)
        errors = [np.sum((rounded(replace(grid, scales=scales), weights) - weights) ** 2, axis=1) for scales in tried]
        found = np.sum((rounded(grid, weights) - weights) ** 2, axis=1)
        assert found.sum() < 1.002 * np.min(errors, axis=0).sum()


def test_ternary_optimum_is_never_worse_than_the_heuristic_and_is_the_brute_force():
    weights = np.random.default_rng(6).standard_t(3, (40, 30))
    errors = {rule: ((rounded(fit(f"ternary:{rule}", weights), weights) - weights) ** 2).sum(axis=1)
              for rule in ("optimum", "twn", "absmean")}  # fmt: skip
    assert np.all(errors["optimum"] <= errors["twn"] * (1 + 1e-6))
    assert errors["optimum"].sum() < 0.99 * errors["twn"].sum()
    for row, error in zip(np.abs(weights), errors["optimum"], strict=True):
        masks = [row >= threshold for threshold in row]
        least = min(np.sum((row - row[mask].mean() * mask) ** 2) for mask in masks)
        assert error == pytest.approx(least, rel=1e-6)


def test_symmetric_integers_leave_out_the_lowest_unless_told():
    weights = np.array([[-8.0, 1, 2, 7]])
    assert fit("int:4,clip=minmax,signed_max=true", weights).nearest(weights).tolist() == [[8, 1, 2, 7]]
    assert fit("int:4,clip=minmax", weights).scales[0] == np.float32(8 / 7)
    assert 8 not in fit("int:4", weights).nearest(weights * 100)


def test_a_group_as_large_as_a_row_is_a_channel():
    weights = np.random.default_rng(8).standard_normal((5, 48))
    for group in (48, 64):
        whole = rounded(fit("int:4", weights), weights)
        assert rounded(fit(f"int:4,{group}", weights), weights) == pytest.approx(whole, rel=1e-6)


def test_group_scales_and_zero_points_are_those_of_the_groups():
    weights = np.random.default_rng(9).standard_normal((5, 64)) * np.repeat([1, 0.25, 1e-3, 3], 16)
    coding = fit("int:4,16,clip=minmax,asymmetric=true", weights).coding
    grouped = weights.reshape(5, 4, 16)
    steps = (grouped.max(axis=2) - grouped.min(axis=2)) / 15
    assert coding.kind is CodeKind.UNSIGNED
    assert coding.group_scales.tolist() == np.maximum(np.rint(steps / steps.max(axis=1)[:, None] * 255), 1).tolist()
    assert coding.group_zeros.tolist() == np.rint(-grouped.min(axis=2) / steps).tolist()


def test_power_of_two_factors_are_powers_and_clip_nothing():
    weights = np.random.default_rng(9).standard_normal((5, 64)) * np.repeat([1, 0.3, 0.06, 3], 16)
    peaks = np.abs(weights).reshape(5, 4, 16).max(axis=2)
    for rule in ("m1", "m2"):
        grid = fit(f"nf4:16,factors={rule}", weights)
        factors = grid.coding.group_scales.astype(int)
        assert np.all(factors & (factors - 1) == 0)
        reached = 127 * factors * grid.scales[:, np.newaxis]
        assert np.all((reached >= peaks * (1 - 1e-5)) & (reached <= 2 * peaks))
        if rule == "m1":
            assert np.all(np.log2(grid.scales) % 1 == 0)
        else:
            assert factors.max(axis=1).tolist() == [128] * 5


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


REFUSED = (
    "int9 int8:per=group int8:clip=none int8:exponent=0 int:1 int:9 int:4,group=-1 int:4,asymmetric=true "
    "int:4,64,asymmetric=true,signed_max=true int:4,64,tensor int:4,clip=x ternary:best ternary:group=-2 "
    "binary:group pot:1 pot:7 pot:rounding=up pot:scale=2 pot:4,64,scale=inq apot:2 apot:8 apot:4,-1 codebook:0 "
    "codebook:9 codebook:4,row codebook:start=middle codebook:pin_zero=true codebook:iterations=0 "
    "codebook:seed=-1 codebook:group=-1 codebook:4,channel,8 nf4:-1 nf4:clip=x nf4:factors=m3 fp4:e4m3 "
    "fp4:factors=x fp8:e6m1 fp8:e4m0 fp8:e5m3 fp8:nan fp8:factors=x fp8:per=x"
)


@pytest.mark.parametrize("text", REFUSED.split())
def test_options_out_of_range_are_refused(text):
    with pytest.raises(UsageError):
        parse(text, WeightFormat)


def test_a_group_of_zeros_has_a_factor_of_zero():
    weights = np.random.default_rng(3).standard_normal((2, 16))
    weights[1, :8] = 0
    grid = fit("codebook:1,group=8,pin_zero=never", weights)
    assert grid.coding.group_scales[1, 0] == 0
    assert not rounded(grid, weights)[1, :8].any()


def test_a_group_with_half_the_scale_has_half_the_factor_whatever_float32_rounds():
    for largest in np.random.default_rng(3).uniform(1, 2, 20):
        coding = fit("nf4:8,factors=m2", largest * np.repeat([[1, 0.5]], 8, axis=1)).coding
        assert coding.group_scales.tolist() == [[128, 64]]

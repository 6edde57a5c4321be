# SPDX-License-Identifier: Apache-2.0
"""Weight formats: what they share, their tables of values, and the options that they refuse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weight_grids import fit, rounded

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

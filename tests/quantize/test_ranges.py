# SPDX-License-Identifier: Apache-2.0
"""Ranges of weights per channel and group, by every calibration method."""

from __future__ import annotations

import time

import numpy as np
import pytest

from edgeq.quantize.methods import methods, parse, spell
from edgeq.quantize.methods.base import Method
from edgeq.quantize.methods.levels import levels_of_range
from edgeq.quantize.methods.minmax import MinMax
from edgeq.quantize.methods.mse import Mse
from edgeq.quantize.methods.percentile import Percentile
from edgeq.quantize.methods.weights import WeightFormat
from edgeq.quantize.ranges import ranges_of_rows

EVERY = [*(method() for method in methods(Method).values()), MinMax(symmetric=True), Percentile(90, symmetric=True)]
names = pytest.mark.parametrize("method", EVERY, ids=spell)
WEIGHTS = np.random.default_rng(1).standard_normal((6, 3, 5, 40)).astype(np.float32)
WEIGHTS *= np.float32(2.0) ** np.arange(6, dtype=np.float32)[:, np.newaxis, np.newaxis, np.newaxis]
ROWS = WEIGHTS.reshape(6, -1)


@names
def test_each_channel_gets_the_range_that_it_would_get_alone(method):
    low, high = ranges_of_rows(method, ROWS)
    assert low.shape == high.shape == (6,)
    for channel in range(6):
        alone = [ends[0] for ends in ranges_of_rows(method, ROWS[channel : channel + 1])]
        assert (low[channel], high[channel]) == tuple(alone)


@names
def test_rows_get_the_range_of_an_observer_but_for_its_bins(method):
    low, high = ranges_of_rows(method, ROWS)
    for channel in range(6):
        observer = method.observer("x")
        observer.update(ROWS[channel])
        span = float(np.ptp(ROWS[channel]))
        assert (low[channel], high[channel]) == pytest.approx(observer.range(), abs=0.02 * span)


@names
def test_groups_run_over_the_inputs_of_each_channel_and_the_last_is_shorter(method):
    rows = ROWS[:, :30]
    low, high = ranges_of_rows(method, rows, group=8)
    assert low.shape == high.shape == (6, 4)
    for group, (start, stop) in enumerate([(0, 8), (8, 16), (16, 24), (24, 30)]):
        expected = ranges_of_rows(method, rows[:, start:stop])
        assert np.array_equal(low[:, group], expected[0])
        assert np.array_equal(high[:, group], expected[1])


def test_group_larger_than_a_channel_is_the_channel():
    expected = ranges_of_rows(Mse(), ROWS)
    found = ranges_of_rows(Mse(), ROWS, group=10_000)
    assert np.array_equal(np.array(found)[:, :, 0], expected)


def test_minmax_of_groups_is_exact():
    low, high = ranges_of_rows(MinMax(), np.array([[1.0, -2, 3, 4, 5]]), group=2)
    assert (low.tolist(), high.tolist()) == ([[-2, 3, 5]], [[1, 4, 5]])


@names
def test_rows_of_zeros_have_no_range(method):
    low, high = ranges_of_rows(method, np.zeros((3, 16), np.float32))
    assert not low.any()
    assert not high.any()


@pytest.mark.parametrize("options", [{}, {"symmetric": True}, {"joint": True, "candidates": 25}, {"exponent": 2.4}])
def test_mse_of_rows_is_the_least_error_of_all_factors(options):
    method = Mse(bits=3, **options)
    rows = np.random.default_rng(2).standard_t(3, (7, 50))
    rows[3] = np.abs(rows[3])
    low, high = ranges_of_rows(method, rows)
    assert (low[3] == 0) == (not method.symmetric)

    def errors(lows: np.ndarray, highs: np.ndarray) -> np.ndarray:
        levels = levels_of_range(lows[:, np.newaxis], highs[:, np.newaxis], bits=3, symmetric=method.symmetric)
        return np.sum(np.abs(levels.nearest(rows) - rows) ** method.exponent, axis=1)

    found = errors(low, high)
    lowest, highest = np.minimum(rows.min(axis=1), 0), np.maximum(rows.max(axis=1), 0)
    if method.symmetric:
        highest = np.maximum(-lowest, highest)
        lowest = -highest
    factors = 1 - np.arange(method.candidates) / 100
    for up in factors:
        for down in factors if method.joint else (up,):
            assert (found <= errors(lowest * down, highest * up) * (1 + 1e-9)).all()
    assert (found < errors(lowest, highest)).any()


def test_mse_of_a_large_layer_takes_little_time():
    weights = np.random.default_rng(3).standard_normal((256, 1152)).astype(np.float32)
    start = time.process_time()
    ranges_of_rows(Mse(bits=4, symmetric=True), weights)
    assert time.process_time() - start < 5


@pytest.mark.parametrize("depth", [24, 30])
def test_weight_formats_take_the_clip_of_any_method(depth):
    rows = np.random.default_rng(4).standard_t(3, (5, depth))
    for text, method in [("percentile:80", Percentile(80)), ("percentile:80;symmetric=true", Percentile(80, True))]:
        for group in (0, 8):
            low, high = ranges_of_rows(method, rows, group=group)
            reach = np.maximum(high, -low).reshape(5, -1)
            grid = parse(f"int:4,{group},clip={text}", WeightFormat).fit(rows)
            steps = grid.scales[:, np.newaxis]
            if group:
                steps = steps * grid.coding.group_scales
            np.testing.assert_allclose(steps, reach / 7, rtol=1e-6 if group == 0 else 0.05)


def test_asymmetric_groups_reach_from_the_lowest_to_the_highest_value_of_a_method():
    rows = np.random.default_rng(5).standard_t(3, (5, 64)) + 1
    low, high = ranges_of_rows(Percentile(80), rows, group=16)
    grid = parse("int:4,16,asymmetric=true,clip=percentile:80", WeightFormat).fit(rows)
    found = grid.scales[:, np.newaxis] * grid.coding.group_scales
    np.testing.assert_allclose(found, (np.maximum(high, 0) - np.minimum(low, 0)) / 15, rtol=0.05)

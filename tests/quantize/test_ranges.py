# SPDX-License-Identifier: Apache-2.0
"""Ranges of weights per tensor, channel and group, by every calibration method."""

from __future__ import annotations

import time

import numpy as np
import pytest

from edgeq.errors import InvalidValueError, UsageError
from edgeq.quantize.methods import methods, spell
from edgeq.quantize.methods.base import Method
from edgeq.quantize.methods.levels import levels_of_range
from edgeq.quantize.methods.minmax import MinMax
from edgeq.quantize.methods.mse import Mse
from edgeq.quantize.methods.percentile import Percentile
from edgeq.quantize.ranges import ranges_of

EVERY = [*(method() for method in methods(Method).values()), MinMax(symmetric=True), Percentile(90, symmetric=True)]
names = pytest.mark.parametrize("method", EVERY, ids=spell)
WEIGHTS = np.random.default_rng(1).standard_normal((6, 3, 5, 40)).astype(np.float32)
WEIGHTS *= np.float32(2.0) ** np.arange(6, dtype=np.float32)[:, np.newaxis, np.newaxis, np.newaxis]


@names
def test_each_channel_gets_the_range_that_it_would_get_alone(method):
    low, high = ranges_of(method, WEIGHTS, name="w")
    assert low.shape == high.shape == (6,)
    for channel in range(6):
        alone = [ends[0] for ends in ranges_of(method, WEIGHTS[channel], name="w", axis=None)]
        assert (low[channel], high[channel]) == tuple(alone)


@names
def test_rows_get_the_range_of_an_observer_but_for_its_bins(method):
    low, high = ranges_of(method, WEIGHTS, name="w")
    for channel in range(6):
        observer = method.observer("x")
        observer.update(WEIGHTS[channel].reshape(-1))
        span = float(np.ptp(WEIGHTS[channel]))
        assert (low[channel], high[channel]) == pytest.approx(observer.range(), abs=0.02 * span)


@names
def test_groups_run_over_the_inputs_of_each_channel_and_the_last_is_shorter(method):
    weights = np.moveaxis(WEIGHTS[..., :2], 0, 3)  # (3, 5, 2, 6), channels last
    low, high = ranges_of(method, weights, name="w", axis=3, group=8)
    assert low.shape == high.shape == (6, 4)  # 30 inputs
    rows = WEIGHTS[..., :2].reshape(6, 30)
    for group, (start, stop) in enumerate([(0, 8), (8, 16), (16, 24), (24, 30)]):
        expected = ranges_of(method, rows[:, start:stop], name="w")
        assert np.array_equal(low[:, group], expected[0])
        assert np.array_equal(high[:, group], expected[1])


def test_group_larger_than_a_channel_is_the_channel():
    expected = ranges_of(Mse(), WEIGHTS, name="w")
    found = ranges_of(Mse(), WEIGHTS, name="w", group=10_000)
    assert np.array_equal(np.array(found)[:, :, 0], expected)


def test_minmax_of_groups_is_exact():
    low, high = ranges_of(MinMax(), np.array([[1.0, -2, 3, 4, 5]]), name="w", group=2)
    assert (low.tolist(), high.tolist()) == ([[-2, 3, 5]], [[1, 4, 5]])


@names
def test_rows_of_zeros_have_no_range(method):
    low, high = ranges_of(method, np.zeros((3, 16), np.float32), name="w")
    assert not low.any()
    assert not high.any()


@pytest.mark.parametrize("options", [{}, {"symmetric": True}, {"joint": True, "candidates": 25}, {"exponent": 2.4}])
def test_mse_of_rows_is_the_least_error_of_all_factors(options):
    method = Mse(bits=3, **options)
    rows = np.random.default_rng(2).standard_t(3, (7, 50))
    rows[3] = np.abs(rows[3])
    low, high = ranges_of(method, rows, name="w")
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
    ranges_of(Mse(bits=4, symmetric=True), weights, name="w")
    assert time.process_time() - start < 5


def test_weights_that_are_not_finite_or_empty_are_refused_by_name_and_index():
    weights = np.zeros((2, 3))
    weights[1, 2] = np.inf
    with pytest.raises(InvalidValueError, match=r"'conv1/w'.*inf at flat index 5"):
        ranges_of(MinMax(), weights, name="conv1/w")
    with pytest.raises(InvalidValueError, match=r"'w' of shape \[0, 3\]"):
        ranges_of(MinMax(), np.zeros((0, 3)), name="w")


@pytest.mark.parametrize(("axis", "group"), [(0, 0), (0, -4), (None, 4)])
def test_groups_that_cannot_be_are_refused(axis, group):
    with pytest.raises(UsageError, match="groups of"):
        ranges_of(MinMax(), np.ones((2, 8)), name="w", axis=axis, group=group)

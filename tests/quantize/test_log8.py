# SPDX-License-Identifier: Apache-2.0
"""The 8-bit logarithmic weights: every code, and the error on N(0, 1)."""

from __future__ import annotations

import numpy as np
import pytest
from gaussian import mse_of_levels

from edgeq.quantize.methods.log8 import Log8
from edgeq.quantize.methods.weights import Grid


def grid_for(clip: float) -> Grid:
    return Log8().fit(np.array([[clip, -clip / 3]]))


def value(code: int, clip: float) -> float:
    """Return what a code stands for, by the words of the format."""
    if code == 0x80:
        return 0.0
    offset = round(16 * np.log2(clip)) - 127
    magnitude = 2 ** (((code & 0x7F) + offset) / 16)
    return -magnitude if code & 0x80 else magnitude


def code(x: float, clip: float) -> int:
    """Return the code of a number, by the words of the format."""
    offset = round(16 * np.log2(clip)) - 127
    if x >= 2 ** (offset / 16 - 1):
        return int(np.clip(round(16 * np.log2(x)) - offset, 0, 127))
    if x < -(2 ** ((offset + 1) / 16 - 1)):
        return 0x80 | int(np.clip(round(16 * np.log2(-x)) - offset, 1, 127))
    return 0x80


@pytest.mark.parametrize("clip", [4.0, 1.0, 2 ** (5 / 16)])
def test_all_256_codes_stand_for_their_values_and_are_found_again(clip):
    grid, codes = grid_for(clip), np.arange(256)[np.newaxis]
    values = grid.values(codes)
    expected = [value(each, clip) for each in range(256)]
    assert values[0] == pytest.approx(np.array(expected), abs=clip / 2**15 * 0.51)  # half a step of the int16 table
    assert np.array_equal(grid.nearest(values), codes)
    assert [code(each, clip) for each in expected] == list(range(256))


def test_numbers_get_the_code_of_the_nearest_logarithm():
    grid = grid_for(4.0)
    rng = np.random.default_rng(1)
    values = np.concatenate(
        [rng.standard_normal(2000), 2 ** rng.uniform(-8, 2.5, 2000), -(2 ** rng.uniform(-8, 2, 2000))]
    )
    assert grid.nearest(values[np.newaxis])[0].tolist() == [code(each, 4.0) for each in values]


def test_error_on_a_gaussian_is_that_of_the_format():
    found = np.unique(grid_for(4.0).values(np.arange(256)[np.newaxis]))
    assert mse_of_levels(found) == pytest.approx(1.627e-4, rel=0.01)  # nearest in value
    sample = np.random.default_rng(2).standard_normal((1, 2_000_000))
    grid = grid_for(4.0)
    errors = grid.values(grid.nearest(sample)) - sample
    assert 10 * np.log10(np.sum(sample**2) / np.sum(errors**2)) == pytest.approx(37.89, abs=0.05)


def test_clip_holds_the_largest_weight_and_is_at_most_a_sixteenth_of_an_octave_above():
    weights = np.random.default_rng(3).standard_normal((5, 40))
    largest = Log8().fit(weights).values(np.full((5, 1), 0x7F))
    peak = np.abs(weights).max()
    assert np.all(largest >= peak * (1 - 1e-6))
    assert np.all(largest < peak * 2 ** (1 / 16))


def test_zeros_stay_zeros():
    for weights in (np.zeros((2, 3)), np.array([[0.0, 5], [0, 0]])):
        grid = Log8().fit(weights)
        assert np.all(grid.nearest(np.zeros((2, 3))) == 0x80)
        assert not grid.values(grid.nearest(np.zeros((2, 3)))).any()

# SPDX-License-Identifier: Apache-2.0
"""K-means in one dimension, and codebooks made of it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.errors import UsageError
from edgeq.quantize.methods import codebook
from edgeq.quantize.methods.codebook import Codebook
from edgeq.quantize.methods.kmeans import Points, linear_start, lloyd, optimum, plus_plus_start, quantile_start

SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int, most: int = 60) -> tuple[Points, int]:
    """Return points, some alike and with masses, and a number of centroids below that of points."""
    rng = np.random.default_rng(seed)
    values = rng.standard_t(2, rng.integers(3, most)) * 10.0 ** rng.integers(-6, 6) + rng.choice([0, 5])
    masses = rng.choice([0, 1, 2.5], len(values)) if rng.integers(2) else np.ones(len(values))
    masses[:3] = 1
    points = Points(values, masses)
    return points, int(rng.integers(1, min(len(points.values), 9)))


def total(points: Points, centroids: np.ndarray) -> float:
    return float(points.errors(np.sort(centroids)).sum())


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_optimum_is_that_of_all_ways_to_cut(seed):
    points, k = drawn(seed, most=11)
    count = len(points.values)
    cuts = itertools.combinations(range(1, count), k - 1)
    edges = [np.array([0, *inner, count]) for inner in cuts]
    least = min(float(points.costs(edge[:-1], edge[1:]).sum()) for edge in edges)
    assert total(points, optimum(points, k)) == pytest.approx(least, rel=1e-9, abs=1e-9 * np.ptp(points.values) ** 2)


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_lloyd_never_raises_the_error_and_the_optimum_is_below(seed):
    points, k = drawn(seed)
    least = total(points, optimum(points, k))
    rounding = 1e-12 * float(points.masses.sum() * np.ptp(points.values) ** 2)
    rng = np.random.default_rng(seed)
    for start in (linear_start(points, k), quantile_start(points, k), plus_plus_start(points, k, rng)):
        errors = [total(points, start)]
        for count in range(1, 12):
            centroids = lloyd(points, start, iterations=count)
            assert np.all(np.diff(centroids) >= 0)
            errors.append(total(points, centroids))
        assert np.all(np.diff(errors) <= rounding)
        assert least <= errors[-1] + rounding


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_lloyd_keeps_a_pinned_zero(seed):
    points, k = drawn(seed)
    for iterations in (1, 2, 50):
        assert 0 in lloyd(points, linear_start(points, k), iterations=iterations, pinned=True)


def test_centroid_without_points_goes_where_the_error_is_largest():
    points = Points(np.array([0, 0.1, 0.2, 9.8, 9.9, 30]), np.ones(6))
    assert lloyd(points, np.array([0.1, 9.8, 100]), iterations=50) == pytest.approx([0.1, 9.85, 30])


def test_optimum_of_many_points_is_below_lloyd():
    points = Points(np.random.default_rng(1).standard_normal(20_000), np.ones(20_000))
    best = total(points, optimum(points, 8))
    assert best < total(points, lloyd(points, linear_start(points, 8), iterations=100))
    many = np.random.default_rng(1).standard_normal((101, 1000))
    with pytest.raises(UsageError, match="too long"):
        Codebook(start="optimum").fit(many)


def test_start_auto_is_the_optimum_of_few_points_and_quantiles_of_many():
    for count, bits, start in ((1000, 4, "optimum"), (7000, 8, "quantile")):
        weights = np.random.default_rng(1).standard_normal((1, count))
        levels = [Codebook(bits, start=name).fit(weights).coding.levels for name in ("auto", start)]
        assert np.array_equal(*levels)


def test_few_distinct_values_are_kept():
    weights = np.random.default_rng(1).choice([-127.0, -31, 5, 64], (3, 50))
    weights[:, 0] = -127
    grid = Codebook(bits=2, per="channel").fit(weights)
    assert np.array_equal(grid.values(grid.nearest(weights)), weights)


def test_zero_is_an_entry_where_a_tenth_of_the_weights_are_zeros():
    rng = np.random.default_rng(1)
    weights = rng.uniform(0.5, 9, (2, 300))
    assert 0 not in Codebook(bits=3).fit(weights).coding.levels
    assert 0 in Codebook(bits=3, pin_zero="always").fit(weights).coding.levels
    weights[:, :40] = 0
    weights[:, 40:80] = 0.2
    grid = Codebook(bits=1).fit(weights)
    assert not grid.values(grid.nearest(weights))[:, :40].any()
    assert 0 not in Codebook(bits=1, pin_zero="never").fit(weights).coding.levels


def test_kmeans_depends_on_its_seed_alone():
    weights = np.random.default_rng(1).standard_normal((2, 300))
    first, again, other = (Codebook(start="kmeans++", seed=seed).fit(weights) for seed in (1, 1, 2))
    assert np.array_equal(first.coding.levels, again.coding.levels)
    assert not np.array_equal(first.coding.levels, other.coding.levels)


def test_wide_entries_are_finer():
    weights = np.random.default_rng(1).standard_normal((1, 3000))
    errors = [
        np.sum((grid.values(grid.nearest(weights)) - weights) ** 2)
        for grid in (Codebook(bits=6, wide=wide).fit(weights) for wide in (False, True))
    ]
    assert errors[1] < 0.97 * errors[0]


def test_zero_is_an_entry_where_a_channel_is_zeros():
    weights = np.random.default_rng(1).uniform(0.5, 9, (12, 30))
    weights[5] = 0
    grid = Codebook(bits=2).fit(weights)
    assert not grid.values(grid.nearest(weights))[5].any()


def test_table_and_scales_are_fitted_to_each_other_twice(monkeypatch):
    weights = np.random.default_rng(1).standard_normal((20, 60))
    errors = []
    for rounds in (1, codebook._ROUNDS):
        monkeypatch.setattr(codebook, "_ROUNDS", rounds)
        grid = Codebook(wide=True).fit(weights)
        errors.append(np.sum((grid.values(grid.nearest(weights)) - weights) ** 2))
    assert errors[1] < 0.99 * errors[0]

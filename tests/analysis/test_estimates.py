# SPDX-License-Identifier: Apache-2.0
"""Intervals against published figures, brute force, and what always holds."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.analysis.estimates import (
    area_under_curve,
    bootstrap,
    difference,
    exponential_of_mean,
    mean,
    newcombe_interval,
    normal_interval,
    share_of_certain,
    wilson_interval,
)
from edgeq.errors import BadInputError

HITS = st.lists(st.booleans(), min_size=1, max_size=60).map(lambda hits: np.array(hits, bool))


def _pairs(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two sets of hits with so many samples that both, one or none of them hit."""
    cells = (both, first, second, neither)
    return np.repeat([True, True, False, False], cells), np.repeat([True, False, True, False], cells)


def _column(labels: np.ndarray) -> np.ndarray:
    return labels[:, np.newaxis] == 1


def test_wilson_interval_is_the_published_one_for_eight_of_ten() -> None:
    assert wilson_interval(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)


@pytest.mark.parametrize(("hits", "count"), [(0, 5), (5, 5), (1, 1), (0, 1)])
def test_wilson_interval_stays_within_zero_and_one(hits: int, count: int) -> None:
    low, high = wilson_interval(hits, count)
    assert 0 <= low <= hits / count <= high <= 1
    assert low < high


@pytest.mark.parametrize(
    ("table", "published"),
    [
        ((1, 1, 7, 12), (-0.507, -0.026)),  # Bentur et al. 2009, in Fagerland, Lydersen and Laake 2014
        ((14, 5, 0, 22), (0.011, 0.226)),  # Altman et al. 2000, table 6.2
    ],
)
def test_newcombe_interval_is_the_published_one(
    table: tuple[int, int, int, int], published: tuple[float, float]
) -> None:
    assert newcombe_interval(*_pairs(*table)) == pytest.approx(published, abs=6e-4)


@settings(max_examples=40, deadline=None)
@given(HITS, st.randoms(use_true_random=False))
def test_newcombe_interval_holds_the_difference_and_turns_with_its_order(first: np.ndarray, random: object) -> None:
    second = np.array([random.random() < 0.5 for _ in first])  # type: ignore[attr-defined]
    low, high = newcombe_interval(first, second)
    assert -1 <= low <= first.mean() - second.mean() <= high <= 1
    assert low < high
    assert newcombe_interval(second, first) == pytest.approx((-high, -low))


def test_newcombe_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(1000):
        first, other = rng.random((2, 100)) < np.array([[0.8], [0.7]])
        second = np.where(rng.random(100) < 0.5, first, other)
        low, high = newcombe_interval(first, second)
        covered += low <= 0.05 <= high
    assert 0.93 <= covered / 1000 <= 0.98


def test_normal_interval_of_one_value_is_unbounded() -> None:
    assert normal_interval(np.array([3.0])) == (-np.inf, np.inf)


def test_normal_interval_is_the_standard_error_times_the_quantile() -> None:
    values = np.array([1.0, 2.0, 4.0, 7.0])
    half = 1.959964 * math.sqrt(((2.5**2 + 1.5**2 + 0.5**2 + 3.5**2) / 3) / 4)
    assert normal_interval(values) == pytest.approx((3.5 - half, 3.5 + half), rel=1e-6)


def test_a_mean_never_reaches_below_its_lowest() -> None:
    assert mean(np.array([0.0, 0.0, 5.0]), lowest=0.0).interval[0] == 0.0
    assert mean(np.array([0.0, 0.0, 5.0])).interval[0] < 0.0


def test_an_exponential_carries_the_interval_over() -> None:
    scores = np.array([1.0, 1.5, 0.5, 2.0])
    found, inner = exponential_of_mean(scores), mean(scores)
    assert found.value == pytest.approx(math.exp(1.25))
    assert found.interval == pytest.approx((math.exp(inner.interval[0]), math.exp(inner.interval[1])))


def test_an_exponential_of_what_is_too_large_is_infinite() -> None:
    assert exponential_of_mean(np.array([1e4, 2e4])).value == math.inf


# ------------------------------------------------------------------------------------------------ difference


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=2, max_size=30))
def test_a_difference_of_means_has_the_interval_of_the_mean_difference(pairs: list[tuple[float, float]]) -> None:
    first, second = np.array(pairs).T
    found = difference(mean(first), mean(second))
    assert found.value == pytest.approx(first.mean() - second.mean())
    assert found.interval == pytest.approx(normal_interval(first - second), abs=1e-12)
    assert found.interval[0] <= found.value <= found.interval[1]


def test_a_pair_that_moves_together_differs_by_less_than_either_is_uncertain() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(size=200)
    second = first + rng.normal(size=200) * 0.01
    found = difference(mean(second), mean(first))
    assert found.interval[1] - found.interval[0] < 0.05 * (mean(first).interval[1] - mean(first).interval[0])


def test_a_difference_of_exponentials_is_their_slope_times_that_of_the_means() -> None:
    rng = np.random.default_rng(0)
    first = rng.random(500) * 0.01 + 1
    second = rng.random(500) * 0.01 + 1
    found = difference(exponential_of_mean(first), exponential_of_mean(second))
    slope = math.exp(1.005)
    inner = normal_interval(first - second)
    assert found.interval == pytest.approx((slope * inner[0], slope * inner[1]), rel=0.01)


def test_a_difference_of_resamples_pairs_them() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=50)
    found = difference(bootstrap(np.median, [values + 0.25]), bootstrap(np.median, [values]))
    assert found.value == pytest.approx(0.25)
    assert found.interval == pytest.approx((0.25, 0.25))


# ------------------------------------------------------------------------------------------------ bootstrap


def test_resamples_are_the_same_each_time() -> None:
    values = np.random.default_rng(1).normal(size=40)
    assert bootstrap(np.median, [values]).interval == bootstrap(np.median, [values]).interval


def test_percentiles_of_a_mean_are_near_its_normal_interval() -> None:
    values = np.random.default_rng(1).normal(size=400)
    found = bootstrap(lambda drawn: float(drawn.mean()), [values])
    assert found.interval == pytest.approx(normal_interval(values), abs=0.01)


def test_the_arrays_of_a_sample_are_drawn_together() -> None:
    values = np.arange(20)

    def distance(first: np.ndarray, second: np.ndarray) -> float:
        return float(abs(first - second).max())

    assert bootstrap(distance, [values, values + 3]).interval == (3.0, 3.0)


def test_an_interval_holds_a_value_that_no_resample_reaches() -> None:
    found = bootstrap(lambda drawn: float(len(set(drawn.tolist()))), [np.arange(30)])
    assert found.value == found.interval[1] == 30.0
    assert found.interval[0] < 25


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_no_count_of_samples_makes_certain(value: float) -> None:
    sure = bootstrap(lambda drawn: value, [np.zeros(50)])
    assert sure.interval == (value, value)
    assert share_of_certain(sure, 50).interval == wilson_interval(int(50 * value), 50)
    half = bootstrap(lambda drawn: 0.5, [np.zeros(50)])
    assert share_of_certain(half, 50).interval == (0.5, 0.5)


# ------------------------------------------------------------------------------------------------ area under the curve


def _area_by_pairs(labels: np.ndarray, scores: np.ndarray) -> float:
    pairs = list(itertools.product(scores[labels == 1], scores[labels == 0]))
    return sum((a > b) + 0.5 * (a == b) for a, b in pairs) / len(pairs)


@st.composite
def _labelled(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Draw labels of both kinds and scores with many ties."""
    kinds = draw(st.lists(st.integers(0, 1), min_size=2, max_size=40).filter(lambda found: len(set(found)) == 2))
    scores = draw(st.lists(st.integers(-4, 4), min_size=len(kinds), max_size=len(kinds)))
    return np.array(kinds), np.array(scores) / 4


@settings(max_examples=40, deadline=None)
@given(_labelled())
def test_an_area_counts_the_pairs_in_order(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = drawn
    found = area_under_curve(_column(labels), scores[:, np.newaxis])
    assert found.value == pytest.approx(_area_by_pairs(labels, scores))
    assert 0 <= found.interval[0] <= found.value <= found.interval[1] <= 1
    mirrored = area_under_curve(_column(labels), -scores[:, np.newaxis])
    assert mirrored.value == pytest.approx(1 - found.value)


@settings(max_examples=40, deadline=None)
@given(_labelled(), st.randoms(use_true_random=False))
def test_an_area_does_not_depend_on_the_order_of_samples(drawn: tuple[np.ndarray, np.ndarray], random: object) -> None:
    labels, scores = drawn
    order = list(range(len(labels)))
    random.shuffle(order)  # type: ignore[attr-defined]
    found = area_under_curve(_column(labels), scores[:, np.newaxis])
    shuffled = area_under_curve(_column(labels[order]), scores[order, np.newaxis])
    assert shuffled.value == pytest.approx(found.value)
    assert shuffled.interval == pytest.approx(found.interval)


def _delong_variance(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """Return DeLong's variance of the difference of two areas, written out as in the paper."""

    def placements(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inside, outside = scores[labels == 1], scores[labels == 0]
        order = (inside[:, None] > outside) + 0.5 * (inside[:, None] == outside)
        return order.mean(axis=1), order.mean(axis=0)

    (v10, v01), (w10, w01) = placements(first), placements(second)
    return float((v10 - w10).var(ddof=1) / len(v10) + (v01 - w01).var(ddof=1) / len(v01))


def test_an_interval_of_areas_is_delongs() -> None:
    rng = np.random.default_rng(5)
    labels = np.arange(90) % 3 // 2
    first, second = (labels + rng.normal(size=90) * 1.5 for _ in range(2))
    found, source = (area_under_curve(_column(labels), scores[:, None]) for scores in (first, second))
    between = difference(found, source)
    half = 1.959964 * math.sqrt(_delong_variance(labels, first, second))
    assert between.interval == pytest.approx((between.value - half, between.value + half), rel=1e-6)
    half = 1.959964 * math.sqrt(_delong_variance(labels, first, np.zeros(90)))
    assert found.interval == pytest.approx((found.value - half, found.value + half), rel=1e-6)


def test_an_area_of_several_classes_is_the_mean_of_each_against_the_rest() -> None:
    rng = np.random.default_rng(5)
    labels, scores = rng.integers(0, 3, 40), rng.normal(size=(40, 4)).round(1)  # class 3 has no sample
    found = area_under_curve(labels[:, None] == np.arange(4), scores)
    expected = [_area_by_pairs((labels == c).astype(int), scores[:, c]) for c in range(3)]
    assert found.value == pytest.approx(np.mean(expected))


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 40), st.integers(2, 40))
def test_a_perfect_area_is_as_certain_as_its_rarer_kind(inside: int, outside: int) -> None:
    labels = np.repeat([1, 0], [inside, outside])
    found = area_under_curve(_column(labels), labels[:, None].astype(float))
    assert (found.value, found.interval) == (1.0, wilson_interval(min(inside, outside), min(inside, outside)))


def test_one_sample_of_a_kind_says_nothing_of_its_spread() -> None:
    labels = np.array([1, 0, 0, 0])
    found = area_under_curve(_column(labels), np.array([[0.3], [0.1], [0.5], [0.2]]))
    assert (found.value, found.interval) == (pytest.approx(2 / 3), (0.0, 1.0))
    assert difference(found, found).interval == (-math.inf, math.inf)


@pytest.mark.parametrize("label", [0, 1])
def test_an_area_of_one_class_is_refused(label: int) -> None:
    with pytest.raises(BadInputError, match="all labels are the same"):
        area_under_curve(_column(np.full(5, label)), np.arange(5.0)[:, None])

# SPDX-License-Identifier: Apache-2.0
"""Picking options within budgets: dynamic programming against brute force, and what must hold of every result."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.analysis import search
from edgeq.analysis.search import (
    Option,
    choose_by_force,
    choose_exact,
    choose_greedy,
    front,
    nondominated,
    selection_of,
)
from edgeq.errors import UsageError

Instance = list[list[Option]]


def _instance(seed: int, *, layers: int, options: int, costs: int = 1) -> Instance:
    """Draw layers as real ones are: of different sizes, with noise that falls about fourfold per bit."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(layers):
        weights, sensitivity = rng.integers(50, 3000), 10.0 ** rng.uniform(-5, -1)
        bits = rng.integers(2, 17, options)
        found.append(
            [
                Option(
                    float(sensitivity * 4.0**-bit * rng.uniform(0.5, 2)),
                    tuple(float(np.ceil(weights * bit / 8 * rng.uniform(0.8, 1.2))) for _ in range(costs)),
                )
                for bit in bits
            ]
        )
    return found


def _budget(layers: Instance, share: float, cost: int = 0) -> float:
    """Return a budget between the least and the most that selections take."""
    low, high = (sum(pick(o.costs[cost] for o in options) for options in layers) for pick in (min, max))
    return float(low + share * (high - low))


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 6), st.floats(-0.1, 1.1))
@settings(max_examples=30, deadline=None)
def test_dynamic_programming_equals_brute_force(seed: int, layers: int, options: int, share: float) -> None:
    instance = _instance(seed, layers=layers, options=options)
    budget = _budget(instance, share)
    exact, oracle = choose_exact(instance, budget), choose_by_force(instance, [budget])
    assert (exact is None) == (oracle is None)
    if exact is not None and oracle is not None:
        assert exact.noise == pytest.approx(oracle.noise, rel=1e-9)
        assert exact.costs[0] <= budget
        assert exact == selection_of(instance, exact.picks)


@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(2, 5), st.floats(0.2, 1), st.floats(0.2, 1))
@settings(max_examples=30, deadline=None)
def test_greedy_is_within_five_percent_of_brute_force(
    seed: int, layers: int, options: int, first: float, second: float
) -> None:
    instance = _instance(seed, layers=layers, options=options, costs=2)
    budgets = [_budget(instance, first, 0), _budget(instance, second, 1)]
    oracle = choose_by_force(instance, budgets)
    found = choose_greedy(instance, budgets)
    if found is not None:
        assert oracle is not None
        assert all(cost <= budget for cost, budget in zip(found.costs, budgets, strict=True))
        assert found.noise <= 1.05 * oracle.noise
    else:
        assert oracle is None


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
@settings(max_examples=5, deadline=None)
def test_greedy_is_within_five_percent_of_the_optimum_for_many_layers(seed: int, share: float) -> None:
    instance = _instance(seed, layers=20, options=9)
    budget = _budget(instance, share)
    exact, found = choose_exact(instance, budget), choose_greedy(instance, [budget])
    assert exact is not None
    assert found is not None
    assert found.costs[0] <= budget
    assert found.noise <= 1.05 * exact.noise


@given(st.integers(0, 2**32 - 1), st.lists(st.floats(0, 1), min_size=2, max_size=6))
@settings(max_examples=12, deadline=None)
def test_a_larger_budget_is_never_worse(seed: int, shares: list[float]) -> None:
    instance = _instance(seed, layers=8, options=5)
    found = [choose_exact(instance, _budget(instance, share)) for share in sorted(shares)]
    noises = [selection.noise for selection in found if selection is not None]
    assert len(noises) == len(shares)
    assert noises == sorted(noises, reverse=True)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=12, deadline=None)
def test_the_front_holds_every_optimum_and_nothing_else(seed: int) -> None:
    instance = _instance(seed, layers=4, options=4)
    found = front(instance)
    for one, other in itertools.pairwise(found):
        assert one.costs[0] < other.costs[0]
        assert one.noise > other.noise
    everything = [selection_of(instance, picks) for picks in itertools.product(range(4), repeat=4)]
    best = nondominated([(selection.costs[0], selection.noise) for selection in everything])
    assert {(everything[i].costs[0], everything[i].noise) for i in best} == {(s.costs[0], s.noise) for s in found}


def test_too_many_sums_are_told_apart_in_steps_that_keep_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = _instance(5, layers=7, options=6)
    budget = _budget(instance, 0.4)
    exact = choose_exact(instance, budget)
    monkeypatch.setattr(search, "MOST_STATES", 64)
    monkeypatch.setattr(search, "STEPS", 64)
    coarse = choose_exact(instance, budget)
    assert exact is not None
    assert coarse is not None
    assert coarse.costs[0] <= budget
    assert exact.noise <= coarse.noise <= 1.5 * exact.noise
    assert len(front(instance)) <= 65


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), max_size=30))
def test_points_of_a_front_do_not_dominate_each_other_and_beat_all_others(points: list[tuple[int, int, int]]) -> None:
    kept = nondominated(points)
    for place, point in enumerate(points):
        beaten = any(all(a <= b for a, b in zip(points[i], point, strict=True)) for i in kept if i != place)
        assert beaten == (place not in kept)


def test_no_selection_fits_a_budget_below_the_least() -> None:
    instance = _instance(1, layers=3, options=3, costs=2)
    budgets = [_budget(instance, 0) - 1, math.inf]
    assert choose_exact(instance, budgets[0]) is None
    assert choose_greedy(instance, budgets) is None
    assert choose_by_force(instance, budgets) is None


def test_without_budgets_the_least_noise_wins() -> None:
    instance = _instance(2, layers=4, options=4, costs=2)
    found = choose_greedy(instance, [math.inf, math.inf])
    assert found is not None
    assert found.noise == pytest.approx(sum(min(o.noise for o in options) for options in instance))


def test_brute_force_refuses_what_would_take_too_long() -> None:
    with pytest.raises(UsageError, match="1048576 combinations"):
        choose_by_force([[Option(0, ()), Option(1, ())]] * 20, [])

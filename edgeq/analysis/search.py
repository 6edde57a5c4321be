# SPDX-License-Identifier: Apache-2.0
"""Pick one option for each layer, with the least noise within budgets: a multiple-choice knapsack.

Costs and noise add up over the layers. ``front`` and ``choose_exact`` are exact for one cost, by dynamic programming
over the sums that are not dominated (Nemhauser and Ullmann 1969); ``choose_greedy`` takes several; ``choose_by_force``
tries everything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from edgeq.errors import UsageError

MOST_STATES = 2**15  # sums that are kept after each layer; beyond that, costs are told apart in 1024 steps
STEPS = 1024
MOST_TRIED = 10**6  # combinations that brute force takes
_PRICES = 24  # of a cost, from which the search for several budgets starts


@dataclass(frozen=True)
class Option:
    """What a layer may get: the noise that it adds, >= 0, and what it takes of each budget, >= 0."""

    noise: float
    costs: tuple[float, ...]


@dataclass(frozen=True)
class Selection:
    """The number of the option that each layer gets, and the sums over the layers."""

    picks: tuple[int, ...]
    noise: float
    costs: tuple[float, ...]


Layers = Sequence[Sequence[Option]]


def selection_of(layers: Layers, picks: Sequence[int]) -> Selection:
    """Return picks with their sums."""
    chosen = [options[pick] for options, pick in zip(layers, picks, strict=True)]
    costs = tuple(math.fsum(column) for column in zip(*(option.costs for option in chosen), strict=True))
    return Selection(tuple(int(pick) for pick in picks), math.fsum(option.noise for option in chosen), costs)


def front(layers: Layers, *, cost: int = 0, budget: float = math.inf) -> list[Selection]:
    """Return the selections that no other beats in both noise and one cost, by rising cost, none above the budget.

    Exact up to 32768 sums after a layer; of more, the one with the least noise stays in each 1024th of the span.
    """
    sums, noises = np.zeros(1), np.zeros(1)
    steps: list[tuple[np.ndarray, np.ndarray]] = []  # where each sum came from, and the option
    cheapest = [min(option.costs[cost] for option in options) for options in layers]
    for number, options in enumerate(layers):
        new_sums = (sums[:, np.newaxis] + [option.costs[cost] for option in options]).reshape(-1)
        new_noises = (noises[:, np.newaxis] + [option.noise for option in options]).reshape(-1)
        least = math.fsum(cheapest[number + 1 :])  # that the layers after it take
        kept = _undominated(new_sums, new_noises, room=_roomy(budget) - least)
        sums, noises = new_sums[kept], new_noises[kept]
        steps.append((kept // len(options), kept % len(options)))
    found: list[Selection] = []
    for state in range(len(sums)):
        picks, place = [], state
        for origins, options_taken in reversed(steps):
            picks.append(int(options_taken[place]))
            place = int(origins[place])
        selection = selection_of(layers, picks[::-1])
        # the sums above are rounded differently, so that some may leave the budget or become equal
        rises = not found or (selection.costs[cost] > found[-1].costs[cost] and selection.noise < found[-1].noise)
        if rises and selection.costs[cost] <= budget:
            found.append(selection)
    return found


def _roomy(budget: float) -> float:
    return budget + 1e-9 * abs(budget)


def _undominated(sums: np.ndarray, noises: np.ndarray, *, room: float) -> np.ndarray:
    """Return the places of the sums within the room that have less noise than all smaller ones, by rising sum."""
    order = np.lexsort((noises, sums))
    order = order[sums[order] <= room]
    before = np.minimum.accumulate(np.concatenate(([math.inf], noises[order])))[:-1]
    kept = order[noises[order] < before]
    if len(kept) <= MOST_STATES:
        return kept
    span = float(sums[kept[-1]] - sums[kept[0]])
    bins = np.floor((sums[kept] - sums[kept[0]]) * (STEPS / span))
    return np.asarray(
        kept[np.append(bins[1:] != bins[:-1], True)]
    )  # noise falls, so the last of each bin has the least


def choose_exact(layers: Layers, budget: float, *, cost: int = 0) -> Selection | None:
    """Return the selection with the least noise within one budget, None if there is none."""
    found = front(layers, cost=cost, budget=budget)
    return found[-1] if found else None


def choose_by_force(layers: Layers, budgets: Sequence[float]) -> Selection | None:
    """Try everything; return the least noise within all budgets. Raises UsageError for more than 10^6 combinations."""
    count = math.prod(len(options) for options in layers)
    if count > MOST_TRIED:
        raise UsageError(f"{count} combinations are too many to try, {MOST_TRIED} at most")
    tried = (selection_of(layers, picks) for picks in product(*(range(len(options)) for options in layers)))
    fitting = [selection for selection in tried if _fits(selection, budgets)]
    return min(fitting, key=lambda selection: (selection.noise, selection.costs), default=None)


def choose_greedy(layers: Layers, budgets: Sequence[float]) -> Selection | None:
    """Return a selection within all budgets with little noise, None where none is found.

    Starts are the selections of least noise plus price times cost, costs in units of their budgets, for prices from
    none to all that matters, evenly or on one cost alone. Each is brought within the budgets by the changes that save
    most of what is too much per noise added, then improved by changes of one layer or of two at a time.
    """
    table = _Table(layers, budgets)
    best: Selection | None = None
    for picks in table.starts():
        if table.repair(picks):
            table.improve(picks)
            found = selection_of(layers, picks.tolist())
            if _fits(found, budgets) and (best is None or found.noise < best.noise):
                best = found
    return best


def _fits(selection: Selection, budgets: Sequence[float]) -> bool:
    return all(cost <= budget for cost, budget in zip(selection.costs, budgets, strict=True))


class _Table:
    """All options of all layers as arrays; costs in units of their budgets, those without a budget left out."""

    def __init__(self, layers: Layers, budgets: Sequence[float]) -> None:
        limited = [place for place, budget in enumerate(budgets) if math.isfinite(budget)]
        units = np.array([budgets[place] or 1.0 for place in limited])
        self.limits = np.array([1.0 if budgets[place] else 0.0 for place in limited])  # (k,)
        self.sizes = [len(options) for options in layers]
        self.first = np.cumsum([0, *self.sizes[:-1]])  # of each layer's options
        self.layer = np.repeat(np.arange(len(layers)), self.sizes)  # (m,) of each option
        self.noises = np.array([option.noise for options in layers for option in options])  # (m,)
        costs = [[option.costs[place] for place in limited] for options in layers for option in options]
        self.costs = np.array(costs, float).reshape(len(self.noises), len(limited)) / units  # (m, k)

    def starts(self) -> list[np.ndarray]:
        """Return picks to start from."""
        count = self.costs.shape[1]
        scale = float(self.noises.max(initial=0.0)) or 1.0
        weights = [np.ones(count), *(np.eye(count) if count > 1 else [])]
        prices = np.concatenate(([0.0], scale * np.logspace(-6, 6, _PRICES)))
        found = {self._priced(price * weight) for weight in weights for price in prices}
        return [np.array(picks) for picks in sorted(found)]

    def _priced(self, prices: np.ndarray) -> tuple[int, ...]:
        totals = self.noises + self.costs @ prices
        return tuple(
            int(np.argmin(totals[start : start + size])) for start, size in zip(self.first, self.sizes, strict=True)
        )

    def repair(self, picks: np.ndarray) -> bool:
        """Change picks until they fit; say whether they do."""
        while True:
            delta_noise, delta_costs, total = self._changes(picks)
            over = np.maximum(total - self.limits, 0).sum()
            if over <= 0:
                return True
            saved = over - np.maximum(total + delta_costs - self.limits, 0).sum(axis=1)
            if not np.any(saved > 1e-12):
                return False
            gain = np.where(saved > 1e-12, saved / np.maximum(delta_noise, 1e-30), -math.inf)
            self._apply(picks, int(np.argmax(gain)))

    def improve(self, picks: np.ndarray) -> None:
        """Change one layer or two at a time while that lowers the noise within the budgets."""
        while True:
            delta_noise, delta_costs, total = self._changes(picks)
            room = self.limits - total
            pairs = delta_noise[:, np.newaxis] + delta_noise  # (m, m); an option that is taken changes nothing
            fits = np.ones(pairs.shape, bool)
            for column in range(delta_costs.shape[1]):
                fits &= delta_costs[:, np.newaxis, column] + delta_costs[:, column] <= room[column]
            fits &= self.layer[:, np.newaxis] != self.layer
            one, other = np.unravel_index(np.argmin(np.where(fits, pairs, math.inf)), pairs.shape)
            if not fits[one, other] or not pairs[one, other] < -1e-12 * max(1e-30, self.noises.max()):
                return
            self._apply(picks, int(one))
            self._apply(picks, int(other))

    def _changes(self, picks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what each option would change: noise (m,) and costs (m, k), and the sums of costs now (k,)."""
        taken = self.first + picks
        now = taken[self.layer]
        return self.noises - self.noises[now], self.costs - self.costs[now], self.costs[taken].sum(axis=0)

    def _apply(self, picks: np.ndarray, option: int) -> None:
        picks[self.layer[option]] = option - self.first[self.layer[option]]


def nondominated(points: Sequence[Sequence[float]]) -> list[int]:
    """Return the places of the points that no other equals or beats in everything, smaller being better; of equal
    points the first."""
    values = np.array(points, float)
    kept = []
    for place, point in enumerate(values):
        no_worse = np.all(values <= point, axis=1)
        better = no_worse & np.any(values < point, axis=1)
        if not better.any() and not no_worse[:place].any():
            kept.append(place)
    return kept

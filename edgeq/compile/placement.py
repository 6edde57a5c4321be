# SPDX-License-Identifier: Apache-2.0
"""Place buffers with known lifetimes into one arena, as low as several greedy orders and a short search get it.

Offline dynamic storage allocation; the greedy-by-size order is that of Pisarchyk and Lee 2020 (arXiv 2001.03288) and
is always among the candidates, so the result is never above it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgeq.compile.plan import ALIGNMENT


@dataclass(frozen=True)
class Allocation:
    """``bytes`` that are needed from step ``first`` to step ``last``, both included."""

    bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Placement:
    """An offset for each allocation, the arena that they need, and what no placement can go below."""

    offsets: tuple[int, ...]
    arena_bytes: int
    lower_bound_bytes: int


def align(size: int) -> int:
    """Round up to the alignment of arena buffers."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def lower_bound(allocations: Sequence[Allocation]) -> int:
    """Return the largest sum of aligned bytes that are live during one step."""
    changes: dict[int, int] = {}
    for item in allocations:
        changes[item.first] = changes.get(item.first, 0) + align(item.bytes)
        changes[item.last + 1] = changes.get(item.last + 1, 0) - align(item.bytes)
    live = peak = 0
    for step in sorted(changes):
        live += changes[step]
        peak = max(peak, live)
    return peak


def place(allocations: Sequence[Allocation], *, search_rounds: int = 200) -> Placement:
    """Give every allocation an aligned offset such that no two that are live together overlap. Deterministic."""
    bound = lower_bound(allocations)
    overlaps = _overlaps(allocations)
    best: tuple[int, tuple[int, ...]] | None = None
    order: list[int] = []
    for key in _ORDERS:
        candidate = sorted(range(len(allocations)), key=lambda i: (key(allocations[i]), i))
        offsets, arena = _first_fit(allocations, overlaps, candidate)
        if best is None or arena < best[0]:
            best, order = (arena, offsets), candidate
        if best[0] == bound:
            break
    assert best is not None
    if len(allocations) <= 400 and best[0] > bound:
        best = _search(allocations, overlaps, order, best, bound, search_rounds)
    return Placement(best[1], best[0], bound)


_ORDERS: tuple[Callable[[Allocation], tuple[int, ...]], ...] = (
    lambda item: (-item.bytes, item.first),  # greedy by size
    lambda item: (-(item.last - item.first), -item.bytes),
    lambda item: (item.first, -item.bytes),
    lambda item: (-item.bytes * (item.last - item.first + 1), item.first),
)


def _overlaps(allocations: Sequence[Allocation]) -> list[list[int]]:
    """List, for each allocation, the others that are live at the same time."""
    starts = np.array([item.first for item in allocations], np.int64)
    ends = np.array([item.last for item in allocations], np.int64)
    found = []
    for index, item in enumerate(allocations):
        mask = (starts <= item.last) & (ends >= item.first)
        mask[index] = False
        found.append([int(other) for other in np.flatnonzero(mask)])
    return found


def _first_fit(
    allocations: Sequence[Allocation], overlaps: list[list[int]], order: Sequence[int]
) -> tuple[tuple[int, ...], int]:
    """Place in the given order, each at the lowest gap that holds it; return (offsets, arena bytes)."""
    offsets = [-1] * len(allocations)
    arena = 0
    for index in order:
        size = align(allocations[index].bytes)
        taken = sorted(
            (offsets[other], offsets[other] + align(allocations[other].bytes))
            for other in overlaps[index]
            if offsets[other] >= 0
        )
        offset = 0
        for start, end in taken:
            if start - offset >= size:
                break
            offset = max(offset, end)
        offsets[index] = offset
        arena = max(arena, offset + size)
    return tuple(offsets), arena


def _search(
    allocations: Sequence[Allocation],
    overlaps: list[list[int]],
    order: list[int],
    best: tuple[int, tuple[int, ...]],
    bound: int,
    rounds: int,
) -> tuple[int, tuple[int, ...]]:
    """Move allocations that reach the top of the arena to the front of the order, and swap at random."""
    rng = np.random.default_rng(0)
    current = list(order)
    for _ in range(rounds):
        if best[0] == bound or len(order) < 2:
            break
        trial = list(current)
        tops = [i for i in trial if best[1][i] + align(allocations[i].bytes) == best[0]]
        moved = (
            tops[int(rng.integers(len(tops)))] if tops and rng.random() < 0.5 else trial[int(rng.integers(len(trial)))]
        )
        trial.remove(moved)
        trial.insert(int(rng.integers(len(trial) + 1)), moved)
        offsets, arena = _first_fit(allocations, overlaps, trial)
        if arena <= best[0]:
            best, current = (arena, offsets), trial
    return best

# SPDX-License-Identifier: Apache-2.0
"""Arena placement: legal, never worse than greedy-by-size, at the lower bound where one exists."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq.compile.placement import Allocation, align, lower_bound, place

allocations = st.lists(
    st.builds(
        lambda size, first, length: Allocation(size, first, first + length),
        st.integers(1, 300),
        st.integers(0, 12),
        st.integers(0, 6),
    ),
    min_size=1,
    max_size=12,
)


def _greedy_by_size(items: list[Allocation]) -> int:
    """The published baseline, written on its own."""
    placed: list[tuple[int, Allocation]] = []
    arena = 0
    for item in sorted(items, key=lambda a: (-a.bytes, a.first)):
        offset = 0
        for start, other in sorted(placed, key=lambda pair: pair[0]):
            if other.first > item.last or other.last < item.first:
                continue
            if start >= offset + align(item.bytes):
                break
            offset = max(offset, start + align(other.bytes))
        placed.append((offset, item))
        arena = max(arena, offset + align(item.bytes))
    return arena


@given(allocations)
def test_no_two_live_buffers_overlap(items: list[Allocation]) -> None:
    placed = place(items)
    for i, (a, start) in enumerate(zip(items, placed.offsets, strict=True)):
        assert start % 16 == 0
        assert start + a.bytes <= placed.arena_bytes
        for b, other in list(zip(items, placed.offsets, strict=True))[:i]:
            apart = a.last < b.first or b.last < a.first
            assert apart or start + a.bytes <= other or other + b.bytes <= start


@given(allocations)
def test_never_worse_than_greedy_by_size_nor_below_the_bound(items: list[Allocation]) -> None:
    placed = place(items)
    assert placed.lower_bound_bytes <= placed.arena_bytes <= _greedy_by_size(items)


def test_lower_bound_is_the_largest_live_sum() -> None:
    items = [Allocation(32, 0, 1), Allocation(48, 1, 2), Allocation(16, 3, 3)]
    assert lower_bound(items) == 80


@pytest.mark.parametrize("seed", range(20))
def test_small_cases_reach_the_best_order(seed: int) -> None:
    """First-fit over every order is a strong reference for five buffers."""
    rng = np.random.default_rng(seed)
    items = [
        Allocation(int(rng.integers(1, 8)) * 16, first, first + int(rng.integers(0, 4)))
        for first in (int(rng.integers(0, 5)) for _ in range(5))
    ]

    def first_fit(order: tuple[int, ...]) -> int:
        offsets: dict[int, int] = {}
        for index in order:
            taken = sorted(
                (offsets[j], offsets[j] + items[j].bytes)
                for j in offsets
                if items[j].first <= items[index].last and items[j].last >= items[index].first
            )
            offset = 0
            for start, end in taken:
                if start - offset >= items[index].bytes:
                    break
                offset = max(offset, end)
            offsets[index] = offset
        return max(offsets[i] + items[i].bytes for i in offsets)

    best = min(first_fit(order) for order in permutations(range(5)))
    assert place(items).arena_bytes <= best


def test_same_input_gives_the_same_placement() -> None:
    rng = np.random.default_rng(1)
    items = [Allocation(int(s), int(f), int(f) + 3) for s, f in rng.integers(1, 500, (60, 2)) % [500, 40] + [1, 0]]
    assert place(items) == place(items)


def _chain(sizes: list[int], distances: list[int | None]) -> list[Allocation]:
    """Each buffer is read by the step that writes the next one, which may lie that far below it."""
    return [
        Allocation(size, index - 1, index, over=() if distance is None else ((index - 1, distance),))
        for index, (size, distance) in enumerate(zip(sizes, [None, *distances], strict=True))
    ]


chains = st.integers(1, 8).flatmap(
    lambda n: st.builds(
        _chain,
        st.lists(st.integers(1, 300), min_size=n, max_size=n),
        st.lists(st.one_of(st.none(), st.integers(-50, 300)), min_size=n - 1, max_size=n - 1),
    )
)


@given(chains)
def test_outputs_reach_into_their_input_as_far_as_they_may(items: list[Allocation]) -> None:
    placed = place(items)
    assert placed.lower_bound_bytes <= placed.arena_bytes <= _greedy_by_size(items)
    for (a, start), (b, other) in zip(
        list(zip(items, placed.offsets, strict=True)), list(zip(items, placed.offsets, strict=True))[1:], strict=False
    ):
        follows = any(start - other >= distance for _, distance in b.over)
        assert follows or start + a.bytes <= other or other + b.bytes <= start


def test_a_chain_of_equal_buffers_shifts_down_by_its_distances() -> None:
    placed = place(_chain([1600, 1600, 1600], [160, 320]))
    assert placed.offsets == (480, 320, 0)
    assert placed.arena_bytes == 2080
    assert placed.lower_bound_bytes == 1920


def test_parts_of_a_buffer_keep_their_distance_and_leave_their_gaps() -> None:
    parts = [Allocation(64, 0, 1, buffer=1), Allocation(64, 0, 3, buffer=1, start=64)]
    placed = place([*parts, Allocation(64, 2, 3)])
    assert placed.offsets[1] - placed.offsets[0] == 64
    assert placed.offsets[2] == placed.offsets[0]
    assert placed.arena_bytes == placed.lower_bound_bytes == 128

# SPDX-License-Identifier: Apache-2.0
"""Place buffers with known lifetimes into one arena, as low as several greedy orders and a short search get it.

Offline dynamic storage allocation; the greedy-by-size order is that of Pisarchyk and Lee 2020 (arXiv 2001.03288) and
is always among the candidates, so the result is never above it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeq.compile.plan import ALIGNMENT, union_bytes

ALONE = -1
_MAX_SEARCHED = 400  # buffers; the search takes time that grows with their square


@dataclass(frozen=True)
class Allocation:
    """``bytes`` that are needed from step ``first`` to step ``last``, both included.

    Allocations of one ``buffer`` keep their distances, each ``start`` bytes (a multiple of ALIGNMENT) from its begin;
    their caller has made sure that they do not disturb one another. ``over`` lists (other allocation, distance): the
    two may share memory where offset of the other - own offset >= distance.
    """

    bytes: int
    first: int
    last: int
    buffer: int = ALONE
    start: int = 0
    over: tuple[tuple[int, int], ...] = ()


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
    """Return the largest over all steps of the least bytes that can hold what is live during the step."""
    events = sorted({step for item in allocations for step in (item.first, item.last)})
    starting: dict[int, list[int]] = {}
    for index, item in enumerate(allocations):
        starting.setdefault(item.first, []).append(index)
    live: list[int] = []
    peak = 0
    for step in events:
        live = [index for index in [*live, *starting.get(step, [])] if allocations[index].last >= step]
        peak = max(peak, _least_bytes(allocations, live))
    return peak


def _least_bytes(allocations: Sequence[Allocation], live: list[int]) -> int:
    """Return the bytes of live allocations: those of one buffer counted once, overlaps as far as they may go."""
    spans: dict[int, list[tuple[int, int]]] = {}
    saved = 0
    present = set(live)
    for index in live:
        item = allocations[index]
        spans.setdefault(_buffer_key(item, index), []).append((item.start, item.start + align(item.bytes)))
        for other, distance in item.over:
            if other in present:
                size, own = align(allocations[other].bytes), align(item.bytes)
                saved += max(0, size + own - max(own, size, size + align(distance)))
    return sum(union_bytes(found) for found in spans.values()) - saved


def _buffer_key(item: Allocation, index: int) -> int:
    """Number the buffers: lone allocations below 0."""
    return item.buffer if item.buffer != ALONE else ~index


Spans = list[tuple[int, int]]  # open intervals


@dataclass
class _Buffer:
    """Allocations that move together, and how far each other buffer must stay away."""

    parts: list[int]
    bytes: int
    first: int
    last: int
    conflicts: list[tuple[int, Spans]] = field(default_factory=list)  # (buffer, illegal own base - its base)
    apart: list[tuple[int, Spans]] = field(default_factory=list)  # the same without any overlap


def place(allocations: Sequence[Allocation], *, search_rounds: int = 200) -> Placement:
    """Give every allocation an aligned offset such that no two that are live together disturb each other.

    Deterministic.
    """
    bound = lower_bound(allocations)
    buffers = _buffers(allocations)
    indices = range(len(buffers))
    best: tuple[int, list[int]] | None = None
    order: list[int] = []
    for key in _ORDERS:
        candidate = sorted(indices, key=lambda i: (key(buffers[i]), i))
        arena, bases = _first_fit(buffers, candidate)
        if best is None or arena < best[0]:
            best, order = (arena, bases), candidate
        if best[0] <= bound:
            break
    assert best is not None
    plain = _first_fit(buffers, sorted(indices, key=lambda i: (_ORDERS[0](buffers[i]), i)), overlapping=False)
    best = min(best, plain, key=lambda found: found[0])
    if len(buffers) <= _MAX_SEARCHED and best[0] > bound:
        best = _search(buffers, order, best, bound, search_rounds)
    offsets = [0] * len(allocations)
    for buffer, base in zip(buffers, best[1], strict=True):
        for part in buffer.parts:
            offsets[part] = base + allocations[part].start
    return Placement(tuple(offsets), best[0], bound)


_ORDERS: tuple[Callable[[_Buffer], tuple[int, ...]], ...] = (
    lambda item: (-item.bytes, item.first),  # greedy by size
    lambda item: (-item.last, -item.first, -item.bytes),  # an output before the input that it may lie below
    lambda item: (-(item.last - item.first), -item.bytes),
    lambda item: (item.first, -item.bytes),
    lambda item: (-item.bytes * (item.last - item.first + 1), item.first),
)


def _buffers(allocations: Sequence[Allocation]) -> list[_Buffer]:
    """Gather allocations into buffers and find which of them may not lie where."""
    gathered: dict[int, list[int]] = {}
    for index, item in enumerate(allocations):
        gathered.setdefault(_buffer_key(item, index), []).append(index)
    buffers = [
        _Buffer(
            parts=parts,
            bytes=max(allocations[i].start + align(allocations[i].bytes) for i in parts),
            first=min(allocations[i].first for i in parts),
            last=max(allocations[i].last for i in parts),
        )
        for parts in gathered.values()
    ]
    starts = np.array([buffer.first for buffer in buffers], np.int64)
    ends = np.array([buffer.last for buffer in buffers], np.int64)
    for index, buffer in enumerate(buffers):
        for other in np.flatnonzero((starts <= buffer.last) & (ends >= buffer.first)).tolist():
            if other != index:
                spans, apart = _illegal(allocations, buffer.parts, buffers[other].parts)
                if apart:
                    buffer.conflicts.append((other, spans))
                    buffer.apart.append((other, apart))
    return buffers


def _illegal(allocations: Sequence[Allocation], own: list[int], others: list[int]) -> tuple[Spans, Spans]:
    """Return the differences of two buffers' bases at which they disturb each other, and at which they overlap."""
    spans, apart = [], []
    for i in own:
        a = allocations[i]
        for j in others:
            b = allocations[j]
            if a.first > b.last or b.first > a.last:
                continue
            shift = b.start - a.start
            low, high = shift - a.bytes, shift + b.bytes
            apart.append((low, high))
            for other, distance in b.over:  # a is an input of the step that writes b
                if other == i:
                    high = min(high, shift + distance)
            for other, distance in a.over:
                if other == j:
                    low = max(low, shift - distance)
            if low < high:
                spans.append((low, high))
    return spans, apart


def _first_fit(buffers: list[_Buffer], order: Sequence[int], *, overlapping: bool = True) -> tuple[int, list[int]]:
    """Place in the given order, each at the lowest legal offset; return (arena bytes, bases)."""
    bases = [-1] * len(buffers)
    arena = 0
    for index in order:
        buffer = buffers[index]
        taken = sorted(
            (bases[other] + low, bases[other] + high)
            for other, spans in (buffer.conflicts if overlapping else buffer.apart)
            if bases[other] >= 0
            for low, high in spans
        )
        offset = 0
        for low, high in taken:
            if offset <= low:
                break
            offset = max(offset, align(high))
        bases[index] = offset
        arena = max(arena, offset + buffer.bytes)
    return arena, bases


def _search(
    buffers: list[_Buffer], order: list[int], best: tuple[int, list[int]], bound: int, rounds: int
) -> tuple[int, list[int]]:
    """Move buffers that reach the top of the arena to the front of the order, and swap at random."""
    rng = np.random.default_rng(0)
    current = list(order)
    for _ in range(rounds):
        if best[0] <= bound or len(order) < 2:
            break
        trial = list(current)
        tops = [i for i in trial if best[1][i] + buffers[i].bytes == best[0]]
        moved = (
            tops[int(rng.integers(len(tops)))] if tops and rng.random() < 0.5 else trial[int(rng.integers(len(trial)))]
        )
        trial.remove(moved)
        trial.insert(int(rng.integers(len(trial) + 1)), moved)
        found = _first_fit(buffers, trial)
        if found[0] <= best[0]:
            best, current = found, trial
    return best

# SPDX-License-Identifier: Apache-2.0
"""Reorder steps so that less is live at once."""

from __future__ import annotations

import dataclasses
import heapq
from functools import cached_property

from edgeq.compile.lower import Lowered
from edgeq.compile.placement import align
from edgeq.compile.plan import PlannedStep

MAX_STATES = 1000  # sets of finished steps that the exact search looks at, which takes below a second


def reordered(program: Lowered) -> Lowered | None:
    """Return the program in the order with the lowest peak of live bytes, or None when the given one is as good.

    Exact while few orders are possible, greedy beyond. Deterministic.
    """
    search = _Search(program)
    given = search.peak(range(len(program.steps)))
    order = search.best_order(below=given)
    if order is None or search.peak(order) >= given:
        return None
    return dataclasses.replace(program, steps=tuple(program.steps[index] for index in order))


class _Search:
    """Sets of finished steps are bit masks; bit i is step i of the given order."""

    def __init__(self, program: Lowered) -> None:
        self._program = program
        self._count = len(program.steps)
        self._writer = {value: index for index, step in enumerate(program.steps) for value in step.outputs}
        self._needs = [
            sum(1 << index for index in {self._writer[value] for value in step.inputs if value in self._writer})
            for step in program.steps
        ]

    @cached_property
    def _readers(self) -> dict[int, int]:
        """The steps that read each value of the arena, as a mask; the bit above all steps is the caller."""
        readers = {value: 0 for step in self._program.steps for value in step.outputs}
        readers.update({port.value: 0 for port in self._program.inputs})
        for index, step in enumerate(self._program.steps):
            for value in step.inputs:
                if value in readers:
                    readers[value] |= 1 << index
        for port in self._program.outputs:
            if port.value in readers:
                readers[port.value] |= 1 << self._count
        return readers

    def _bytes(self, value: int) -> int:
        return align(self._program.values[value].bytes)

    def _start_bytes(self) -> int:
        return sum(self._bytes(port.value) for port in self._program.inputs)

    def _run(self, done: int, live: int, index: int) -> tuple[int, int]:
        """Return the bytes that are live during a step and after it."""
        step = self._program.steps[index]
        after = done | 1 << index
        dying = [v for v in dict.fromkeys(step.inputs) if v in self._readers and not self._readers[v] & ~after]
        during = live + sum(self._bytes(value) for value in step.outputs) + align(step.step.scratch_bytes())
        unread = [value for value in step.outputs if not self._readers[value] & ~after]
        rest = live + sum(self._bytes(value) for value in step.outputs)
        rest -= sum(self._bytes(value) for value in (*dying, *unread))
        return during - self._saved(step, dying), rest

    def _saved(self, step: PlannedStep, dying: list[int]) -> int:
        """Return the bytes that a step's output can share with an input that dies."""
        if len(step.outputs) != 1:
            return 0
        own = self._bytes(step.outputs[0])
        if any(
            step.inputs[i] in dying and self._bytes(step.inputs[i]) == own
            for i in step.step.in_place[: len(step.inputs)]
        ):
            return own
        distance = step.step.overlap_distance()
        if distance is None or step.inputs[0] not in dying:
            return 0
        size = self._bytes(step.inputs[0])
        return max(0, size + own - max(own, size, size + align(distance)))

    def peak(self, order: range | list[int]) -> int:
        """Return the most bytes that are live during any step."""
        done, live, peak = 0, self._start_bytes(), 0
        for index in order:
            during, live = self._run(done, live, index)
            peak = max(peak, during)
            done |= 1 << index
        return peak

    def _ready(self, done: int) -> list[int]:
        return [i for i in range(self._count) if not done >> i & 1 and not self._needs[i] & ~done]

    def best_order(self, *, below: int) -> list[int] | None:
        """Return the order with the lowest peak, None when none is below the bound."""
        everything = (1 << self._count) - 1
        waiting = [(0, 0, 0, 0, self._start_bytes())]  # (peak, -steps done, entry number, done, live)
        came: dict[int, tuple[int, int]] = {}  # a set of steps to (the set before, the last step)
        peaks = {0: 0}
        entries = 0
        for _ in range(MAX_STATES):
            if not waiting:
                return None
            peak, finished, _, done, live = heapq.heappop(waiting)
            if peak > peaks[done]:
                continue
            if done == everything:
                return self._path(came)
            for index in self._ready(done):
                during, rest = self._run(done, live, index)
                reached, after = max(peak, during), done | 1 << index
                if reached < min(below, peaks.get(after, below)):
                    peaks[after] = reached
                    came[after] = (done, index)
                    entries += 1
                    heapq.heappush(waiting, (reached, finished - 1, entries, after, rest))
        return self._greedy_order()

    def _path(self, came: dict[int, tuple[int, int]]) -> list[int]:
        order, done = [], (1 << self._count) - 1
        while done:
            done, index = came[done]
            order.append(index)
        return order[::-1]

    def _greedy_order(self) -> list[int]:
        """Run the ready step after which least is live, the one that needs less meanwhile first."""
        done, live, order = 0, self._start_bytes(), []
        for _ in range(self._count):
            index = min(self._ready(done), key=lambda i: (*self._run(done, live, i)[::-1], i))
            _, live = self._run(done, live, index)
            done |= 1 << index
            order.append(index)
        return order

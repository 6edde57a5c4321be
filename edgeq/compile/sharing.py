# SPDX-License-Identifier: Apache-2.0
"""Decide which values are parts of one buffer: in-place steps, and joins and cuts that need not move their pieces."""

from __future__ import annotations

from dataclasses import dataclass

from edgeq.compile.lower import MOVE, Lowered
from edgeq.compile.plan import ALIGNMENT, PlannedStep, lifetimes


@dataclass(frozen=True)
class Shared:
    """For each value its buffer, and where in it the value begins (in bytes, from the buffer's lowest value)."""

    buffers: tuple[int, ...]
    starts: tuple[int, ...]


def share(lowered: Lowered, *, pieces: bool) -> Shared:
    """Join values into buffers wherever that disturbs nothing; without ``pieces`` only for steps that work in place."""
    sharing = _Sharing(lowered)
    for index, planned in enumerate(lowered.steps):
        sharing.join_in_place(planned, index)
        if pieces and planned.op != MOVE:
            sharing.join_pieces(planned, index)
    return sharing.result()


class _Sharing:
    """Buffers while they grow."""

    def __init__(self, lowered: Lowered) -> None:
        self._values = lowered.values
        self._first, self._last = lifetimes(lowered)
        count = len(lowered.values)
        self._buffer = list(range(count))
        self._start = [0] * count
        self._members = [[value] for value in range(count)]
        # the bytes of a value are those of the value `_content` from `_content_start` on
        self._content = list(range(count))
        self._content_start = [0] * count
        self._handed_over: dict[tuple[int, int], int] = {}  # (input, output) to start of output - start of input

    def join_in_place(self, planned: PlannedStep, index: int) -> None:
        """Let the step's only output take over the memory of an input that nobody needs afterwards."""
        if len(planned.outputs) != 1:
            return
        target = planned.outputs[0]
        for position in planned.step.in_place:
            if position >= len(planned.inputs):
                continue
            value = planned.inputs[position]
            positions = {i for i, other in enumerate(planned.inputs) if other == value}
            fits = self._values[value].bytes == self._values[target].bytes and positions <= set(planned.step.in_place)
            if fits and self._hand_over(value, target, 0, index) and self._join(value, target, 0):
                return

    def join_pieces(self, planned: PlannedStep, index: int) -> None:
        """Let inputs that are joined lie in the output, and outputs that are cut in the input."""
        joins = len(planned.outputs) == 1 and len(planned.inputs) > 1
        pairs = [
            (planned.inputs[position], planned.outputs[output], start)
            for position, output, start in planned.step.pieces()
            if start % ALIGNMENT == 0 and self._values[planned.inputs[position]].data is None
        ]
        if joins:
            for value, target, start in [
                pair for pair in pairs if planned.inputs.count(pair[0]) == 1 and self._hand_over(*pair, index)
            ]:
                self._join(value, target, start)
            return
        for value, target, start in pairs:
            self._content[target] = self._content[value]
            self._content_start[target] = self._content_start[value] + start
            if not self._join(value, target, start):
                self._content[target], self._content_start[target] = target, 0

    def _hand_over(self, value: int, target: int, start: int, index: int) -> bool:
        """Note where a value that a step writes may lie over one that dies there; False when it does not."""
        if self._last[value] != index or self._first[target] != index or self._values[value].data is not None:
            return False
        self._handed_over[value, target] = start
        return True

    def _join(self, value: int, target: int, start: int) -> bool:
        """Put two buffers together so that target begins ``start`` bytes after value; False when that disturbs one."""
        ours, theirs = self._members[self._buffer[value]], self._members[self._buffer[target]]
        shift = self._start[value] + start - self._start[target]
        if ours is theirs:
            return shift == 0
        if any(self._clash(a, b, shift) for a in ours for b in theirs):
            return False
        for member in theirs:
            self._start[member] += shift
            self._buffer[member] = self._buffer[value]
        ours += theirs
        return True

    def _clash(self, a: int, b: int, shift: int) -> bool:
        """Say whether two values disturb each other when b's buffer begins ``shift`` bytes after a's."""
        if self._last[a] < self._first[b] or self._last[b] < self._first[a]:
            return False
        start, other = self._start[a], self._start[b] + shift
        if start >= other + self._values[b].bytes or other >= start + self._values[a].bytes:
            return False
        if self._content[a] == self._content[b] and self._content_start[a] - self._content_start[b] == start - other:
            return False
        return self._handed_over.get((a, b)) != other - start and self._handed_over.get((b, a)) != start - other

    def result(self) -> Shared:
        lowest = [
            min(self._start[member] for member in self._members[self._buffer[v]]) for v in range(len(self._start))
        ]
        starts = tuple(start - low for start, low in zip(self._start, lowest, strict=True))
        return Shared(tuple(self._buffer), starts)

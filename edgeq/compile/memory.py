# SPDX-License-Identifier: Apache-2.0
"""Give every value and every scratch memory of a lowered program its place in the arena."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from edgeq.compile.lower import Lowered
from edgeq.compile.placement import Allocation, Placement, place
from edgeq.compile.plan import PlannedStep, lifetimes
from edgeq.compile.sharing import Shared, share
from edgeq.ops.base import MAX_PARTS

# A step with more products than this is worth dividing among the cores of a board (about 0.2 ms on a Cortex-A72, a
# hundred times what waking threads takes). Threads write rows out of order, so such a step's output may not follow its
# input through memory.
THREADED_MACS = 1_000_000


@dataclass(frozen=True)
class Arena:
    """A program, its steps with their scratch placed, and the offset of every value."""

    program: Lowered
    offsets: tuple[int, ...]
    arena_bytes: int
    lower_bound_bytes: int


def place_program(
    lowered: Lowered, *, threads: bool, follow: bool = True, keep_tensors: bool = False, search_rounds: int = 200
) -> Arena:
    """Place a program's memory.

    With ``threads`` the inputs and outputs of large steps stay apart. Without ``follow`` those of all steps do, but for
    what works in place, and each has the scratch with which it is fastest. With ``keep_tensors`` all values stay apart,
    for the whole run.
    """
    alone = Shared(tuple(range(len(lowered.values))), (0,) * len(lowered.values))
    if keep_tensors:
        return _place(lowered, alone, threads=threads, follow=False, search_rounds=search_rounds, keep_tensors=True)
    plain = share(lowered, pieces=False)
    best = _place(lowered, plain, threads=threads, follow=follow, search_rounds=search_rounds)
    joined = share(lowered, pieces=True)
    if joined != plain:
        other = _place(lowered, joined, threads=threads, follow=follow, search_rounds=search_rounds)
        best = other if other.arena_bytes <= best.arena_bytes else best
    return best


def _place(
    lowered: Lowered, shared: Shared, *, threads: bool, follow: bool, search_rounds: int, keep_tensors: bool = False
) -> Arena:
    first, last = lifetimes(lowered)
    if keep_tensors:
        first, last = [-1] * len(first), [len(lowered.steps)] * len(last)
    placed_values = [index for index, value in enumerate(lowered.values) if value.data is None]
    number = {value: index for index, value in enumerate(placed_values)}
    over: dict[int, tuple[tuple[int, int], ...]] = {}
    for index, planned in enumerate(lowered.steps):
        distance = follow_distance(lowered, planned, threads=threads) if follow else None
        if distance is None:
            continue
        source, target = planned.inputs[0], planned.outputs[0]
        if last[source] == index == first[target]:
            over[target] = ((number[source], distance),)
    allocations = [
        Allocation(
            bytes=lowered.values[value].bytes,
            first=first[value],
            last=last[value],
            buffer=shared.buffers[value],
            start=shared.starts[value],
            over=over.get(value, ()),
        )
        for value in placed_values
    ]
    divided = [
        dataclasses.replace(
            step, parts=MAX_PARTS if threads and _is_divided(step) else 1, fast=not follow and not keep_tensors
        )
        for step in lowered.steps
    ]
    scratch_of = {}
    for index, step in enumerate(divided):
        if step.scratch_bytes:
            scratch_of[index] = len(allocations)
            allocations.append(Allocation(step.scratch_bytes, index, index))
    found: Placement = place(allocations, search_rounds=search_rounds)
    steps = tuple(
        dataclasses.replace(step, scratch_offset=found.offsets[scratch_of[index]] if index in scratch_of else 0)
        for index, step in enumerate(divided)
    )
    offsets = tuple(found.offsets[number[value]] if value in number else 0 for value in range(len(lowered.values)))
    program = dataclasses.replace(lowered, steps=steps)
    return Arena(program, offsets, found.arena_bytes, found.lower_bound_bytes)


def follow_distance(lowered: Lowered, planned: PlannedStep, *, threads: bool) -> int | None:
    """Return how far below its input a step's output may lie, None where they must stay apart."""
    if len(planned.inputs) != 1 or lowered.values[planned.inputs[0]].data is not None:
        return None
    if threads and _is_divided(planned):
        return None
    return planned.step.overlap_distance()


def _is_divided(planned: PlannedStep) -> bool:
    return planned.step.divides and planned.step.work() > THREADED_MACS

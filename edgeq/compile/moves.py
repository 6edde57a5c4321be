# SPDX-License-Identifier: Apache-2.0
"""Copy a value back up where a chain of steps, each laid a little below its input, has reached the arena's bottom."""

from __future__ import annotations

import dataclasses

from edgeq.compile.lower import MOVE, Lowered
from edgeq.compile.memory import Arena, follow_distance, place_program
from edgeq.compile.placement import align
from edgeq.compile.plan import PlannedStep, Value, lifetimes
from edgeq.compile.schedule import reordered
from edgeq.ops.copy import CopyStep
from edgeq.ops.movement import MAX_RANK

MACS_PER_BYTE = 64  # a plan may copy one byte for so many products, which costs below 2 % of its time on every ISA
TRIAL_ROUNDS = 10  # of search in a placement that is only compared with others
WORTH = 0.05  # of the arena that copies must save
_TARGETS = (1.0, 1.01, 1.02, 1.03, 1.05, 1.07, 1.1, 1.15, 1.2, 1.3, 1.4, 1.5)  # of the lower bound


def smallest_arena(program: Lowered, *, threads: bool, fit: bool = False) -> Arena:
    """Place a program in the order and with the copies that need least memory."""
    best = place_program(program, threads=threads)
    other = reordered(program)
    if other is not None:
        found = place_program(other, threads=threads)
        best = found if found.arena_bytes < best.arena_bytes else best
    return with_moves(best, threads=threads, fit=fit)


def with_moves(arena: Arena, *, threads: bool, fit: bool = False) -> Arena:
    """Return the smallest arena that a few copies of blocks lead to, or the given one; with ``fit`` many copies too."""
    budget = arena.program.macs if fit else arena.program.macs // MACS_PER_BYTE
    most = arena.arena_bytes - 1 if fit else int(arena.arena_bytes * (1 - WORTH))
    best = arena
    for target in dict.fromkeys(align(int(arena.lower_bound_bytes * factor)) for factor in _TARGETS):
        if target > min(most, best.arena_bytes - 1):
            break
        moved = _insert_moves(arena.program, target, threads=threads)
        if moved is None or _moved_bytes(moved) > budget:
            continue
        found = place_program(moved, threads=threads, search_rounds=TRIAL_ROUNDS)
        if found.arena_bytes <= most and found.arena_bytes < best.arena_bytes:
            best = found
    return (
        best
        if best is arena
        else min(best, place_program(best.program, threads=threads), key=lambda found: found.arena_bytes)
    )


def _moved_bytes(program: Lowered) -> int:
    return sum(program.values[step.inputs[0]].bytes for step in program.steps if step.op == MOVE)


def _insert_moves(program: Lowered, target: int, *, threads: bool) -> Lowered | None:
    """Copy inputs up where their outputs would not fit below them in ``target`` bytes; None when that cannot do.

    Every value is taken to lie as high as it may; place_program finds out whether the rest fits around it.
    """
    first, last = lifetimes(program)
    top = [target - align(value.bytes) for value in program.values]
    height = list(top)
    values, steps = list(program.values), []
    live = _live_bytes(program, first, last)
    for index, planned in enumerate(program.steps):
        steps.append(planned)
        if not planned.inputs or not planned.outputs:
            continue
        source, result = planned.inputs[0], planned.outputs[0]
        distance = follow_distance(program, planned, threads=threads)
        follows = distance is not None and last[source] == index == first[result]
        if follows and live[index] > target:
            assert distance is not None
            if height[source] < align(distance):
                moved, raised = _move(program, planned, len(values))
                if top[source] < align(distance):
                    return None
                values.append(moved)
                steps[-1:] = raised
                height[source] = top[source]
            height[result] = min(top[result], height[source] - align(distance))
        elif any(position < len(planned.inputs) for position in planned.step.in_place):
            height[result] = min(top[result], height[source])
    return dataclasses.replace(program, values=tuple(values), steps=tuple(steps))


def _live_bytes(program: Lowered, first: list[int], last: list[int]) -> list[int]:
    """Return for each step the bytes of what it needs and of what must outlive it, nothing sharing memory."""
    live = [align(planned.step.scratch_bytes()) for planned in program.steps]
    for value, begin, end in zip(program.values, first, last, strict=True):
        if value.data is None:
            for index in range(max(begin, 0), min(end, len(live) - 1) + 1):
                live[index] += align(value.bytes)
    return live


def _move(program: Lowered, planned: PlannedStep, number: int) -> tuple[Value, tuple[PlannedStep, PlannedStep]]:
    """Return a second place for the step's only input, number ``number``, and two steps: the copy, then the step."""
    value = program.values[planned.inputs[0]]
    step = CopyStep(block_bytes=value.bytes, start=0, sizes=(1,) * MAX_RANK, strides=(0,) * MAX_RANK)
    copy = PlannedStep(step, f"{planned.name}/move", MOVE, planned.inputs, (number,))
    moved = dataclasses.replace(value, name=f"{value.name}/moved")
    return moved, (copy, dataclasses.replace(planned, inputs=(number,)))

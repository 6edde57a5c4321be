# SPDX-License-Identifier: Apache-2.0
"""Make a Plan: decide which buffers share memory, then place them."""

from __future__ import annotations

import dataclasses

from edgeq.board import Board
from edgeq.compile.lower import Lowered, lower
from edgeq.compile.placement import Allocation, place
from edgeq.compile.plan import Plan, PlannedStep
from edgeq.errors import DoesNotFitError
from edgeq.ir.graph import Graph
from edgeq.ops.base import Rounding
from edgeq.ops.packing import PORTABLE, layout_code


def make_plan(graph: Graph, *, rounding: Rounding, board: Board | None = None, keep_tensors: bool = False) -> Plan:
    """Lower a quantized graph and place its buffers.

    With ``keep_tensors`` no two values share memory, so that all of them can be read after a run.
    Raises DoesNotFitError when the arena is larger than the board's RAM, and what ``lower`` raises.
    """
    lowered = lower(graph, rounding=rounding)
    groups = _share_in_place(lowered) if not keep_tensors else {i: i for i in range(len(lowered.values))}
    first, last = _lifetimes(lowered, keep_tensors=keep_tensors)

    members: dict[int, list[int]] = {}
    for value, group in groups.items():
        if lowered.values[value].data is None:
            members.setdefault(group, []).append(value)
    allocations = [
        Allocation(
            bytes=max(lowered.values[value].bytes for value in values),
            first=min(first[value] for value in values),
            last=max(last[value] for value in values),
        )
        for values in members.values()
    ]
    scratch_of = {}
    for index, step in enumerate(lowered.steps):
        if step.step.scratch_bytes():
            scratch_of[index] = len(allocations)
            allocations.append(Allocation(step.step.scratch_bytes(), index, index))
    placed = place(allocations)

    offsets = {value: placed.offsets[i] for i, values in enumerate(members.values()) for value in values}
    plan = Plan(
        name=graph.name,
        rounding=rounding.value,
        values=tuple(dataclasses.replace(v, offset=offsets.get(i, 0)) for i, v in enumerate(lowered.values)),
        steps=tuple(
            dataclasses.replace(step, scratch_offset=placed.offsets[scratch_of[i]] if i in scratch_of else 0)
            for i, step in enumerate(lowered.steps)
        ),
        inputs=lowered.inputs,
        outputs=lowered.outputs,
        tensors=lowered.tensors,
        arena_bytes=placed.arena_bytes,
        lower_bound_bytes=placed.lower_bound_bytes,
        keeps_tensors=keep_tensors,
        layout=layout_code(board.weights) if board is not None else PORTABLE,
    )
    if board is not None and board.ram_bytes is not None and plan.arena_bytes > board.ram_bytes:
        raise DoesNotFitError(
            f"arena needs {plan.arena_bytes} bytes, board {board.name} has {board.ram_bytes}",
            hint="choose a smaller model or a board with more memory",
        )
    return plan


def _lifetimes(lowered: Lowered, *, keep_tensors: bool) -> tuple[list[int], list[int]]:
    """Return first and last step of each value: inputs live from -1, outputs to the end."""
    end = len(lowered.steps)
    first, last = [end] * len(lowered.values), [-1] * len(lowered.values)
    for index, step in enumerate(lowered.steps):
        for value in step.outputs:
            first[value], last[value] = index, max(last[value], index)
        for value in step.inputs:
            last[value] = index
    for port in lowered.inputs:
        first[port.value] = -1
    for port in lowered.outputs:
        last[port.value] = end
    if keep_tensors:
        return [-1] * len(first), [end] * len(last)
    return first, last


def _share_in_place(lowered: Lowered) -> dict[int, int]:
    """Map each value to the value whose memory it uses: itself, or that of an input of the step that writes it."""
    _, last = _lifetimes(lowered, keep_tensors=False)
    group = {value: value for value in range(len(lowered.values))}
    for index, planned in enumerate(lowered.steps):
        source = _in_place_source(lowered, planned, index, last)
        if source is not None:
            group[planned.outputs[0]] = group[source]
    return group


def _in_place_source(lowered: Lowered, planned: PlannedStep, index: int, last: list[int]) -> int | None:
    """Return the input whose memory the step's only output may take over, if there is one."""
    if len(planned.outputs) != 1:
        return None
    target = lowered.values[planned.outputs[0]]
    for position in planned.step.in_place:
        if position >= len(planned.inputs):
            continue
        value = planned.inputs[position]
        positions = {i for i, other in enumerate(planned.inputs) if other == value}
        dies_here = last[value] == index and lowered.values[value].data is None
        if dies_here and lowered.values[value].bytes == target.bytes and positions <= set(planned.step.in_place):
            return value
    return None

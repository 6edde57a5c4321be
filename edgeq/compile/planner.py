# SPDX-License-Identifier: Apache-2.0
"""Make a Plan: decide which buffers share memory, then place them."""

from __future__ import annotations

import dataclasses

from edgeq.board import Board
from edgeq.compile.lower import lower
from edgeq.compile.memory import place_program
from edgeq.compile.plan import Plan
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
    arena = place_program(lowered, threads=_divides_steps(board), keep_tensors=keep_tensors)
    plan = Plan(
        name=graph.name,
        rounding=rounding.value,
        values=tuple(
            dataclasses.replace(value, offset=offset)
            for value, offset in zip(arena.program.values, arena.offsets, strict=True)
        ),
        steps=arena.program.steps,
        inputs=arena.program.inputs,
        outputs=arena.program.outputs,
        tensors=arena.program.tensors,
        arena_bytes=arena.arena_bytes,
        lower_bound_bytes=arena.lower_bound_bytes,
        keeps_tensors=keep_tensors,
        layout=layout_code(board.weights) if board is not None else PORTABLE,
    )
    if board is not None and board.ram_bytes is not None and plan.arena_bytes > board.ram_bytes:
        raise DoesNotFitError(
            f"arena needs {plan.arena_bytes} bytes, board {board.name} has {board.ram_bytes}",
            hint="choose a smaller model or a board with more memory",
        )
    return plan


def _divides_steps(board: Board | None) -> bool:
    """Say whether large steps are divided among threads, which costs memory: where a board with several cores is named."""
    return board is not None and (board.cores is None or board.cores > 1)

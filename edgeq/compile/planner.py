# SPDX-License-Identifier: Apache-2.0
"""Make a Plan: decide which buffers share memory, then place them."""

from __future__ import annotations

import dataclasses

from edgeq.board import Board
from edgeq.compile.bands import candidates, find_chain, in_bands
from edgeq.compile.lower import lower
from edgeq.compile.memory import Arena, place_program
from edgeq.compile.moves import TRIAL_ROUNDS, smallest_arena, with_moves
from edgeq.compile.plan import Plan
from edgeq.errors import DoesNotFitError
from edgeq.ir.graph import Graph
from edgeq.ops.base import Rounding
from edgeq.ops.packing import PORTABLE, layout_code

TRIED_BANDS = 8  # ways of running the first layers in bands that are placed, the most promising ones


def make_plan(
    graph: Graph, *, rounding: Rounding, board: Board | None = None, keep_tensors: bool = False, fit: bool = False
) -> Plan:
    """Lower a quantized graph and place its buffers: in as little memory as they need, or as its operators run fastest
    where a board runs Linux.

    With ``keep_tensors`` no two values share memory, so that all of them can be read after a run. With ``fit`` the
    arena is as small as it gets, at the cost of time: no step is divided among threads, values may be copied to other
    places at will, and the first layers may run in bands of rows (edgeq/compile/bands.py).
    Raises DoesNotFitError when the arena is larger than the board's RAM, and what ``lower`` raises.
    """
    lowered = lower(graph, rounding=rounding)
    threads = _divides_steps(board) and not fit
    if keep_tensors:
        arena = place_program(lowered, threads=threads, keep_tensors=True)
    elif _prefers_speed(board) and not fit:
        arena = place_program(lowered, threads=threads, follow=False)
    else:
        arena = smallest_arena(lowered, threads=threads, fit=fit)
        arena = _with_bands(graph, arena, rounding) if fit else arena
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
        recomputed_macs=arena.program.macs - lowered.macs,
        layout=layout_code(board.weights) if board is not None else PORTABLE,
    )
    if board is not None and board.ram_bytes is not None and plan.arena_bytes > board.ram_bytes:
        raise DoesNotFitError(
            f"arena needs {plan.arena_bytes} bytes, board {board.name} has {board.ram_bytes}",
            hint="choose a smaller model or a board with more memory" if fit else "try --fit",
        )
    return plan


def _prefers_speed(board: Board | None) -> bool:
    """Say whether memory is to spare: outputs that follow their inputs keep operators from working on whole images."""
    return board is not None and board.kind in ("host", "linux")


def _divides_steps(board: Board | None) -> bool:
    """Say whether large steps are divided among threads, which costs memory: on a named board with several cores."""
    return board is not None and board.kind != "firmware" and (board.cores is None or board.cores > 1)


def _with_bands(graph: Graph, best: Arena, rounding: Rounding) -> Arena:
    """Return the smallest arena of the given one and those of programs whose first layers run in bands of rows."""
    chain = find_chain(graph)
    if chain is None:
        return best
    found: list[Arena] = []
    promising = sorted(candidates(graph, chain), key=lambda bands: (bands.peak_bytes, len(bands.rows)))
    for bands in promising[:TRIED_BANDS]:
        if bands.peak_bytes < best.arena_bytes:
            program = lower(in_bands(graph, chain, bands), rounding=rounding)
            found.append(place_program(program, threads=False, search_rounds=TRIAL_ROUNDS))
    for arena in sorted(found, key=lambda arena: arena.arena_bytes)[:1]:
        moved = with_moves(arena, threads=False, fit=True)
        best = moved if moved.arena_bytes < best.arena_bytes else best
    return best

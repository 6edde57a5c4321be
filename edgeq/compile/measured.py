# SPDX-License-Identifier: Apache-2.0
"""Put what was measured of a plan's steps into a profile."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgeq.board import Board
from edgeq.compile.plan import Plan
from edgeq.compile.traffic import bytes_moved
from edgeq.ir.result import Profile, Spread, StepMeasure

UNDIVIDED = "no step of this model is divided among threads; convert it for a board with several cores"


def profile_of(
    plan: Plan,
    measures: Mapping[str, np.ndarray],
    *,
    board: Board,
    isa: str,
    threads: int,
    model_bytes: int,
    emulated: bool = False,
    runtime_bytes: int = 0,
    notes: tuple[str, ...] = (),
) -> Profile:
    """Return a profile; measures are arrays (inferences, steps) by unit."""
    medians = [
        {unit: float(np.median(values[:, index])) for unit, values in measures.items()}
        for index in range(len(plan.steps))
    ]
    if threads > 1 and all(planned.parts == 1 for planned in plan.steps):
        notes = (*notes, UNDIVIDED)
    return Profile(
        model=plan.name,
        board=board.name,
        isa=isa,
        threads=threads,
        emulated=emulated,
        inferences=len(next(iter(measures.values()))),
        macs=plan.macs,
        totals={unit: _spread(values.sum(axis=1)) for unit, values in measures.items()},
        steps=tuple(
            StepMeasure(
                index=index,
                name=planned.name,
                op=planned.op,
                measures=medians[index],
                macs=planned.step.macs(),
                bytes_moved=bytes_moved(plan, planned),
                peak_fraction=_peak_fraction(planned.step.macs(), medians[index], board),
            )
            for index, planned in enumerate(plan.steps)
        ),
        arena_bytes=plan.arena_bytes,
        arena_lower_bound_bytes=plan.lower_bound_bytes,
        model_bytes=model_bytes,
        runtime_bytes=runtime_bytes,
        notes=notes,
    )


def _spread(values: np.ndarray) -> Spread:
    return Spread(float(values.min()), float(np.median(values)), float(np.percentile(values, 90)))


def _peak_fraction(macs: int, measures: Mapping[str, float], board: Board) -> float | None:
    """Return MACs over those of a core's multipliers in the same cycles; time counts at the board's clock."""
    cycles = measures.get("cycles:modelled")
    if cycles is None and "ns" in measures and board.clock_hz is not None:
        cycles = measures["ns"] * board.clock_hz / 1e9
    if not macs or not cycles or board.peak_macs_per_cycle is None:
        return None
    return macs / (cycles * board.peak_macs_per_cycle)

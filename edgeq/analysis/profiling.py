# SPDX-License-Identifier: Apache-2.0
"""Measure where an inference on this machine spends its time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgeq.compile.plan import Plan
from edgeq.compile.traffic import bytes_moved
from edgeq.errors import UsageError
from edgeq.ir.result import Profile, Spread, StepMeasure

WARM_UP = 3  # inferences before those that count: caches, page faults, clock
Timer = Callable[[Sequence[np.ndarray]], np.ndarray]


def profile(
    plan: Plan,
    time_steps: Timer,
    codes: Sequence[np.ndarray],
    *,
    isa: str,
    model_bytes: int,
    threads: int = 1,
    inferences: int = 50,
) -> Profile:
    """Time every step over some inferences on ``codes``; ``time_steps`` runs one and returns nanoseconds (steps,).

    Raises UsageError for less than one inference.
    """
    if inferences < 1:
        raise UsageError(f"{inferences} inferences asked, at least 1 expected")
    for _ in range(WARM_UP):
        time_steps(codes)
    times = np.array([time_steps(codes) for _ in range(inferences)])  # (inferences, steps)
    medians = np.median(times, axis=0)
    return Profile(
        model=plan.name,
        board="host",
        isa=isa,
        threads=threads,
        emulated=False,
        inferences=inferences,
        macs=plan.macs,
        totals={"ns": spread(times.sum(axis=1))},
        steps=tuple(
            StepMeasure(
                index,
                planned.name,
                planned.op,
                {"ns": float(medians[index])},
                planned.step.macs(),
                bytes_moved(plan, planned),
            )
            for index, planned in enumerate(plan.steps)
        ),
        arena_bytes=plan.arena_bytes,
        arena_lower_bound_bytes=plan.lower_bound_bytes,
        model_bytes=model_bytes,
    )


def spread(values: np.ndarray) -> Spread:
    """Return minimum, median and 90th percentile."""
    return Spread(float(values.min()), float(np.median(values)), float(np.percentile(values, 90)))

# SPDX-License-Identifier: Apache-2.0
"""Measure where an inference on this machine spends its time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgeq.board import load_board
from edgeq.compile.measured import profile_of
from edgeq.compile.plan import Plan
from edgeq.errors import UsageError
from edgeq.ir.result import Profile

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
    return profile_of(plan, {"ns": times}, board=load_board("host"), isa=isa, threads=threads, model_bytes=model_bytes)

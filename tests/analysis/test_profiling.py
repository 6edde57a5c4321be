# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from small_models import small_plan

from edgeq.analysis.profiling import WARM_UP, profile
from edgeq.compile.plan import Plan
from edgeq.errors import UsageError


def test_medians_and_totals_leave_the_warm_up_out() -> None:
    calls = 0

    def time_steps(codes: Sequence[np.ndarray]) -> np.ndarray:
        nonlocal calls
        calls += 1
        return np.array([1000, 1000]) if calls <= WARM_UP else np.array([10, calls - WARM_UP])

    found = profile(small_plan(), time_steps, [], isa="scalar", model_bytes=7, inferences=5)
    assert calls == WARM_UP + 5
    assert [step.measures["ns"] for step in found.steps] == [10, 3]
    assert (found.totals["ns"].minimum, found.totals["ns"].median) == (11, 13)
    assert found.totals["ns"].p90 == pytest.approx(14.6)
    assert found.unit == "ns"


def test_threads_without_a_step_to_share_are_noted() -> None:
    plan = small_plan()
    stem = dataclasses.replace(plan.steps[0], parts=2)
    divided = dataclasses.replace(plan, steps=(stem, *plan.steps[1:]))

    def notes(plan: Plan, threads: int) -> tuple[str, ...]:
        return profile(plan, lambda codes: np.ones(2), [], isa="scalar", model_bytes=7, threads=threads).notes

    assert "convert it for a board with several cores" in notes(plan, 2)[0]
    assert notes(plan, 1) == notes(divided, 2) == ()


def test_measuring_nothing_is_refused() -> None:
    with pytest.raises(UsageError):
        profile(small_plan(), lambda codes: np.zeros(2), [], isa="scalar", model_bytes=0, inferences=0)

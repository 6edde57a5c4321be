# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from small_models import small_plan

from edgeq.analysis.profiling import WARM_UP, profile
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


def test_measuring_nothing_is_refused() -> None:
    with pytest.raises(UsageError):
        profile(small_plan(), lambda codes: np.zeros(2), [], isa="scalar", model_bytes=0, inferences=0)

# SPDX-License-Identifier: Apache-2.0
"""What eq_model_open promises beyond what the fuzzer looks for: bounded time, and legal models taken."""

from __future__ import annotations

import dataclasses
import time

import pytest
from expensive_models import expensive_plans
from loader import open_status
from make_corpus import MAX_BYTES, plans, without_metadata

from edgeq.compile.plan import Plan
from edgeq.format.write import write_model


@pytest.mark.parametrize(("plan", "status"), [(plan, status) for _, plan, status in expensive_plans()],
                         ids=[name for name, *_ in expensive_plans()])  # fmt: skip
def test_models_that_take_too_long_to_check_are_refused(plan: Plan, status: str) -> None:
    data = write_model(plan)
    started = time.process_time()
    assert open_status(data) == status
    assert time.process_time() - started < 1


def test_every_seed_of_the_fuzzer_is_a_legal_model() -> None:
    found = [(name, open_status(without_metadata(write_model(plan)))) for name, plan in plans()]
    assert len(found) > 200
    assert [name for name, status in found if status != "EQ_OK"] == []


def test_of_steps_that_write_over_their_input_only_elementwise_ones_may_be_divided() -> None:
    plan = dict(plans())["pixels"]
    found = []
    for i, planned in enumerate(plan.steps):
        steps = (*plan.steps[:i], dataclasses.replace(planned, parts=2), *plan.steps[i + 1 :])
        found.append((planned.step.name, open_status(write_model(dataclasses.replace(plan, steps=steps)))))
    assert found == [*[("conv2d", "EQ_ERR_STEP")] * 3, ("lut", "EQ_OK")]


def test_seeds_are_small_enough_to_be_changed() -> None:
    sizes = [len(without_metadata(write_model(plan))) for _, plan in plans()]
    assert sum(size <= MAX_BYTES for size in sizes) > 200

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from small_models import small_plan

from edgeq.analysis.compare import random_inputs, verify
from edgeq.compile.plan import Plan
from edgeq.errors import DeviceError, UsageError
from edgeq.ir.result import RunResult
from edgeq.runtime.reference import reference_tensors, run_reference

PLAN = small_plan()


def _twin(feeds: Sequence[Sequence[np.ndarray]], plan: Plan = PLAN) -> list[RunResult]:
    return [run_reference(plan, codes, crcs=True) for codes in feeds]


def test_the_twin_equals_itself() -> None:
    found = verify(PLAN, random_inputs(PLAN, count=20, seed=1), expected=_twin, found=_twin)
    assert (found.equal, found.steps, found.inferences, found.elements) == (True, 2, 20, 20 * 108)


def test_the_first_differing_step_and_its_element_are_named() -> None:
    """The plan with one changed bias differs at its convolution."""
    changed = small_plan(seed=0)
    conv = changed.steps[0]
    bias = conv.step.bias.copy()
    bias[1] += 10000
    changed = dataclasses.replace(
        changed,
        steps=(dataclasses.replace(conv, step=dataclasses.replace(conv.step, bias=bias)), *changed.steps[1:]),
    )
    found = verify(
        PLAN,
        random_inputs(PLAN, count=4, seed=1),
        expected=_twin,
        found=lambda feeds: _twin(feeds, changed),
        expected_tensors=lambda codes: reference_tensors(PLAN, codes),
        found_tensors=lambda codes: reference_tensors(changed, codes),
    )
    difference = found.first_difference
    assert difference is not None
    assert (difference.step, difference.name, difference.op) == (0, "stem", "conv2d")
    assert difference.element is not None
    assert difference.element.tensor == "stem"
    assert difference.element.index % 3 == 1
    assert difference.element.expected != difference.element.found


def test_an_output_that_differs_under_equal_crcs_is_a_difference() -> None:
    def wrong(feeds: Sequence[Sequence[np.ndarray]]) -> list[RunResult]:
        good = _twin(feeds)
        return [RunResult(tuple(output + np.int8(1) for output in one.outputs), one.step_crcs) for one in good]

    found = verify(PLAN, random_inputs(PLAN, count=1, seed=0), expected=_twin, found=wrong)
    assert found.first_difference is not None
    assert found.first_difference.step == -1


def test_missing_crcs_are_an_error_and_not_equality() -> None:
    with pytest.raises(DeviceError, match="CRCs"):
        verify(
            PLAN,
            random_inputs(PLAN, count=1, seed=0),
            expected=_twin,
            found=lambda feeds: [run_reference(PLAN, codes) for codes in feeds],
        )


def test_comparing_nothing_is_an_error() -> None:
    with pytest.raises(UsageError, match="nothing"):
        verify(PLAN, [], expected=_twin, found=_twin)


def test_random_inputs_hold_both_extremes_and_repeat_by_seed() -> None:
    drawn = [codes[0] for codes in random_inputs(PLAN, count=5, seed=3)]
    again = [codes[0] for codes in random_inputs(PLAN, count=5, seed=3)]
    assert drawn[0].min() == drawn[0].max() == -128
    assert drawn[1].min() == drawn[1].max() == 127
    assert all(np.array_equal(one, other) for one, other in zip(drawn, again, strict=True))
    assert drawn[2].dtype == np.int8

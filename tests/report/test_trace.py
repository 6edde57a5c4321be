# SPDX-License-Identifier: Apache-2.0
"""The trace keeps the rules of the Trace Event Format, so that its viewers load it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from small_models import small_plan

from edgeq.analysis.profiling import profile
from edgeq.ir.result import Profile, Spread
from edgeq.report.trace import trace_text

PLAN = small_plan()


def _here() -> Profile:
    return profile(PLAN, lambda codes: np.array([4000, 6000]), [], isa="scalar", model_bytes=9, inferences=3)


def _emulated(*units: str) -> Profile:
    found = _here()
    return dataclasses.replace(
        found,
        emulated=True,
        totals={unit: Spread(10, 10, 10) for unit in units},
        steps=tuple(
            dataclasses.replace(step, measures={unit: 5.0 + len(unit) for unit in units}) for step in found.steps
        ),
    )


def _events(found: Profile, kind: str) -> list[dict[str, Any]]:
    parsed = json.loads(trace_text(found, PLAN))
    assert isinstance(parsed["traceEvents"], list)
    return [event for event in parsed["traceEvents"] if event["ph"] == kind]


def test_each_step_is_a_complete_event_after_the_one_before() -> None:
    events = _events(_here(), "X")
    assert [event["name"] for event in events] == [planned.name for planned in PLAN.steps]
    assert [(event["ts"], event["dur"]) for event in events] == [(0, 4), (4, 6)]  # microseconds
    for event in events:
        assert {"pid", "tid", "cat", "args"} <= set(event)
        assert isinstance(event["args"]["macs"], int)


def test_the_counter_track_holds_the_live_bytes_and_ends_at_zero() -> None:
    events = _events(_here(), "C")
    assert [event["ts"] for event in events] == [0, 4, 10]
    assert [event["args"]["bytes"] for event in events] == [*PLAN.live_bytes(), 0]
    assert len({event["name"] for event in events}) == 1


def test_names_of_the_process_and_thread_are_metadata() -> None:
    assert {event["name"] for event in _events(_here(), "M")} == {"process_name", "thread_name"}


@pytest.mark.parametrize(
    ("units", "unit"),
    [(("instructions",), "instructions"), (("instructions", "cycles:modelled"), "cycles:modelled")],
)
def test_an_emulated_trace_names_what_its_axis_counts(units: tuple[str, ...], unit: str) -> None:
    found = _emulated(*units)
    assert json.loads(trace_text(found, PLAN))["otherData"]["unit"] == unit
    process = next(event for event in _events(found, "M") if event["name"] == "process_name")
    assert f"1 of {unit}" in process["args"]["name"]
    assert [event["dur"] for event in _events(found, "X")] == [(5 + len(unit)) / 1000] * 2

# SPDX-License-Identifier: Apache-2.0
"""A profile as a trace that Perfetto and Chrome's about:tracing load (Trace Event Format, JSON)."""

from __future__ import annotations

import json
from typing import Any

from edgeq.compile.plan import Plan
from edgeq.ir.result import Profile

_PROCESS, _THREAD = 1, 1
_UNITS_PER_TICK = 1000  # a tick of the format is a microsecond; one of our units is shown as a nanosecond


def trace(profile: Profile, plan: Plan) -> dict[str, Any]:
    """Return one complete event per step, back to back, and a counter track of the live bytes of the arena.

    An emulated profile has no time: its axis is modelled cycles, or else instructions, one for each nanosecond shown.
    """
    unit = "cycles:modelled" if profile.unit != "ns" and "cycles:modelled" in profile.totals else profile.unit
    where = f"{profile.board}, emulated" if profile.emulated else profile.board
    axis = "" if unit == "ns" else f", 1 ns shown is 1 of {unit}"
    common = {"pid": _PROCESS, "tid": _THREAD}
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", **common, "args": {"name": f"{profile.model} on {where}{axis}"}},
        {"ph": "M", "name": "thread_name", **common, "args": {"name": f"steps ({profile.isa})"}},
    ]
    start = 0.0
    for step, live in zip(profile.steps, plan.live_bytes(), strict=True):
        length = step.measures[unit]
        events.append(_live(start, live))
        events.append(
            {
                "ph": "X",
                "name": step.name,
                "cat": step.op,
                **common,
                "ts": start / _UNITS_PER_TICK,
                "dur": length / _UNITS_PER_TICK,
                "args": {
                    "index": step.index,
                    "op": step.op,
                    "macs": step.macs,
                    "bytes_moved": step.bytes_moved,
                    "peak_fraction": step.peak_fraction,
                    **step.measures,
                },
            }
        )
        start += length
    events.append(_live(start, 0))
    return {
        "traceEvents": events,
        "displayTimeUnit": "ns",
        "otherData": {
            "model": profile.model,
            "board": profile.board,
            "isa": profile.isa,
            "threads": profile.threads,
            "emulated": profile.emulated,
            "unit": unit,
            "arena_bytes": profile.arena_bytes,
        },
    }


def _live(start: float, live: int) -> dict[str, Any]:
    name = "live arena bytes"
    return {"ph": "C", "name": name, "pid": _PROCESS, "ts": start / _UNITS_PER_TICK, "args": {"bytes": live}}


def trace_text(profile: Profile, plan: Plan) -> str:
    """Return the trace as JSON text."""
    return json.dumps(trace(profile, plan), allow_nan=False) + "\n"

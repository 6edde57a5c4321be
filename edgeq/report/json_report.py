# SPDX-License-Identifier: Apache-2.0
"""Reports as JSON with stable schemas: a key is never renamed or dropped within one number; null is "not known"."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from edgeq.analysis.accuracy import Accuracy, Comparison
from edgeq.analysis.compare import Verification
from edgeq.analysis.cost import Cost
from edgeq.analysis.diff import Diff
from edgeq.analysis.fit import Fit
from edgeq.analysis.predict import Prediction
from edgeq.board import Board
from edgeq.compile.plan import Plan, PlanPort, lifetimes
from edgeq.compile.traffic import constant_bytes
from edgeq.ir.result import Profile, Spread
from edgeq.ops.packing import LAYOUT_NAMES


def to_text(report: Mapping[str, Any]) -> str:
    """Return the report as JSON text; infinities become null."""
    return json.dumps(_finite(report), indent=2, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return value


def _memory(
    *,
    arena: int | None,
    lower_bound: int | None,
    model: int | None,
    runtime: int | None = None,
    stack: int | None = None,
    code: int | None = None,
) -> dict[str, int | None]:
    return {
        "arena_bytes": arena,
        "arena_lower_bound_bytes": lower_bound,
        "runtime_bytes": runtime,
        "stack_bytes": stack,
        "model_bytes": model,
        "code_bytes": code,
    }


def _spread(spread: Spread) -> dict[str, float]:
    return {"min": spread.minimum, "median": spread.median, "p90": spread.p90}


def profile_report(profile: Profile) -> dict[str, Any]:
    """Return the edgeq.profile/1 report."""
    unit = profile.unit
    return {
        "schema": "edgeq.profile/1",
        "model": profile.model,
        "board": profile.board,
        "isa": profile.isa,
        "threads": profile.threads,
        "emulated": profile.emulated,
        "inferences": profile.inferences,
        "macs": profile.macs,
        "unit": unit,
        "total": _spread(profile.totals[unit]),
        "measures": {name: _spread(spread) for name, spread in profile.totals.items()},
        "layers": [
            {
                "index": step.index,
                "name": step.name,
                "op": step.op,
                "median": step.measures.get(unit),
                "measures": dict(step.measures),
                "macs": step.macs,
                "bytes_moved": step.bytes_moved,
                "peak_fraction": step.peak_fraction,
            }
            for step in profile.steps
        ],
        "memory": _memory(
            arena=profile.arena_bytes,
            lower_bound=profile.arena_lower_bound_bytes,
            model=profile.model_bytes,
            runtime=profile.runtime_bytes or None,
            stack=profile.stack_bytes or None,
            code=profile.code_bytes or None,
        ),
        "notes": list(profile.notes),
    }


def analyze_report(cost: Cost) -> dict[str, Any]:
    """Return the edgeq.analyze/1 report."""
    fit = cost.fit
    return {
        "schema": "edgeq.analyze/1",
        "macs": cost.macs,
        "parameters": cost.parameters,
        "unsupported": [
            {"node": item.node, "op": item.op, "reason": item.reason, "hint": item.hint} for item in cost.unsupported
        ],
        "memory": _memory(
            arena=cost.arena_bytes,
            lower_bound=cost.lower_bound_bytes,
            model=cost.model_bytes if fit is None else fit.model_bytes,
            runtime=None if fit is None else fit.runtime_bytes,
            stack=None if fit is None else fit.stack_bytes,
            code=None if fit is None else fit.code_bytes,
        ),
        "peak": {
            "layers": [layer.index for layer in cost.peak_layers],
            "tensors": [{"name": name, "bytes": held} for name, held in cost.peak_tensors],
        },
        "flash_bytes": cost.model_bytes if fit is None else fit.flash_bytes,
        "firmware": None if fit is None else _firmware(fit),
        "time": None if cost.time is None else _time(cost.time),
        "fits": cost.fits,
        "layers": [
            {
                "index": layer.index,
                "name": layer.name,
                "op": layer.op,
                "macs": layer.macs,
                "bytes_moved": layer.bytes_moved,
                "live_bytes": layer.live_bytes,
                "cycles": layer.cycles,
            }
            for layer in cost.layers
        ],
    }


def _firmware(fit: Fit) -> dict[str, Any]:
    """What linking the firmware makes: every section, and flash and RAM beside what the board has."""
    return {
        "compiler": fit.compiler,
        "sections": dict(fit.sections),
        "flash": {"bytes": fit.flash_bytes, "capacity": fit.flash_capacity},
        "ram": {"bytes": fit.ram_bytes, "capacity": fit.ram_capacity},
        "stack": {"bound": fit.stack_bytes, "interrupt": fit.interrupt_bytes, "reserved": fit.stack_reserved},
    }


def _time(time: Prediction) -> dict[str, str | float]:
    return {"unit": time.unit, "median": time.median, "low": time.low, "high": time.high}


def eval_report(accuracy: Accuracy) -> dict[str, Any]:
    """Return the edgeq.eval/1 report; ``source`` is there when the model was measured against one.

    ``difference`` is the model's value less the source's, ``drop`` how much worse that is; ``sqnr_db`` is null where
    the outputs are ``equal``.
    """
    return {
        "schema": "edgeq.eval/1",
        "metric": accuracy.metric,
        "value": accuracy.value,
        "interval": list(accuracy.interval),
        "samples": accuracy.samples,
        "larger_is_better": accuracy.larger_is_better,
        "source": None if accuracy.against is None else _against(accuracy, accuracy.against),
    }


def _against(accuracy: Accuracy, against: Comparison) -> dict[str, Any]:
    return {
        "value": against.source.value,
        "interval": list(against.source.interval),
        "difference": {"value": against.difference, "interval": list(against.interval)},
        "drop": accuracy.drop_from(against.source),
        "agreement": against.agreement,
        "equal": against.sqnr_db == math.inf,
        "sqnr_db": against.sqnr_db,
    }


def verify_report(verification: Verification) -> dict[str, Any]:
    """Return the edgeq.verify/1 report."""
    found = verification.first_difference
    difference = None
    if found is not None:
        difference = {
            "inference": found.inference,
            "step": found.step,
            "name": found.name,
            "op": found.op,
            "expected_crc": found.expected_crc,
            "found_crc": found.found_crc,
            "element": None if found.element is None else dict(vars(found.element)),
        }
    return {
        "schema": "edgeq.verify/1",
        "equal": verification.equal,
        "steps": verification.steps,
        "inferences": verification.inferences,
        "elements": verification.elements,
        "first_difference": difference,
    }


def inspect_report(plan: Plan, *, file_bytes: int) -> dict[str, Any]:
    """Return the edgeq.inspect/1 report."""
    first, last = lifetimes(plan)
    live = plan.live_bytes()
    return {
        "schema": "edgeq.inspect/1",
        "name": plan.name,
        "rounding": plan.rounding,
        "weights": LAYOUT_NAMES[plan.layout],
        "keeps_tensors": plan.keeps_tensors,
        "macs": plan.macs,
        "recomputed_macs": plan.recomputed_macs,
        "file_bytes": file_bytes,
        "arena_bytes": plan.arena_bytes,
        "arena_lower_bound_bytes": plan.lower_bound_bytes,
        "inputs": [_port(plan, port) for port in plan.inputs],
        "outputs": [_port(plan, port) for port in plan.outputs],
        "steps": [
            {
                "index": index,
                "name": planned.name,
                "op": planned.op,
                "step": planned.step.name,
                "code": planned.step.code,
                "inputs": list(planned.inputs),
                "outputs": list(planned.outputs),
                "scratch_offset": planned.scratch_offset,
                "scratch_bytes": planned.scratch_bytes,
                "constant_bytes": constant_bytes(planned),
                "macs": planned.step.macs(),
                "live_bytes": live[index],
            }
            for index, planned in enumerate(plan.steps)
        ],
        "tensors": [
            {
                "index": index,
                "name": value.name,
                "shape": list(value.shape),
                "dtype": value.dtype.numpy.name,
                "scales": None if value.quant is None else list(value.quant.scales),
                "zero_points": None if value.quant is None else list(value.quant.zero_points),
                "bytes": value.bytes,
                "constant": value.data is not None,
                "offset": None if value.data is not None else value.offset,
                "first_step": None if value.data is not None else first[index],
                "last_step": None if value.data is not None else last[index],
            }
            for index, value in enumerate(plan.values)
        ],
    }


def _port(plan: Plan, port: PlanPort) -> dict[str, Any]:
    value = plan.values[port.value]
    return {
        "name": port.name,
        "tensor": port.value,
        "shape": list(port.shape),
        "dtype": port.dtype.numpy.name,
        "stored_dtype": value.dtype.numpy.name,
        "scale": None if value.quant is None else value.quant.scale,
        "zero_point": None if value.quant is None else value.quant.zero_point,
    }


def boards_report(boards: Iterable[Board]) -> dict[str, Any]:
    """Return the edgeq.boards/1 report."""
    return {"schema": "edgeq.boards/1", "boards": [asdict(board) for board in boards]}


def ops_report(operators: Mapping[str, Iterable[str]]) -> dict[str, Any]:
    """Return the edgeq.ops/1 report."""
    return {
        "schema": "edgeq.ops/1",
        "operators": [{"op": name, "dtypes": list(dtypes)} for name, dtypes in operators.items()],
    }


def doctor_report(checks: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the edgeq.doctor/1 report."""
    return {"schema": "edgeq.doctor/1", "checks": [dict(check) for check in checks]}


def diff_report(diff: Diff) -> dict[str, Any]:
    """Return the edgeq.diff/1 report."""
    return {
        "schema": "edgeq.diff/1",
        "kind": diff.kind,
        "equal": diff.equal,
        "unit": diff.unit,
        "changes": [dict(vars(change)) for change in diff.changes],
        "layers": [{**vars(layer), "fields": list(layer.fields)} for layer in diff.layers],
    }

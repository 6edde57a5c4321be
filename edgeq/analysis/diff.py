# SPDX-License-Identifier: Apache-2.0
"""What changed between two models, or between two profiles."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeq.compile.plan import Plan, PlannedStep
from edgeq.errors import BadInputError
from edgeq.ops.base import step_fields

PROFILE_SCHEMA = "edgeq.profile/1"


@dataclass(frozen=True)
class Change:
    """One thing of a model or profile as it is in A and in B; None where it is absent."""

    what: str
    a: str | float | None
    b: str | float | None


@dataclass(frozen=True)
class LayerChange:
    """A layer that is in one only, or in both with other parameters (``fields``) or another measure."""

    name: str
    op: str
    status: str  # "changed", "only in A", "only in B"
    fields: tuple[str, ...] = ()
    a: float | None = None
    b: float | None = None


@dataclass(frozen=True)
class Diff:
    """All changes; ``kind`` is "models" or "profiles", ``unit`` that of a profile's layers."""

    kind: str
    changes: tuple[Change, ...]
    layers: tuple[LayerChange, ...]
    unit: str | None = None

    @property
    def equal(self) -> bool:
        return not self.changes and not self.layers


def diff_models(a: Plan, b: Plan, *, bytes_a: int, bytes_b: int) -> Diff:
    """Compare two programs: their facts, and their steps matched by operator and name."""
    facts_a, facts_b = _facts(a, bytes_a), _facts(b, bytes_b)
    changes = tuple(Change(key, facts_a[key], facts_b[key]) for key in facts_a if facts_a[key] != facts_b[key])
    keys_a, keys_b = [_key(step) for step in a.steps], [_key(step) for step in b.steps]
    layers: list[LayerChange] = []
    for kind, a0, a1, b0, b1 in difflib.SequenceMatcher(None, keys_a, keys_b, autojunk=False).get_opcodes():
        if kind == "equal":
            for left, right in zip(a.steps[a0:a1], b.steps[b0:b1], strict=True):
                fields = _changed_fields(left, right)
                if fields:
                    layers.append(LayerChange(left.name, left.op, "changed", fields))
        else:
            layers += [LayerChange(step.name, step.op, "only in A") for step in a.steps[a0:a1]]
            layers += [LayerChange(step.name, step.op, "only in B") for step in b.steps[b0:b1]]
    return Diff("models", changes, tuple(layers))


def _facts(plan: Plan, size: int) -> dict[str, str | float]:
    def ports(which: Any) -> str:
        return ", ".join(f"{port.name} {list(port.shape)} {port.dtype.numpy.name}" for port in which)

    return {
        "name": plan.name,
        "rounding": plan.rounding,
        "inputs": ports(plan.inputs),
        "outputs": ports(plan.outputs),
        "steps": len(plan.steps),
        "macs": plan.macs,
        "arena_bytes": plan.arena_bytes,
        "arena_lower_bound_bytes": plan.lower_bound_bytes,
        "model_bytes": size,
    }


def _key(planned: PlannedStep) -> tuple[str, str]:
    return planned.op, planned.name


def _changed_fields(left: PlannedStep, right: PlannedStep) -> tuple[str, ...]:
    if type(left.step) is not type(right.step):
        return (f"kind of step: {left.step.name} to {right.step.name}",)
    return tuple(
        name
        for name, _, constant in step_fields(type(left.step))
        if (
            getattr(left.step, name) != getattr(right.step, name)
            if constant is None
            else not np.array_equal(getattr(left.step, name).reshape(-1), getattr(right.step, name).reshape(-1))
        )
    )


def is_profile(data: bytes) -> bool:
    """Say whether the bytes look like JSON rather than a model."""
    return data.lstrip()[:1] == b"{"


def diff_profiles(a: bytes, b: bytes) -> Diff:
    """Compare two reports of ``edgeq profile``: totals and layers, in the unit that both measured.

    Raises BadInputError for other JSON, or when the two share no unit.
    """
    left, right = _profile(a, "A"), _profile(b, "B")
    try:
        units = [unit for unit in left["measures"] if unit in right["measures"]]
        if not units:
            raise BadInputError(
                f"the profiles share no unit: A has {', '.join(left['measures'])}, B {', '.join(right['measures'])}"
            )
        unit = left["unit"] if left["unit"] in units else units[0]
        changes = [
            Change(key, left[key], right[key])
            for key in ("model", "board", "isa", "threads", "emulated", "macs")
            if left[key] != right[key]
        ]
        changes += [
            Change(f"{statistic} {unit}", left["measures"][unit][statistic], right["measures"][unit][statistic])
            for statistic in ("min", "median", "p90")
            if left["measures"][unit][statistic] != right["measures"][unit][statistic]
        ]
        changes += [
            Change(key, value, right["memory"].get(key))
            for key, value in left["memory"].items()
            if value != right["memory"].get(key)
        ]
        return Diff("profiles", tuple(changes), _profile_layers(left["layers"], right["layers"], unit), unit)
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInputError(f"a profile lacks what {PROFILE_SCHEMA} promises: {error!r}") from None


def _profile_layers(left: list[Any], right: list[Any], unit: str) -> tuple[LayerChange, ...]:
    keys_a = [(layer["op"], layer["name"]) for layer in left]
    keys_b = [(layer["op"], layer["name"]) for layer in right]
    layers: list[LayerChange] = []
    for kind, a0, a1, b0, b1 in difflib.SequenceMatcher(None, keys_a, keys_b, autojunk=False).get_opcodes():
        if kind == "equal":
            for one, other in zip(left[a0:a1], right[b0:b1], strict=True):
                before, after = one["measures"][unit], other["measures"][unit]
                if before != after:
                    layers.append(LayerChange(one["name"], one["op"], "changed", a=before, b=after))
        else:
            layers += [LayerChange(i["name"], i["op"], "only in A", a=i["measures"][unit]) for i in left[a0:a1]]
            layers += [LayerChange(i["name"], i["op"], "only in B", b=i["measures"][unit]) for i in right[b0:b1]]
    return tuple(layers)


def _profile(data: bytes, which: str) -> Mapping[str, Any]:
    try:
        report = json.loads(data)
    except ValueError as error:
        raise BadInputError(f"profile {which} is not JSON: {error}") from None
    if not isinstance(report, dict) or report.get("schema") != PROFILE_SCHEMA:
        found = report.get("schema") if isinstance(report, dict) else type(report).__name__
        raise BadInputError(f"profile {which} has schema {found!r}, {PROFILE_SCHEMA!r} expected")
    return report

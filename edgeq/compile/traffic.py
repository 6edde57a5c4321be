# SPDX-License-Identifier: Apache-2.0
"""The bytes that a step touches."""

from __future__ import annotations

from edgeq.compile.plan import Plan, PlannedStep
from edgeq.ops.base import step_fields


def bytes_moved(plan: Plan, planned: PlannedStep) -> int:
    """Return the bytes of a step's inputs, constants and outputs, each counted once."""
    values = {*planned.inputs, *planned.outputs}
    return sum(plan.values[value].bytes for value in values) + constant_bytes(planned)


def constant_bytes(planned: PlannedStep) -> int:
    """Return the bytes of the constants that a step carries itself."""
    fields = step_fields(type(planned.step))
    return sum(getattr(planned.step, name).nbytes for name, _, constant in fields if constant is not None)

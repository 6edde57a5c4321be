# SPDX-License-Identifier: Apache-2.0
"""Well-formed plans with so many pairs of operands, steps and ports that opening them would take too long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from edgeq.compile.plan import Plan, PlannedStep, PlanPort, Value
from edgeq.ir.dtypes import DType
from edgeq.ops.base import Step
from edgeq.ops.concatenation import ConcatStep
from edgeq.ops.lut import LutStep
from edgeq.ops.split import SplitStep


def expensive_plans() -> Iterator[tuple[str, Plan, str]]:
    """Yield (name, plan, the status that refuses it); each exceeds the loader's work in one place only."""
    ones = np.ones(8000, np.int32)
    outputs = 5000
    split = SplitStep(outer=1, inner_bytes=ones[:outputs])
    sizes = [outputs] + [1] * outputs
    yield "outputs", _plan(sizes, [(split, [0], range(1, outputs + 1))], inputs=[0]), "EQ_ERR_STEP"

    lut = LutStep(count=1, table=np.zeros(256, np.uint8))
    yield "steps", _plan([1, 1], [(lut, [0], [1])] * 4200, inputs=[0]), "EQ_ERR_ORDER"

    inputs, reads = 3000, 6000
    concat = ConcatStep(outer=1, inner_bytes=ones[:reads])
    read = [i % inputs for i in range(reads)]
    yield "reads", _plan([1] * inputs + [reads], [(concat, read, [inputs])], inputs=range(inputs)), "EQ_ERR_ORDER"

    yield "inputs", _plan([1] * 6000, [], inputs=range(6000)), "EQ_ERR_ORDER"


def _plan(
    sizes: Sequence[int], steps: Sequence[tuple[Step, Sequence[int], Sequence[int]]], *, inputs: Sequence[int]
) -> Plan:
    """A plan over int8 vectors that lie one after the other."""
    values, end = [], 0
    for index, size in enumerate(sizes):
        values.append(Value(f"t{index}", (size,), DType.S8, None, end))
        end += -(-size // 16) * 16
    return Plan(
        name="expensive",
        rounding="native",
        values=tuple(values),
        steps=tuple(PlannedStep(step, "", "", tuple(read), tuple(written)) for step, read, written in steps),
        inputs=tuple(PlanPort("x", index, DType.S8, (sizes[index],)) for index in inputs),
        outputs=(),
        tensors=(),
        arena_bytes=end,
        lower_bound_bytes=end,
    )

# SPDX-License-Identifier: Apache-2.0
"""The NumPy twin: run a Plan's steps on integers, exactly as every C kernel does."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from edgeq.compile.plan import Plan
from edgeq.ir.result import RunResult


def run_reference(plan: Plan, inputs: Sequence[np.ndarray], *, crcs: bool = False) -> RunResult:
    """Run one inference on codes; inputs in the model's order, in the shapes and dtypes of the plan's values."""
    held, step_crcs = _run(plan, inputs, crcs=crcs)
    outputs = tuple(held[port.value].reshape(port.shape) for port in plan.outputs)
    return RunResult(outputs, step_crcs)


def reference_tensors(plan: Plan, inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Run one inference and return every tensor of the source graph that the plan still has, by name."""
    held, _ = _run(plan, inputs, crcs=False)
    return {tensor.name: held[tensor.value].reshape(tensor.shape) for tensor in plan.tensors}


def _run(plan: Plan, inputs: Sequence[np.ndarray], *, crcs: bool) -> tuple[dict[int, np.ndarray], tuple[int, ...]]:
    held: dict[int, np.ndarray] = {i: value.data for i, value in enumerate(plan.values) if value.data is not None}
    for port, codes in zip(plan.inputs, inputs, strict=True):
        held[port.value] = np.asarray(codes).reshape(port.shape)
    step_crcs = []
    for planned in plan.steps:
        results = planned.step.reference_q([held[value].reshape(plan.values[value].shape) for value in planned.inputs])
        crc = 0
        for value, result in zip(planned.outputs, results, strict=True):
            target = plan.values[value]
            codes = np.ascontiguousarray(result)
            if codes.dtype != target.dtype.numpy:
                same_size = codes.dtype.itemsize == target.dtype.bytes and codes.dtype.kind in "iu"
                codes = codes.view(target.dtype.numpy) if same_size else codes.astype(target.dtype.numpy)
            held[value] = codes.reshape(target.shape)
            if crcs:
                crc = zlib.crc32(held[value].tobytes(), crc)
        step_crcs.append(crc)
    return held, tuple(step_crcs) if crcs else ()

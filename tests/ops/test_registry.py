# SPDX-License-Identifier: Apache-2.0
"""Every operator of the registry, held to the same rules through its own random cases."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import graph_of_case, random_codes, rounding_for
from isas import assert_same, forced_isa, host_isas
from stepcall import call_step, layout_of

from edgeq.compile.planner import make_plan
from edgeq.errors import UnsupportedError
from edgeq.format.read import read_model
from edgeq.format.write import write_model
from edgeq.ir.graph import Tensor
from edgeq.ops import all_ops, all_steps
from edgeq.ops.base import Case, Fold, Op, Rounding, View
from edgeq.ops.coded_weights import integers_of
from edgeq.ops.packing import PORTABLE
from edgeq.runtime.native import NativeRunner
from edgeq.runtime.reference import run_reference

CASES = 25
BOUNDARY_ONLY = {"dequantize"}  # operators that have no integer form: they are the model's float boundary

ops = pytest.mark.parametrize("op", [op for op in all_ops() if op.name not in BOUNDARY_ONLY], ids=lambda op: op.name)


def _cases(op: type[Op], count: int = CASES) -> list[tuple[int, np.random.Generator, Case]]:
    found = []
    for seed in range(count):
        rng = np.random.default_rng([seed, len(op.name)])
        found.append((seed, rng, op.sample(rng)))
    return found


def _runtime_inputs(case: Case, rng: np.random.Generator) -> list[np.ndarray | None]:
    """Codes for the run-time inputs; index inputs bring their own data in ``sample``."""
    return [None if t is None else (t.data if t.data is not None else random_codes(rng, t)) for t in case.inputs]


@ops
def test_shapes_are_inferred(op: type[Op]) -> None:
    for seed, _, case in _cases(op):
        shapes = case.op.infer_shape(case.inputs)
        assert [tuple(shape) for shape in shapes] == [tensor.shape for tensor in case.outputs], (
            f"seed {seed}: {case.op}"
        )


@ops
@pytest.mark.parametrize("rounding", list(Rounding), ids=lambda rounding: rounding.value)
def test_c_equals_numpy(op: type[Op], rounding: Rounding) -> None:
    for seed, rng, case in _cases(op):
        if rounding_for(case, rounding) is not rounding:
            with pytest.raises(UnsupportedError, match="low-bit weights"):
                case.op.fold(case.inputs, case.outputs, rounding=rounding)
            continue
        folded = case.op.fold(case.inputs, case.outputs, rounding=rounding)
        if isinstance(folded, View):
            continue
        codes = _runtime_inputs(case, rng)
        read = [codes[position] for position in folded.inputs]
        expected = folded.step.reference_q(read)
        outputs = [np.empty(t.shape, t.dtype.numpy) for t in case.outputs]
        for isa in host_isas():
            layouts = {PORTABLE} if folded.step.packed(layout_of(isa)) is folded.step else {PORTABLE, layout_of(isa)}
            for layout in sorted(layouts):
                found = call_step(folded.step, read, outputs, layout=layout, isa=isa)
                for want, have in zip(expected, found, strict=True):
                    as_have = np.asarray(want).astype(have.dtype).reshape(have.shape)
                    np.testing.assert_array_equal(as_have, have, f"seed {seed}, {isa}: {folded.step}")


@ops
def test_interpreter_equals_numpy_through_a_file(op: type[Op]) -> None:
    for seed, rng, case in _cases(op, 8):
        plan = make_plan(graph_of_case(case), rounding=Rounding.NATIVE)
        data = write_model(plan)
        loaded = read_model(data)
        inputs = [
            codes for codes, t in zip(_runtime_inputs(case, rng), case.inputs, strict=True) if t and t.data is None
        ]
        expected = run_reference(loaded, inputs, crcs=True)
        for isa in host_isas():
            with forced_isa(isa):
                runner = NativeRunner(loaded, data)
            assert runner.isa == isa
            assert_same(runner.run(inputs, crcs=True), expected, f"seed {seed}, {isa}: {case.op}")


@ops
def test_integers_follow_the_real_function(op: type[Op]) -> None:
    """The dequantized result stays within the error that rounding codes, tables and clamps can make."""
    worst = 0.0
    for _, rng, case in _cases(op):
        codes = _runtime_inputs(case, rng)
        found = case.op.reference_q(codes, inputs=case.inputs, outputs=case.outputs, rounding=Rounding.NATIVE)
        reals = [_real(t, c, axis=case.op.weight_axis) for t, c in zip(case.inputs, codes, strict=True)]
        with np.errstate(all="ignore"):
            expected = case.op.reference(reals)
        for tensor, have, want in zip(case.outputs, found, expected, strict=True):
            worst = max(worst, _median_error(tensor, have, np.asarray(want).reshape(tensor.shape)))
    assert worst <= 1.0, f"median error of {worst:.2f} output steps"


def _real(tensor: Tensor | None, codes: np.ndarray | None, *, axis: int) -> np.ndarray | None:
    if tensor is None or codes is None:
        return None
    if tensor.quant is None:
        return codes
    if tensor.coding is not None:
        codes = integers_of(tensor, axis=axis)
    scales, zeros = np.array(tensor.quant.scales, np.float32), np.array(tensor.quant.zero_points)
    if tensor.quant.is_per_channel:
        shape = [1] * codes.ndim
        shape[tensor.quant.axis] = -1
        scales, zeros = scales.reshape(shape), zeros.reshape(shape)
    return ((codes.astype(np.float32) - zeros) * scales).astype(np.float32)


def _median_error(tensor: Tensor, codes: np.ndarray, real: np.ndarray) -> float:
    """The median distance to the ideal code, in codes; the ideal is clamped to the dtype."""
    if tensor.quant is None:
        return float(np.median(np.abs(codes.astype(np.float64) - real)))
    low, high = tensor.dtype.limits
    ideal = np.clip(real.astype(np.float64) / tensor.quant.scale + tensor.quant.zero_point, low, high)
    defined = ~np.isnan(ideal)
    return float(np.median(np.abs(ideal - codes)[defined])) if defined.any() else 0.0


@ops
def test_folding_is_deterministic(op: type[Op]) -> None:
    _, _, case = _cases(op, 1)[0]
    rounding = rounding_for(case, Rounding.TFLITE)
    first = case.op.fold(case.inputs, case.outputs, rounding=rounding)
    second = case.op.fold(case.inputs, case.outputs, rounding=rounding)
    assert repr(first) == repr(second)


def test_every_step_is_reached_by_some_operator() -> None:
    reached = set()
    for op in all_ops():
        if op.name in BOUNDARY_ONLY:
            continue
        for _, _, case in _cases(op):
            try:
                folded = case.op.fold(case.inputs, case.outputs, rounding=Rounding.NATIVE)
            except UnsupportedError:
                continue
            if isinstance(folded, Fold):
                reached.add(folded.step.name)
    assert reached == {step.name for step in all_steps()}

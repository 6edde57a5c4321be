# SPDX-License-Identifier: Apache-2.0
"""Outputs laid over what has been read of an input: C allows exactly what Python promises, and no byte is lost."""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
from graphs import graph_of_case, random_codes, rounding_for
from loader import open_status
from stepcall import library

from edgeq.compile.constants import ConstantPool
from edgeq.compile.plan import ALIGNMENT, Plan, PlannedStep, PlanPort, Value
from edgeq.compile.planner import make_plan
from edgeq.format.params import pack_step
from edgeq.format.write import write_model
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ops import all_ops
from edgeq.ops.base import Rounding, Step
from edgeq.ops.copy import CopyStep
from edgeq.ops.order import ANYWHERE
from edgeq.runtime.native import NativeRunner
from edgeq.runtime.reference import run_reference

APART, OVER, SAME = range(3)
FOLLOWING = ("average_pool_2d", "conv2d", "depthwise_conv2d", "max_pool_2d")  # ops whose output may follow the input


def _plans(names: tuple[str, ...] | None = None) -> Iterator[tuple[Plan, Step]]:
    """Yield plans of one step, from random cases, whose kind of step has a rule on shared memory."""
    for op in all_ops():
        if (names is not None and op.name not in names) or op.name == "dequantize":
            continue
        for seed in range(12 if names is None else 60):
            case = op.sample(np.random.default_rng([seed, 7]))
            plan = make_plan(graph_of_case(case), rounding=rounding_for(case, Rounding.TFLITE), keep_tensors=True)
            if len(plan.steps) == 1 and plan.steps[0].step.shares:
                yield plan, plan.steps[0].step


def _sharing(step: Step, position: int, output: int, ahead: int) -> int:
    pool = ConstantPool()
    params = np.frombuffer(pack_step(step, pool), np.uint8)
    constants = np.frombuffer(bytes(pool.data), np.uint8)
    function = getattr(library(), f"eq_sharing_{step.name}")
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_int64]
    return int(function(params.ctypes.data, constants.ctypes.data, position, output, ahead))


def _overlaid(plan: Plan, ahead: int) -> Plan:
    """The plan with its input ``ahead`` bytes above its output, and scratch above both."""
    (source,), (target,) = plan.steps[0].inputs, plan.steps[0].outputs
    low = max(0, -ahead)
    values = list(plan.values)
    values[source] = dataclasses.replace(values[source], offset=low + ahead)
    values[target] = dataclasses.replace(values[target], offset=low)
    end = -(-max(value.offset + value.bytes for value in values if value.data is None) // ALIGNMENT) * ALIGNMENT
    step = dataclasses.replace(plan.steps[0], scratch_offset=end)
    end += -(-step.step.scratch_bytes() // ALIGNMENT) * ALIGNMENT
    return dataclasses.replace(plan, values=tuple(values), steps=(step,), arena_bytes=end, keeps_tensors=False)


def test_c_allows_an_output_over_its_input_from_the_promised_distance_on() -> None:
    seen = set()
    for _, step in _plans():
        distance = step.overlap_distance()
        seen.add((step.name, distance is None))
        if distance is None:
            pieces = {(position, output, -start) for position, output, start in step.pieces()}
            for ahead in (-64, -1, 0, 1, 16, 64, *(ahead for *_, ahead in pieces)):
                legal = _sharing(step, 0, 0, ahead) != APART
                assert legal == ((0, 0, ahead) in pieces), f"{step} at {ahead}"
        elif distance != ANYWHERE:
            assert _sharing(step, 0, 0, distance) == OVER, f"{step} at {distance}"
            assert _sharing(step, 0, 0, distance - 1) == APART, f"{step} at {distance - 1}"
    names = {name for name, _ in seen}
    assert names == {"conv2d", "coded_conv2d", "depthwise_conv2d", "pool", "copy", "concat", "split"}
    assert {("conv2d", True), ("conv2d", False), ("copy", True), ("copy", False)} <= seen


def test_c_knows_the_places_where_nothing_moves() -> None:
    count = 0
    for _, step in _plans(("concatenation", "split", "slice", "strided_slice", "unpack")):
        for position, output, start in step.pieces():
            count += 1
            assert _sharing(step, position, output, -start) == (OVER if step.name == "concat" else SAME)
            other = OVER if step.name == "copy" else APART
            assert _sharing(step, position, output, -start + 1) == other == _sharing(step, position, output, -start - 1)
    assert count > 50


@pytest.mark.parametrize("name", FOLLOWING)
def test_what_follows_its_input_gives_the_reference_integers(name: str) -> None:
    overlaid = 0
    for index, (plan, step) in enumerate(_plans((name,))):
        distance = step.overlap_distance()
        if distance is None:
            continue
        source, target = (plan.values[ids[0]] for ids in (plan.steps[0].inputs, plan.steps[0].outputs))
        ahead = -(-distance // ALIGNMENT) * ALIGNMENT
        if -source.bytes < ahead < target.bytes:
            close = _overlaid(plan, ahead)
            codes = [random_codes(np.random.default_rng(index), _tensor(plan))]
            found = NativeRunner(close, write_model(close)).run(codes).outputs
            for actual, expected in zip(found, run_reference(close, codes).outputs, strict=True):
                np.testing.assert_array_equal(actual, expected, err_msg=str(step))
            overlaid += 1
        if -source.bytes < ahead - ALIGNMENT < target.bytes:
            assert open_status(write_model(_overlaid(plan, ahead - ALIGNMENT))) == "EQ_ERR_STEP", str(step)
    assert overlaid > 10


def _tensor(plan: Plan) -> Tensor:
    value = plan.values[plan.inputs[0].value]
    return Tensor("x", value.shape, value.dtype)


@pytest.mark.parametrize("ahead", [-320, -48, -16, 0, 16, 48, 320])
def test_a_block_is_copied_from_any_place_to_any_other(ahead: int) -> None:
    step = CopyStep(block_bytes=200, start=8, sizes=(1,) * 6, strides=(0,) * 6)
    values = (Value("x", (256,), DType.S8, None), Value("y", (200,), DType.S8, None))
    ports = [(PlanPort(v.name, i, v.dtype, v.shape),) for i, v in enumerate(values)]
    plan = Plan("copy", "native", values, (PlannedStep(step, "", "", (0,), (1,)),), *ports, (), 0, 0)
    codes = [np.arange(256).astype(np.uint8).view(np.int8)]
    moved = _overlaid(plan, ahead)
    np.testing.assert_array_equal(NativeRunner(moved, write_model(moved)).run(codes).outputs[0], codes[0][8:208])

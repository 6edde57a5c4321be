# SPDX-License-Identifier: Apache-2.0
"""Steps whose multipliers are all powers of two requantize by shifts: when they do, and that no integer changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
from graphs import graph_of_case, random_codes, rounding_for, with_powers_of_two
from isas import host_isas
from stepcall import call_step, layout_of

from edgeq.compile.planner import make_plan
from edgeq.format.read import read_model
from edgeq.format.write import write_model
from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import Mode
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops import all_ops
from edgeq.ops.add import Add
from edgeq.ops.base import Fold, Op, Rounding, Step
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.mean import Mean
from edgeq.ops.packing import PORTABLE

LAYERS = {"conv2d", "depthwise_conv2d", "fully_connected", "transpose_conv", "batch_matmul"}
SHIFTING = LAYERS | {"add", "sub", "mul", "sum", "quantize"}
ops = pytest.mark.parametrize("op", [op for op in all_ops() if op.name in SHIFTING], ids=lambda op: op.name)


def steps(op: type[Op], count: int = 12) -> Iterator[tuple[Step, list[np.ndarray], list[np.ndarray]]]:
    """Steps of cases with powers of two, codes for their inputs, and arrays of their outputs' shapes."""
    for seed in range(count):
        rng = np.random.default_rng([seed, 8])
        case = with_powers_of_two(op.sample(rng))
        folded = case.op.fold(case.inputs, case.outputs, rounding=Rounding.NATIVE)
        if isinstance(folded, Fold):
            read = [case.inputs[position] for position in folded.inputs]
            codes = [random_codes(rng, t) if t.data is None else t.data for t in read if t is not None]
            yield folded.step, codes, [np.empty(t.shape, t.dtype.numpy) for t in case.outputs]


def shifts(step: Step) -> bool:
    return getattr(step, "mode", None) == Mode.SHIFT


@ops
def test_powers_of_two_requantize_by_shifts_to_the_integers_of_mode_single(op: type[Op]) -> None:
    shifted = 0
    for step, codes, outputs in steps(op):
        if not shifts(step):  # 64-bit sums and tables
            assert step.name in {"conv2d_s16", "lut"} or getattr(step, "wide", 0) == 1
            continue
        shifted += 1
        single = dataclasses.replace(step, mode=int(Mode.SINGLE))
        expected = single.reference_q(codes)
        for isa in host_isas():
            for layout in sorted({PORTABLE, layout_of(isa)} if step.packed(layout_of(isa)) is not step else {PORTABLE}):
                for either in (step, single):
                    for want, have in zip(
                        expected, call_step(either, codes, outputs, layout=layout, isa=isa), strict=True
                    ):
                        np.testing.assert_array_equal(np.asarray(want).reshape(have.shape), have, f"{isa}: {either}")
        for want, have in zip(expected, step.reference_q(codes), strict=True):
            np.testing.assert_array_equal(want, have)
    assert shifted >= 3


@ops
def test_other_roundings_keep_their_modes(op: type[Op]) -> None:
    for seed in range(6):
        case = with_powers_of_two(op.sample(np.random.default_rng([seed, 8])))
        if rounding_for(case, Rounding.TFLM) is Rounding.TFLM:
            folded = case.op.fold(case.inputs, case.outputs, rounding=Rounding.TFLM)
            assert not isinstance(folded, Fold) or not shifts(folded.step)


@ops
def test_c_refuses_shifts_beside_another_multiplier(op: type[Op]) -> None:
    for step, codes, outputs in steps(op):
        for name in (field.name for field in dataclasses.fields(step) if "multiplier" in field.name and shifts(step)):
            for m in (2**30 + 1, 0):
                held = getattr(step, name)
                other = m if isinstance(held, int) else np.append(held[:-1], np.int32(m))
                with pytest.raises(AssertionError, match="refused"):
                    call_step(dataclasses.replace(step, **{name: other}), codes, outputs)


def test_scales_that_are_no_powers_of_two_multiply() -> None:
    case = with_powers_of_two(Add.sample(np.random.default_rng(3)))
    (y,) = case.outputs
    assert y.quant is not None
    y = dataclasses.replace(y, quant=QuantParams.of(y.quant.scale * 1.5, y.quant.zero_point))
    folded = case.op.fold(case.inputs, [y], rounding=Rounding.NATIVE)
    assert isinstance(folded, Fold)
    assert folded.step.mode == Mode.SINGLE  # type: ignore[attr-defined]


@pytest.mark.parametrize(("count", "mode"), [(8, Mode.SHIFT), (12, Mode.SINGLE)])
def test_means_of_a_power_of_two_of_elements_are_shifts(count: int, mode: Mode) -> None:
    quant = QuantParams.of(2.0**-5)
    source, target = Tensor("x", (3, count), DType.S8, quant), Tensor("y", (3,), DType.S8, quant)
    step = Mean((1,)).fold([source], [target], rounding=Rounding.NATIVE).step
    assert step.mode == mode  # type: ignore[attr-defined]
    codes = np.random.default_rng(0).integers(-128, 128, (3, count)).astype(np.int8)
    np.testing.assert_array_equal(step.reference_q([codes])[0].reshape(-1), np.floor(codes.mean(axis=1) + 0.5))


def test_channels_that_underflow_shift_everything_out() -> None:
    weights = np.random.default_rng(1).integers(-127, 128, (2, 40)).astype(np.int8)
    tensors = [
        Tensor("x", (5, 40), DType.S8, QuantParams.of(2.0**-4)),
        Tensor("w", (2, 40), DType.S8, QuantParams.per_channel([2.0**-9, 2.0**-40], 0), weights),
        None,
    ]
    target = Tensor("y", (5, 2), DType.S8, QuantParams.of(2.0**-3, 9))
    step = FullyConnected().fold(tensors, [target], rounding=Rounding.NATIVE).step
    assert step.mode == Mode.SHIFT  # type: ignore[attr-defined]
    codes = np.full((5, 40), -128, np.int8)
    (found,) = call_step(step, [codes], [np.empty((5, 2), np.int8)])
    assert np.all(found[:, 1] == 9)
    np.testing.assert_array_equal(found, step.reference_q([codes])[0].reshape(5, 2))


@ops
def test_mode_survives_a_file(op: type[Op]) -> None:
    case = with_powers_of_two(op.sample(np.random.default_rng(5)))
    plan = make_plan(graph_of_case(case), rounding=Rounding.NATIVE)
    loaded = read_model(write_model(plan))
    assert [shifts(planned.step) for planned in loaded.steps] == [shifts(planned.step) for planned in plan.steps]

# SPDX-License-Identifier: Apache-2.0
"""Layers with low-bit weights: the integers that they promise, their size, and what they refuse."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from coded_layers import FORMATS, KIND_OF, coded_layer, with_weights
from stepcall import call_step

from edgeq.errors import EdgeqError, InvalidValueError, UnsupportedError
from edgeq.ir.coding import CodeKind, Coding, shifts_entry
from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import Mode
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Case, Fold, Rounding, Step, step_fields
from edgeq.ops.coded_conv2d import CodedConv2dStep
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.transpose_conv import TransposeConv

WIDE = {"codebook_rows", "fp8"}  # in layers of 9 x 256 inputs; nf4_groups' scales decide


def _folded(case: Case, rounding: Rounding = Rounding.NATIVE) -> CodedConv2dStep:
    folded = case.op.fold(case.inputs, case.outputs, rounding=rounding)
    assert isinstance(folded, Fold)
    assert isinstance(folded.step, CodedConv2dStep)
    return folded.step


def _codes(case: Case, rng: np.random.Generator) -> np.ndarray:
    source = case.inputs[0]
    assert source is not None
    return rng.integers(-128, 128, source.shape).astype(np.int8)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("channels", [8, 256])
def test_sums_are_those_of_the_decoded_weights_rounded_once(name: str, channels: int) -> None:
    """Against Python's integers, zero points and bias unfolded: nothing of the step's own arithmetic is used."""
    rng = np.random.default_rng([channels, len(name)])
    case = coded_layer(name, rng, x=(1, 2, 2, channels), w=(3, 1, 1, channels), group=24)
    step, codes = _folded(case), _codes(case, rng)
    found = step.reference_q([codes])[0].reshape(4, 3)
    x, w, bias = (tensor.data for tensor in case.inputs if tensor is not None)
    assert x is None
    coding = case.inputs[1].coding  # type: ignore[union-attr]
    for pixel, row in np.ndindex(4, 3):
        total = int(bias[row])  # type: ignore[index]
        for k in range(channels):
            meaning = int(coding.meanings()[row % len(coding.meanings()), int(w[row, 0, 0, k])])  # type: ignore
            if coding.group:
                zero = 0 if coding.group_zeros is None else int(coding.group_zeros[row, k // coding.group])
                meaning = (meaning - zero) * int(coding.group_scales[row, k // coding.group])
            total += meaning * (int(codes.reshape(4, -1)[pixel, k]) - 7)
        scaled = (total * int(step.multipliers[row]) * 2 >> (31 - int(step.shifts[row]))) + 1 >> 1
        assert found[pixel, row] == min(max(scaled - 3, -128), 127)


@pytest.mark.parametrize("mode", [Mode.SINGLE, Mode.EXACT])
@pytest.mark.parametrize("name", FORMATS)
def test_c_equals_numpy_for_every_format(name: str, mode: Mode) -> None:
    rng = np.random.default_rng([int(mode), len(name)])
    narrow = coded_layer(name, rng, x=(2, 4, 5, 8), w=(5, 3, 2, 8), group=11, op=Conv2d((2, 1), "same", (1, 2)))
    large = coded_layer(name, rng, x=(1, 3, 3, 256), w=(4, 3, 3, 256))
    for case in (narrow, large):
        step = dataclasses.replace(_folded(case), mode=int(mode))
        codes = _codes(case, rng)
        (expected,) = step.reference_q([codes])
        (found,) = call_step(step, [codes], [expected])
        np.testing.assert_array_equal(found, expected)
        assert len(np.unique(expected)) > 20
    assert bool(_folded(large).wide) == (name in WIDE) or name == "nf4_groups"


ILLEGAL = [
    ("int4", {"bits": 9}),
    ("int4", {"bits": 5}),  # whose rows are longer
    ("int4", {"kind": 6}),
    ("int4", {"kind": -1}),
    ("int4", {"kind": int(CodeKind.LEVELS)}),  # which has a table
    ("int4", {"mantissa_bits": 1}),
    ("int4", {"group": 64}),  # which has scales
    ("int4", {"group": -1}),
    ("int4", {"wide": 1}),
    ("int4", {"wide": 2}),
    ("int4", {"mode": int(Mode.DOUBLE)}),
    ("int4", {"mode": int(Mode.INT16)}),
    ("int4", {"codes": np.zeros((6, 35), np.uint8)}),
    ("int4", {"bias": np.zeros(5, np.int32)}),
    ("int4", {"shifts": np.full(6, 31, np.int8)}),
    ("ternary", {"bits": 3, "codes": np.zeros((6, 27), np.uint8)}),
    ("log4", {"tables": 2}),
    ("log4", {"tables": 0}),
    ("log4", {"levels": np.zeros((1, 15), np.int16)}),
    ("nf4_groups", {"group_zeros": np.zeros((6, 2), np.uint8)}),  # for unsigned codes alone
    ("nf4_groups", {"group_scales": np.zeros((6, 1), np.uint8)}),
    ("uint4_groups", {"group_zeros": np.zeros((6, 1), np.uint8)}),
    ("codebook_rows", {"tables": 1}),
    ("codebook_rows", {"shifts": np.full(6, 15, np.int8)}),  # sums of 64 bits
    ("fp8", {"mantissa_bits": 1}),  # integers of 64 bits
    ("fp8", {"mantissa_bits": 7}),
    ("fp8", {"mantissa_bits": 0}),
]


@pytest.mark.parametrize(("name", "changes"), ILLEGAL)
def test_c_refuses_a_step_that_contradicts_itself(name: str, changes: dict[str, object]) -> None:
    channels = 256 if name == "codebook_rows" else 8
    shape = {"x": (1, 3, 3, channels), "w": (6, 3, 3, channels)}
    step = _folded(coded_layer(name, np.random.default_rng(2), **shape))  # type: ignore[arg-type]
    codes, output = np.zeros((1, 3, 3, channels), np.int8), np.zeros((1, 3, 3, 6), np.int8)
    call_step(step, [codes], [output])
    wrong = dataclasses.replace(step, **changes)  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="refused a legal step"):
        call_step(wrong, [codes], [output])


def _bytes(step: Step) -> int:
    return sum(getattr(step, name).nbytes for name, _, dtype in step_fields(type(step)) if dtype is not None)


@pytest.mark.parametrize(
    ("name", "share"), [("int4", 0.53), ("log4", 0.53), ("nf4_groups", 0.53), ("apot4", 0.53), ("ternary", 0.28)]
)
def test_low_bits_save_what_they_promise(name: str, share: float) -> None:
    """All constants of a layer of 64 x 576 weights, beside those of the same layer in int8."""
    rng = np.random.default_rng(1)
    case = coded_layer(name, rng, x=(1, 4, 4, 64), w=(64, 3, 3, 64), group=64)
    codes = rng.integers(-127, 128, (64, 3, 3, 64)).astype(np.int8)
    plain = with_weights(case, dtype=DType.S8, data=codes, coding=None)
    int8 = plain.op.fold(plain.inputs, plain.outputs, rounding=Rounding.NATIVE)
    assert isinstance(int8, Fold)
    assert _bytes(_folded(case)) <= share * _bytes(int8.step)


def test_depthwise_and_fully_connected_layers_fold_alike() -> None:
    rng = np.random.default_rng(3)
    x, y = (Tensor(n, (1, 4, 4, 6), DType.S8, QuantParams.of(0.1, 3)) for n in "xy")
    weights = Tensor(
        "w", (1, 3, 3, 6), DType.U8, QuantParams.per_channel(np.full(6, 0.01), 3),
        rng.integers(0, 3, (1, 3, 3, 6)).astype(np.uint8), Coding(CodeKind.TERNARY, 2),
    )  # fmt: skip
    step = _folded(Case(DepthwiseConv2d(padding="same"), (x, weights), (y,)))
    assert (step.groups, step.depth, step.codes.shape) == (6, 9, (6, 3))
    flat = dataclasses.replace(x, shape=(2, 48))
    dense = dataclasses.replace(weights, shape=(6, 48), quant=QuantParams.of(0.01), data=np.ones((6, 48), np.uint8))
    target = dataclasses.replace(y, shape=(2, 6))
    step = _folded(Case(FullyConnected(), (flat, dense), (target,)))
    assert (step.groups, step.depth, step.scratch_bytes()) == (1, 48, 0)
    assert np.all(step.reference_q([np.zeros((2, 48), np.int8)])[0] == 3)  # all weights are 0


def _refusal(case: Case, kind: type[EdgeqError], rounding: Rounding = Rounding.NATIVE) -> str:
    with pytest.raises(kind) as caught:
        case.op.fold(case.inputs, case.outputs, rounding=rounding)
    return f"{caught.value} {caught.value.hint or ''}"


def test_other_roundings_and_wide_activations_are_refused_with_a_hint() -> None:
    case = coded_layer("int4", np.random.default_rng(0))
    for rounding in (Rounding.TFLITE, Rounding.TFLM):
        assert "use the native rounding" in _refusal(case, UnsupportedError, rounding)
    x, y = (
        dataclasses.replace(t, dtype=DType.S16, quant=QuantParams.of(0.01)) for t in (case.inputs[0], case.outputs[0])
    )
    wide = dataclasses.replace(case, inputs=(x, *case.inputs[1:]), outputs=(y,))
    assert "int8 weights or int8 activations" in _refusal(wide, UnsupportedError)


def test_transposed_convolutions_refuse_low_bits() -> None:
    case = coded_layer("int4", np.random.default_rng(0), x=(1, 2, 2, 8))
    op = TransposeConv((1, 1), "valid", output_shape=(1, 4, 4, 6))
    (shape,) = op.infer_shape(case.inputs)
    target = dataclasses.replace(case.outputs[0], shape=shape)
    transposed = dataclasses.replace(case, op=op, outputs=(target,))
    assert "give this layer int8 weights" in _refusal(transposed, UnsupportedError)


def test_integers_beyond_64_bit_sums_are_refused() -> None:
    rng = np.random.default_rng(0)
    case = coded_layer("int4", rng)
    floats = with_weights(case, coding=Coding(CodeKind.MINIFLOAT, 8, mantissa_bits=1))
    assert "use more bits of mantissa" in _refusal(floats, UnsupportedError)
    entries = np.array([[shifts_entry((30, 30, 30))] * 16], np.int16)
    groups = np.full((6, 2), 255, np.uint8)
    large = with_weights(case, coding=Coding(CodeKind.SHIFTS, 4, entries, group=36, group_scales=groups))
    assert "2^47 is its limit" in _refusal(large, InvalidValueError)


def test_codes_that_contradict_their_coding_are_refused() -> None:
    rng = np.random.default_rng(0)
    case = coded_layer("int4", rng)
    assert "more than 3 bits" in _refusal(with_weights(case, coding=Coding(CodeKind.TWOS, 3)), InvalidValueError)
    shifted = QuantParams.of(0.01, 3)
    assert "zero point 3" in _refusal(with_weights(case, quant=shifted), InvalidValueError)
    tables = Coding(CodeKind.LEVELS, 4, np.zeros((4, 16), np.int16))
    assert "4 tables, 1 or 6 expected" in _refusal(with_weights(case, coding=tables), InvalidValueError)
    grouped = Coding(CodeKind.TWOS, 4, group=10, group_scales=np.ones((6, 7), np.uint8))
    assert "uint8 [6, 7], uint8 [6, 8] expected" in _refusal(with_weights(case, coding=grouped), InvalidValueError)


def test_every_kind_of_code_has_a_format_here() -> None:
    assert set(KIND_OF.values()) == set(CodeKind)

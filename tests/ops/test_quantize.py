# SPDX-License-Identifier: Apache-2.0
"""Facts about changing from one scale to another."""

from __future__ import annotations

import numpy as np
import pytest
from stepcall import call_step

from edgeq.errors import InvalidValueError, UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Fold, Rounding, View
from edgeq.ops.dequantize import Dequantize
from edgeq.ops.lut import LutStep
from edgeq.ops.quantize import Quantize, RequantStep


def fold(source: Tensor, target: Tensor, rounding: Rounding = Rounding.TFLITE) -> Fold | View:
    return Quantize().fold([source], [target], rounding=rounding)


def test_eight_bit_codes_go_through_a_table() -> None:
    folded = fold(
        Tensor("x", (256,), DType.S8, QuantParams.of(0.5, -128)),
        Tensor("y", (256,), DType.S8, QuantParams.of(1.0, -128)),
    )
    assert isinstance(folded, Fold)
    assert isinstance(folded.step, LutStep)
    codes = np.array([-128, -127, -126, -125, 127], np.int8)
    # halves are rounded away from zero by the two roundings of LiteRT
    assert folded.step.reference_q([codes])[0].view(np.int8).tolist() == [-128, -127, -127, -126, 0]


def test_quantize_to_the_same_parameters_is_a_view() -> None:
    x = Tensor("x", (3,), DType.S8, QuantParams.of(0.1, 5))
    assert fold(x, x) == View()


@pytest.mark.parametrize("rounding", list(Rounding))
def test_int16_codes_equal_exact_rescaling_within_one(rounding: Rounding) -> None:
    source = Tensor("x", (65536,), DType.S16, QuantParams.of(0.0007))
    target = Tensor("y", (65536,), DType.S8, QuantParams.of(0.11, -20))
    folded = fold(source, target, rounding)
    assert isinstance(folded, Fold)
    codes = np.arange(-32768, 32768).astype(np.int16)
    twin = folded.step.reference_q([codes])[0]
    exact = np.clip(np.round(codes * (np.float32(0.0007) / np.float32(0.11)).astype(np.float64)) - 20, -128, 127)
    assert np.abs(twin - exact).max() <= 1
    np.testing.assert_array_equal(call_step(folded.step, [codes], [np.empty(65536, np.int8)])[0], twin)


def test_int8_codes_widen_to_int16() -> None:
    folded = fold(
        Tensor("x", (2,), DType.S8, QuantParams.of(1.0, 10)), Tensor("y", (2,), DType.S16, QuantParams.of(0.01))
    )
    assert isinstance(folded, Fold)
    assert folded.step.reference_q([np.array([10, 11], np.int8)])[0].tolist() == [0, 100]


def test_int16_codes_of_a_far_larger_scale_are_refused() -> None:
    x, y = (Tensor(name, (1,), DType.S16, QuantParams.of(scale)) for name, scale in (("x", 40000.0), ("y", 1.0)))
    with pytest.raises(InvalidValueError, match="less than 16384 times"):
        fold(x, y)


def test_real_values_are_left_to_the_boundary() -> None:
    real, codes = Tensor("x", (1,), DType.F32), Tensor("y", (1,), DType.S8, QuantParams.of(1.0))
    with pytest.raises(UnsupportedError, match="only at the model's boundary"):
        fold(real, codes)
    with pytest.raises(UnsupportedError, match="only at the model's boundary"):
        Dequantize().fold([codes], [real], rounding=Rounding.TFLITE)


@pytest.mark.parametrize(
    "step",
    [
        RequantStep(1, 1, 2, 128, 0, 1 << 30, 1, 0),
        RequantStep(1, 1, 2, 0, 0, 1 << 30, 23, 0),
        RequantStep(1, 1, 2, 0, 0, -1, 1, 0),
        RequantStep(1, 1, 2, 0, 0, 1 << 30, 1, 3),
        RequantStep(1, 1, 3, 0, 0, 1 << 30, 1, 0),
        RequantStep(2, 1, 2, 0, 0, 1 << 30, 1, 0),
    ],
)
def test_native_check_refuses_illegal_parameters(step: RequantStep) -> None:
    with pytest.raises(AssertionError, match="eq_check_requant refused"):
        call_step(step, [np.zeros(1, np.int8)], [np.zeros(1, np.int16)])

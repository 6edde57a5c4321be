# SPDX-License-Identifier: Apache-2.0
"""Unary operators: their tables against real functions, hand-computed codes, and the C kernels of int16."""

from __future__ import annotations

import numpy as np
import pytest
from stepcall import call_step

from edgeq.errors import InvalidValueError, UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.abs import Abs
from edgeq.ops.base import Fold, Op, Rounding
from edgeq.ops.elu import Elu
from edgeq.ops.exp import Exp
from edgeq.ops.gelu import Gelu
from edgeq.ops.hard_swish import HardSwish
from edgeq.ops.leaky_relu import LeakyRelu
from edgeq.ops.logistic import Logistic
from edgeq.ops.relu import Relu, Relu6, ReluN1To1
from edgeq.ops.rsqrt import Rsqrt
from edgeq.ops.tanh import Tanh

CODES = {DType.S8: np.arange(-128, 128, dtype=np.int8), DType.S16: np.arange(-32768, 32768, dtype=np.int32)}
FUNCTIONS = [
    Abs(), Elu(), Exp(), Gelu(), Gelu(approximate=True), HardSwish(), LeakyRelu(0.3), LeakyRelu(-0.5), Relu(),
    Relu6(), ReluN1To1(), Rsqrt(),
]  # fmt: skip


def fold(op: Op, quant_in: QuantParams, quant_out: QuantParams, *, rounding=Rounding.TFLITE, dtype=DType.S8):
    """Return the step of an operator over every code, and those codes."""
    codes = CODES[dtype].astype(dtype.numpy)
    source, target = Tensor("x", codes.shape, dtype, quant_in), Tensor("y", codes.shape, dtype, quant_out)
    folded = op.fold([source], [target], rounding=rounding)
    assert isinstance(folded, Fold)
    return folded.step, codes


def codes_of(op: Op, quant_in: QuantParams, quant_out: QuantParams, **options):
    """Run an operator over every code; returns int64."""
    step, codes = fold(op, quant_in, quant_out, **options)
    found = step.reference_q([codes])[0].view(codes.dtype)
    assert np.array_equal(found, call_step(step, [codes], [codes])[0])
    return found.astype(np.int64)


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("op", FUNCTIONS, ids=repr)
def test_every_table_is_within_one_code_of_the_real_function(op, rounding):
    quant_in, quant_out = QuantParams.of(0.043, -7), QuantParams.of(0.037, 12)
    real = np.float32(0.043) * (CODES[DType.S8].astype(np.float32) + 7)
    with np.errstate(over="ignore"):
        exact = np.nan_to_num(op.reference([real])[0] / np.float32(0.037) + 12, nan=127, posinf=127)
    found = codes_of(op, quant_in, quant_out, rounding=rounding)
    assert np.abs(found - np.clip(exact, -128, 127)).max() <= 1


@pytest.mark.parametrize("scale", [0.002, 0.03, 0.11, 0.5, 2.0])
def test_fixed_point_sigmoid_and_tanh_are_within_one_code_of_the_tables(scale):
    for op, quant_out in ((Logistic(), QuantParams.of(1 / 256, -128)), (Tanh(), QuantParams.of(1 / 128))):
        quant_in = QuantParams.of(scale, 5)
        table = codes_of(op, quant_in, quant_out)
        assert np.abs(codes_of(op, quant_in, quant_out, rounding=Rounding.TFLM) - table).max() <= 1


def test_relu_clamps_at_the_zero_point_and_relu6_at_six():
    quant = QuantParams.of(0.1, -50)
    assert codes_of(Relu(), quant, quant).min() == -50
    assert codes_of(Relu6(), quant, quant).max() == 10
    assert set(codes_of(ReluN1To1(), quant, quant)[[0, -1]]) == {-60, -40}


def test_abs_of_the_smallest_code_saturates():
    quant = QuantParams.of(1.0)
    assert codes_of(Abs(), quant, quant)[0] == 127


def test_leaky_relu_rounds_ties_as_its_mode_says():
    quant = QuantParams.of(1.0)
    at_minus_one = 127
    assert codes_of(LeakyRelu(0.5), quant, quant)[at_minus_one] == 0
    assert codes_of(LeakyRelu(0.25), quant, quant)[at_minus_one - 1] == -1
    assert codes_of(LeakyRelu(0.25), quant, quant, rounding=Rounding.NATIVE)[at_minus_one - 1] == 0


def test_rsqrt_saturates_at_zero_and_below():
    found = codes_of(Rsqrt(), QuantParams.of(1.0), QuantParams.of(1 / 64))
    assert set(found[:129]) == {127}
    assert list(found[[129, 132, 144]]) == [64, 32, 16]


def test_hard_swish_is_zero_below_minus_three_and_the_identity_above_three():
    quant = QuantParams.of(1 / 16)
    found = codes_of(HardSwish(), quant, quant)
    assert set(found[: 128 - 48]) == {0}
    assert np.array_equal(found[128 + 48 :], np.arange(48, 128))


def test_hard_swish_with_too_fine_an_output_is_refused():
    with pytest.raises(UnsupportedError, match="1/128"):
        fold(HardSwish(), QuantParams.of(1.0), QuantParams.of(1 / 256))


@pytest.mark.parametrize("op", [Logistic(), Tanh()], ids=repr)
@pytest.mark.parametrize("dtype", [DType.S8, DType.S16])
def test_prescribed_output_parameters_are_required(op, dtype):
    options = {"rounding": Rounding.TFLM, "dtype": dtype}
    codes_of(op, QuantParams.of(0.001), op.fixed_quant(dtype), **options)
    with pytest.raises(InvalidValueError, match="expected"):
        fold(op, QuantParams.of(0.001), QuantParams.of(0.1), **options)


@pytest.mark.parametrize("scale", [2.0**-12, 2.0**-11, 1 / 12288, 0.00031, 3e-6])
def test_int16_sigmoid_and_tanh_stay_near_the_real_functions(scale):
    real = CODES[DType.S16] * np.float64(np.float32(scale))
    tanh = codes_of(Tanh(), QuantParams.of(scale), QuantParams.of(1 / 32768), dtype=DType.S16)
    logistic = codes_of(Logistic(), QuantParams.of(scale), QuantParams.of(1 / 32768), dtype=DType.S16)
    assert np.abs(tanh - 32768 * np.tanh(real)).max() < 6
    assert np.abs(logistic - 32768 / (1 + np.exp(-real))).max() < 3


def test_int16_tanh_is_odd_up_to_rounding():
    found = codes_of(Tanh(), QuantParams.of(2.0**-12), QuantParams.of(1 / 32768), dtype=DType.S16)
    assert found[32768] == 0
    assert np.abs(found[1:32768] + found[:32768:-1]).max() <= 1


def test_int16_sigmoid_with_a_zero_point_is_refused():
    with pytest.raises(UnsupportedError, match="zero point"):
        fold(Logistic(), QuantParams.of(0.001, 3), QuantParams.of(1 / 32768), dtype=DType.S16)


@pytest.mark.parametrize("op", [Exp(), Elu(), Gelu()], ids=repr)
def test_int16_tables_interpolate_within_a_few_codes(op):
    quant_in, quant_out = QuantParams.of(2.0**-14), QuantParams.of(2.0**-12)
    real = CODES[DType.S16] * 2.0**-14
    found = codes_of(op, quant_in, quant_out, dtype=DType.S16, rounding=Rounding.NATIVE)
    assert np.abs(found - np.clip(op.reference([real])[0] * 2**12, -32768, 32767)).max() <= 3


def test_int16_gelu_is_refused_where_litert_depends_on_its_libm():
    with pytest.raises(UnsupportedError, match="native"):
        fold(Gelu(), QuantParams.of(0.001), QuantParams.of(0.001), dtype=DType.S16)


def test_int16_is_refused_where_only_a_byte_table_is_known():
    for op in (Abs(), Relu(), LeakyRelu(), Rsqrt(), HardSwish()):
        with pytest.raises(UnsupportedError, match="int16"):
            fold(op, QuantParams.of(0.001), QuantParams.of(0.001), dtype=DType.S16)

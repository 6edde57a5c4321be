# SPDX-License-Identifier: Apache-2.0
"""Facts about real values at a model's inputs and outputs."""

from __future__ import annotations

import numpy as np
import pytest

from edgeq.errors import InvalidValueError
from edgeq.ir.boundary import dequantize, quantize_real
from edgeq.ir.dtypes import DType
from edgeq.ir.qparams import QuantParams

UNIT = QuantParams.of(1.0)


def test_ties_round_away_from_zero() -> None:
    values = np.array([0.5, -0.5, 1.5, -2.5], np.float32)
    assert quantize_real(values, UNIT, DType.S8).tolist() == [1, -1, 2, -3]


def test_the_largest_float_below_a_half_rounds_to_zero() -> None:
    value = np.nextafter(np.float32(0.5), np.float32(0))
    assert quantize_real(value, UNIT, DType.S8) == 0


def test_the_quotient_is_rounded_to_float32_first() -> None:
    scale = np.float32(0.1)
    value = np.float32(0.25)  # 0.25 / float32(0.1) is just below 2.5 in double and 2.5 in float32
    assert float(value) / float(scale) < 2.5
    assert quantize_real(value, QuantParams.of(float(scale)), DType.S8) == 3


def test_codes_are_clamped_to_the_dtype() -> None:
    values = np.array([1e30, -1e30, 200.0], np.float32)
    assert quantize_real(values, UNIT, DType.S8).tolist() == [127, -128, 127]
    assert quantize_real(values, QuantParams.of(1e-20, 7), DType.S16).tolist() == [32767, -32768, 32767]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_by_index(bad: float) -> None:
    values = np.zeros((2, 3), np.float32)
    values[1, 1] = bad
    with pytest.raises(InvalidValueError, match="index 4"):
        quantize_real(values, UNIT, DType.S8)


def test_every_code_survives_the_round_trip() -> None:
    codes = np.arange(-128, 128, dtype=np.int8).reshape(16, 16)
    for scale in (1e-6, 0.0039215689, 0.1, 3.7, 1e5):
        quant = QuantParams.of(scale, -17)
        values = dequantize(codes, quant)
        assert values.dtype == np.float32
        np.testing.assert_array_equal(quantize_real(values, quant, DType.S8), codes)


def test_dequantize_rounds_once() -> None:
    quant = QuantParams.of(0.1, -128)
    exact = np.float64(np.float32(0.1)) * 255
    assert dequantize(np.array(127, np.int8), quant) == np.float32(exact)

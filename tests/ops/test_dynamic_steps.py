# SPDX-License-Identifier: Apache-2.0
"""Steps with run-time scales: shapes of every layer, C against the twin, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from dynamic import UNIT, decoded, fold, weights
from stepcall import call_step

from edgeq.errors import GraphError, UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ir.run_time_scale import scale_of_real
from edgeq.ops.base import Activation, Rounding
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.dynamic_linear import DynamicLinear, DynamicLinearStep
from edgeq.ops.dynamic_quantize import DynamicQuantize, DynamicQuantizeStep, dynamic_outputs
from edgeq.ops.dynamic_rows import RowRange
from edgeq.ops.fully_connected import FullyConnected


@pytest.mark.parametrize(
    ("layer", "x", "w"),
    [
        (Conv2d((2, 1), "same", (1, 2)), (4, 7, 6, 6), (8, 3, 2, 3)),
        (DepthwiseConv2d((1, 2), (1, 2, 0, 1)), (4, 5, 6, 3), (1, 3, 3, 6)),
        (DepthwiseConv2d((1, 1), "valid"), (4, 5, 6, 3), (1, 3, 3, 3)),
        (Conv2d(), (4, 3, 3, 5), (7, 1, 1, 5)),
        (Conv2d((2, 2)), (4, 3, 3, 5), (7, 1, 1, 5)),
        (FullyConnected(keep_dims=True), (2, 2, 9), (5, 9)),
    ],
    ids=["conv2d", "depthwise", "plain depthwise", "pointwise", "strided", "fully connected"],
)
def test_every_layer_computes_its_real_function(layer, x, w):
    """Asymmetric codes, whose padding is their zero point."""
    rng = np.random.default_rng(9)
    channels = w[layer.weight_axis]
    quant = QuantParams.per_channel(2.0 ** rng.uniform(-9, -7, channels), layer.weight_axis)
    kernel = Tensor("w", w, DType.S8, quant, rng.integers(-127, 128, w).astype(np.int8))
    b = rng.standard_normal(channels)
    for rows in (1, 2, 4):
        codes = rng.integers(-128, 128, x).astype(np.int8)
        scales = np.array([(*scale_of_real(1 / 64), zero) for zero in rng.integers(-128, 128, rows)], np.int32)
        step = fold(
            layer, x, kernel, b, rows=rows, source=RowRange.ASYMMETRIC, target=(DType.S16, QuantParams.of(1 / 512))
        )
        along = [1] * len(w)
        along[layer.weight_axis] = -1
        real = kernel.data * np.array(quant.scales).reshape(along)
        (expected,) = layer.reference([decoded(codes, scales).reshape(x), real, b])
        (found,) = call_step(step, [codes, scales], [np.empty(expected.shape, np.int16)])
        np.testing.assert_allclose(found / 512, np.clip(expected, -64, 64), atol=1.01 / 512)


def test_c_reads_whatever_lies_in_a_tensor_of_scales_as_the_twin_does():
    rng = np.random.default_rng(10)
    w, _, b = weights(9, 16)
    for row_range in (*RowRange, None):
        target = (DType.S8, QuantParams.of(0.5, 3))
        step = fold(FullyConnected(Activation.RELU6), (64, 16), w, b, rows=64, result=row_range, target=target)
        codes = rng.integers(-128, 128, (64, 16)).astype(np.int8)
        scales = rng.integers(-(2**31), 2**31, (64, 3)).astype(np.int32)
        scales[:32, 1] = rng.integers(-80, 80, 32)
        expected = step.reference_q([codes, scales])
        shapes = [np.empty((64, 9), np.int8), np.empty((64, 3), np.int32)][: len(expected)]
        for want, have in zip(expected, call_step(step, [codes, scales], shapes), strict=True):
            np.testing.assert_array_equal(want.reshape(have.shape), have)


def test_c_quantizes_extreme_rows_as_the_twin_does():
    rng = np.random.default_rng(11)
    for row_range in RowRange:
        for count in (1, 3, 1000, 40_000):
            spread = rng.choice([-32768, 32767, 0, 1], (3, count))
            x = np.where(rng.random((3, count)) < 0.5, spread, rng.integers(-9, 10, (3, count))).astype(np.int16)
            source = Tensor("x", x.shape, DType.S16, QuantParams.of(0.01))
            folded = DynamicQuantize(3, row_range).fold([source], dynamic_outputs(x.shape, 3), rounding=Rounding.NATIVE)
            found = call_step(folded.step, [x], [np.empty(x.shape, np.int8), np.empty((3, 3), np.int32)])
            for want, have in zip(folded.step.reference_q([x]), found, strict=True):
                np.testing.assert_array_equal(want, have)


# ------------------------------------------------------------------------------------------------ refusals


LINEAR = {
    "rows": 3, "groups": 3, "row_range": 4, "deviations": -1, "unit": (0, 0), "step": (2**30, 2**14 + 1),
    "bias_unit": (-1, 0), "bound_unit": (2**30 - 1, 0), "sums": np.zeros(3, np.int32), "kernel": (0, 1),
    "input": (4, 1, 1, 8), "output": (5, 1, 1, 9), "shifts": np.full(9, 31, np.int8),
}  # fmt: skip
QUANTIZE = {
    "rows": 0, "row": 15, "element_bytes": 3, "zero": 128, "row_range": 3, "deviations": 2**16 + 1, "source": (1, 1),
    "step": (2**30, -(2**14) - 1),
}  # fmt: skip


@pytest.mark.parametrize("field", LINEAR)
def test_c_refuses_a_linear_step_that_contradicts_itself(field):
    w, _, b = weights(9, 16)
    step = fold(FullyConnected(), (4, 16), w, b, rows=2, result=RowRange.MEAN_STD)
    arrays = (
        [np.zeros((4, 16), np.int8), np.zeros((2, 3), np.int32)],
        [np.empty((4, 9), np.int8), np.empty((2, 3), np.int32)],
    )
    call_step(step, *arrays)
    with pytest.raises(AssertionError, match="refused"):
        call_step(dataclasses.replace(step, **{field: LINEAR[field]}), *arrays)


@pytest.mark.parametrize("change", [{"element_bytes": 0}, {"output_zero": 128}, {"step": (0, 0)}])
def test_c_refuses_static_codes_that_contradict_themselves(change):
    w, _, b = weights(9, 16)
    step = fold(FullyConnected(), (4, 16), w, b, rows=2, target=(DType.S8, QuantParams.of(0.5)))
    arrays = [np.zeros((4, 16), np.int8), np.zeros((2, 3), np.int32)], [np.empty((4, 9), np.int8)]
    call_step(step, *arrays)
    with pytest.raises(AssertionError, match="refused"):
        call_step(dataclasses.replace(step, **change), *arrays)


@pytest.mark.parametrize("field", QUANTIZE)
def test_c_refuses_rows_that_contradict_themselves(field):
    step = DynamicQuantizeStep(2, 16, 1, 0, 0, 3, UNIT, UNIT)
    arrays = [np.zeros((2, 16), np.int8)], [np.empty((2, 16), np.int8), np.empty((2, 3), np.int32)]
    call_step(step, *arrays)
    with pytest.raises(AssertionError, match="refused"):
        call_step(dataclasses.replace(step, **{field: QUANTIZE[field]}), *arrays)


def test_layers_that_have_no_such_form_are_refused():
    w, _, b = weights(9, 16)
    with pytest.raises(UnsupportedError, match="weights 'w' have a zero point, 0 expected with run-time scales"):
        fold(
            FullyConnected(),
            (4, 16),
            dataclasses.replace(w, quant=QuantParams.of(0.1, 3)),
            b,
            rows=2,
            result=RowRange.SYMMETRIC,
        )
    with pytest.raises(GraphError, match="4 images or pixels do not divide into 3 rows"):
        fold(FullyConnected(), (4, 16), w, b, rows=3, result=RowRange.SYMMETRIC)
    with pytest.raises(GraphError, match="10 elements of shape \\[10\\] do not divide into 3 rows"):
        DynamicQuantize(3).infer_shape([Tensor("x", (10,), DType.S8)])
    scales = Tensor("s", (2, 2), DType.S32)
    with pytest.raises(GraphError, match="scales 's' have shape \\[2, 2\\], 2 rows of 3 expected"):
        DynamicLinear(FullyConnected(), 2).infer_shape([Tensor("x", (4, 16), DType.S8), w, None, scales])


def test_windows_of_several_pixels_do_not_mix_rows():
    w, _, _ = weights(4, 2)
    kernel = dataclasses.replace(w, shape=(4, 1, 2, 1), data=w.data.reshape(4, 1, 2, 1))
    with pytest.raises(GraphError, match="1 images or pixels do not divide into 6 rows"):
        fold(Conv2d(), (1, 2, 3, 1), kernel, None, rows=6, target=(DType.S8, QuantParams.of(1.0)))


def test_steps_ask_for_the_scratch_that_c_needs():
    w, _, b = weights(9, 16)
    step = fold(FullyConnected(), (6, 16), w, b, rows=2, result=RowRange.SYMMETRIC)
    assert isinstance(step, DynamicLinearStep)
    assert step.scratch_bytes() == 4 * 9 + 4 * 3 * 9 + 4 * 16

# SPDX-License-Identifier: Apache-2.0
"""Layers with run-time scales: against their definition in real numbers, at the edges, and in C."""

from __future__ import annotations

import dataclasses
from statistics import NormalDist

import numpy as np
import pytest
from graphbuilder import sqnr
from stepcall import call_step

from edgeq.errors import GraphError, UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import round_away
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ir.run_time_scale import real_of_scale, scale_of_real
from edgeq.ops.base import Activation, Fold, Rounding
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.dynamic_linear import DynamicLinear, DynamicLinearStep, bias_tensor
from edgeq.ops.dynamic_quantize import DynamicQuantize, DynamicQuantizeStep, dynamic_outputs
from edgeq.ops.dynamic_rows import RowRange, quantize_row
from edgeq.ops.fully_connected import FullyConnected

every_range = pytest.mark.parametrize("row_range", list(RowRange), ids=lambda row_range: row_range.name.lower())
UNIT = (2**30, 1)  # the scale 1


# ------------------------------------------------------------------------------------------------ the definition


def rows_in_reals(x, row_range):
    """Quantize each row of x (T, K) in float64, and return what its codes stand for."""
    low, high = np.minimum(x.min(axis=1), 0), np.maximum(x.max(axis=1), 0)
    if row_range is RowRange.SYMMETRIC:
        largest = np.maximum(-low, high)
        scale = np.where(largest > 0, largest / 127, 1)[:, None]
        return scale * np.clip(round_away(x / scale), -127, 127)
    if row_range is RowRange.MEAN_STD:
        mean, std = x.mean(axis=1), x.std(axis=1)
        low = np.minimum(np.maximum(mean - 3 * std, low), 0)
        high = np.maximum(np.minimum(mean + 3 * std, high), 0)
    scale = np.where(high > low, (high - low) / 255, 1)[:, None]
    zero = np.clip(round_away(-128 - low[:, None] / scale), -128, 127)
    return scale * (np.clip(round_away(x / scale + zero), -128, 127) - zero)


def layer_in_reals(x, w, b, row_range, *, relu=True):
    y = rows_in_reals(x, row_range) @ w.T + b
    return np.maximum(y, 0) if relu else y


# ------------------------------------------------------------------------------------------------ the device


def decoded(codes, scales):
    """Return what dynamic codes (T, K) stand for."""
    reals = np.array([real_of_scale((int(m), int(e))) for m, e, _ in scales])
    return reals[:, None] * (codes.reshape(len(scales), -1).astype(np.float64) - scales[:, 2:])


def encoded(x, row_range):
    """Quantize rows of int16 codes of scale 1 on the device."""
    source = Tensor("x", x.shape, DType.S16, QuantParams.of(1.0))
    op = DynamicQuantize(len(x), row_range)
    return op.reference_q(
        [x.astype(np.int16)], inputs=[source], outputs=dynamic_outputs(x.shape, len(x)), rounding=Rounding.NATIVE
    )


def weights(count, depth, seed=0):
    """Draw a layer: int8 codes as a tensor, their real values, and a bias."""
    rng = np.random.default_rng([seed, count, depth])
    quant = QuantParams.per_channel(2.0 ** rng.uniform(-9, -5, count), 0)
    codes = np.clip(np.round(rng.standard_normal((count, depth)) * 40), -127, 127).astype(np.int8)
    return (
        Tensor("w", codes.shape, DType.S8, quant, codes),
        codes * np.array(quant.scales)[:, None],
        rng.standard_normal(count),
    )


def fold(layer, x_shape, w, b, *, rows, source=RowRange.SYMMETRIC, result=None, target=None):
    """Fold a dynamic layer whose scales come at run time."""
    op = DynamicLinear(layer, rows, source, result)
    bias = None if b is None else bias_tensor("b", np.asarray(b, np.float64))
    codes, scales = dynamic_outputs(x_shape, rows, "x")
    inputs = [codes, w, bias, scales]
    shape = op.infer_shape(inputs)[0]
    outputs = dynamic_outputs(shape, rows) if result is not None else [Tensor("y", shape, *target)]
    folded = op.fold(inputs, outputs, rounding=Rounding.NATIVE)
    assert isinstance(folded, Fold)
    return folded.step


def test_two_layers_are_as_near_to_the_float_network_as_their_definition():
    """Rows whose magnitudes span 2^16, biases beside which the small ones are nothing, and a ReLU."""
    rng = np.random.default_rng(1)
    size = 2.0 ** rng.uniform(-2, 14, (64, 1))
    x = np.clip(np.round(rng.standard_normal((64, 96)) * size), -32767, 32767)
    first, w1, b1 = weights(128, 96)
    second, w2, b2 = weights(80, 128)
    expected = np.maximum(np.maximum(x @ w1.T + b1 * 100, 0) @ w2.T + b2 * 100, 0)
    relu = FullyConnected(Activation.RELU)
    for row_range in RowRange:
        codes, scales = encoded(x, row_range)
        for w, b in ((first, b1 * 100), (second, b2 * 100)):
            step = fold(relu, codes.shape, w, b, rows=64, source=row_range, result=row_range)
            codes, scales = step.reference_q([codes, scales])
            codes = codes.reshape(64, -1)
        found = decoded(codes, scales)
        hidden = layer_in_reals(x, w1, b1 * 100, row_range)
        defined = rows_in_reals(layer_in_reals(hidden, w2, b2 * 100, row_range), row_range)
        assert abs(sqnr(expected, found) - sqnr(expected, defined)) < 0.1
        # rows of few different values come out a code better or worse, the others alike
        each = [sqnr(*rows) - sqnr(rows[0], real) for *rows, real in zip(expected, found, defined, strict=True)]
        assert np.mean(np.abs(each) < 0.1) > 0.8
        assert np.min(each) > -3


def test_a_scale_per_token_serves_rows_of_every_size_and_one_per_tensor_the_largest_alone():
    rng = np.random.default_rng(2)
    w, real, _ = weights(128, 256, seed=3)
    x = rng.standard_normal((48, 256)) * 2.0 ** rng.uniform(-5, 5, (48, 1))
    expected = x @ real.T
    found = {}
    for rows in (48, 1):
        largest = np.abs(x.reshape(rows, -1)).max(axis=1)
        scales = np.array([(*scale_of_real(float(peak) / 127), 0) for peak in largest], np.int32)
        codes = round_away(x.reshape(rows, -1) * 127 / largest[:, None]).astype(np.int8).reshape(x.shape)
        step = fold(FullyConnected(), x.shape, w, None, rows=rows, result=RowRange.SYMMETRIC)
        y = decoded(*step.reference_q([codes, scales])).reshape(expected.shape)
        found[rows] = np.array([sqnr(*row) for row in zip(expected, y, strict=True)])
    assert found[48].min() >= 35
    assert 9 < np.median(found[1]) < 17
    assert found[1].min() < 0


def test_a_range_of_mean_and_deviations_loses_what_theory_says_of_gaussians():
    """33.44 dB at 8 bits: uniform steps of 6 / 255 and what lies beyond 3 (Gauss integrals), without sampling noise."""
    normal = NormalDist()
    x = np.round([[6000 * normal.inv_cdf((i + 0.5) / 65536) for i in range(65536)]])
    assert sqnr(x, decoded(*encoded(x, RowRange.MEAN_STD))) == pytest.approx(33.44, abs=0.1)


def test_the_range_of_a_thousand_gaussians_leaves_some_42_decibels():
    x = np.round(np.random.default_rng(4).standard_normal((32, 1000)) * 5500)
    largest = np.mean(np.abs(x).max(axis=1) ** 2 / np.mean(x**2, axis=1))
    theory = 10 * np.log10(12 * 127**2 / largest)
    assert sqnr(x, decoded(*encoded(x, RowRange.SYMMETRIC))) == pytest.approx(theory, abs=0.1)
    assert 40 < theory < 43


# ------------------------------------------------------------------------------------------------ edges


def quantized(values, row_range):
    return quantize_row(
        np.array(values), row_range=row_range, deviations=3, source=UNIT, kept=(2**30 + 9, 5),
        step=row_range.step_of(1.0, len(values)),
    )  # fmt: skip


@every_range
def test_a_row_of_zeros_keeps_its_scale(row_range):
    codes, scale = quantized([0, 0, 0], row_range)
    assert (codes.tolist(), scale) == ([0, 0, 0], (2**30 + 9, 5, 0))


@every_range
@pytest.mark.parametrize("value", [1, -1, 77, -(2**30), 2**30])
def test_a_row_of_one_value_is_exact(row_range, value):
    for count in (1, 2, 1000):
        codes, scale = quantized([value] * count, row_range)
        ends = (127, -127) if row_range is RowRange.SYMMETRIC else (127, -128)
        assert set(codes.tolist()) == {ends[value < 0]}
        np.testing.assert_allclose(decoded(codes[None], np.array([scale])), value, rtol=2.0**-28)


@every_range
def test_the_largest_values_do_not_overflow(row_range):
    codes, scale = quantized([2**30, -(2**30), 0, 2**29], row_range)
    np.testing.assert_allclose(
        decoded(codes[None], np.array([scale]))[0], [2**30, -(2**30), 0, 2**29], atol=2**30 / 127
    )


def test_a_range_of_mean_and_deviations_saturates_what_lies_beyond():
    values = np.concatenate([np.random.default_rng(5).integers(-1000, 1001, 5000), [2**30]])
    codes, scale = quantized(values, RowRange.MEAN_STD)
    low, high = max(values.mean() - 3 * values.std(), -1000), values.mean() + 3 * values.std()
    assert codes[-1] == 127
    assert real_of_scale(scale[:2]) == pytest.approx((high - low) / 255, rel=1e-3)


@every_range
def test_rows_are_what_they_are_defined_to_be(row_range):
    """At least 99.9 % of the codes are those of float64, no other is further off than by one."""
    x = np.round(np.random.default_rng(6).standard_normal((32, 500)) * 5000)
    x[:, 0] = 32767
    found, expected = decoded(*encoded(x, row_range)), rows_in_reals(x, row_range)
    steps = np.array([real_of_scale((int(m), int(e))) for m, e, _ in encoded(x, row_range)[1]])[:, None]
    off = np.abs(found - expected) / steps
    assert off.max() < 1.01
    assert np.mean(off > 0.01) < 0.001


def test_a_bias_beside_which_a_row_is_nothing_is_kept():
    w, real, _ = weights(4, 16)
    step = fold(FullyConnected(), (2, 16), w, [1.0, -0.5, 0.25, 0.0], rows=2, result=RowRange.SYMMETRIC)
    codes = np.full((2, 16), 127, np.int8)
    scales = np.array([(2**30, -40, 0), (2**30, 0, 0)], np.int32)
    found = decoded(*step.reference_q([codes, scales]))
    np.testing.assert_allclose(found[0], [1.0, -0.5, 0.25, 0.0], atol=0.5 / 127)
    ordinary = codes[1] / 2 @ real.T + [1.0, -0.5, 0.25, 0.0]
    np.testing.assert_allclose(found[1], ordinary, atol=np.abs(ordinary).max() / 250)


@pytest.mark.parametrize("source", list(RowRange), ids=lambda source: source.name.lower())
def test_the_largest_sums_are_not_cut(source):
    """Codes 255 from their zero point (127 if symmetric) with weights of one sign."""
    quant = QuantParams.of(1 / 64)
    w = Tensor("w", (1, 16), DType.S8, quant, np.full((1, 16), 127, np.int8))
    symmetric = source is RowRange.SYMMETRIC
    step = fold(FullyConnected(), (1, 16), w, None, rows=1, source=source, target=(DType.S16, QuantParams.of(0.25)))
    (found,) = step.reference_q([np.full((1, 16), 127, np.int8), np.array([(*UNIT, 0 if symmetric else -128)])])
    assert found.item() == (127 if symmetric else 255) * 127


@pytest.mark.parametrize("activation", list(Activation), ids=lambda activation: activation.name.lower())
def test_activations_clamp_at_their_real_bounds(activation):
    w, real, b = weights(32, 24)
    x = np.random.default_rng(8).integers(-127, 128, (6, 24)).astype(np.int8)
    scales = np.array([(*scale_of_real(2.0**-power), 0) for power in range(6)], np.int32)
    target = (DType.S16, QuantParams.of(1 / 256))
    step = fold(FullyConnected(activation), x.shape, w, b, rows=6, target=target)
    (found,) = step.reference_q([x, scales])
    expected = activation.apply(x * 2.0 ** -np.arange(6)[:, None] @ real.T + b)
    np.testing.assert_allclose(found.reshape(6, -1) / 256, np.clip(expected, -128, 128), atol=1 / 256)


# ------------------------------------------------------------------------------------------------ shapes


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

# SPDX-License-Identifier: Apache-2.0
"""Layers with run-time scales: against their definition in real numbers, and at the edges."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from dynamic import UNIT, decoded, encoded, fold, layer_in_reals, rows_in_reals, weights
from frontends.tflite_builder import Model, O, T, build
from graphbuilder import sqnr
from needs import missing

from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import round_away
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ir.run_time_scale import real_of_scale, scale_of_real
from edgeq.ops.base import Activation
from edgeq.ops.dynamic_rows import RowRange, quantize_row, reference_rows
from edgeq.ops.fully_connected import FullyConnected
from edgeq.runtime.litert import ReferenceInterpreter, installed_package

every_range = pytest.mark.parametrize("row_range", list(RowRange), ids=lambda row_range: row_range.name.lower())


@pytest.mark.parametrize("row_range", [RowRange.SYMMETRIC, RowRange.ASYMMETRIC], ids=["symmetric", "asymmetric"])
def test_the_definition_is_that_of_litert_hybrid_layers(row_range):
    if installed_package() is None:
        missing("needs ai-edge-litert or tflite-runtime")
    rng = np.random.default_rng(12)
    options = ("FullyConnectedOptions", {"AsymmetricQuantizeInputs": row_range is RowRange.ASYMMETRIC})
    for tokens, depth, count in ((1, 16, 8), (5, 200, 33), (4, 257, 64)):
        x = (rng.standard_normal((tokens, depth)) * 2.0 ** rng.uniform(-5, 5, (tokens, 1))).astype(np.float32)
        w = rng.integers(-127, 128, (count, depth)).astype(np.int8)
        b = rng.standard_normal(count).astype(np.float32)
        tensors = [
            T("x", x.shape, "float32"),
            T("w", w.shape, "int8", scale=1 / 128, data=w),
            T("b", b.shape, "float32", data=b),
            T("y", (tokens, count), "float32"),
        ]
        model = build(Model(tensors, [O("FULLY_CONNECTED", [0, 1, 2], [3], options, version=9)], [0], [3]))
        expected = layer_in_reals(x.astype(np.float64), w / 128, b, row_range, relu=False)
        (found,) = ReferenceInterpreter(model).run([x])
        assert np.abs(found - expected).max() <= 2e-6 * np.abs(expected).max()


@every_range
def test_operators_refer_to_that_definition(row_range):
    x = np.random.default_rng(13).standard_normal((6, 50))
    codes, scales = reference_rows(x, 6, row_range, 3)
    np.testing.assert_allclose(decoded(codes, scales), rows_in_reals(x, row_range), rtol=1e-8, atol=1e-12)


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

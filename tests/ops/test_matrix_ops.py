# SPDX-License-Identifier: Apache-2.0
"""Convolutions, fully connected layers and matrix products: what folding promises, beyond the rules of every op."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from stepcall import call_step

from edgeq.errors import GraphError, InvalidValueError, UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import Mode, requant, round_away
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Activation, Op, Rounding, Step
from edgeq.ops.batch_matmul import BatchMatmul
from edgeq.ops.conv2d import Conv2d, Conv2dStep
from edgeq.ops.conv2d_s16 import Conv2dS16Step
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d, DepthwiseConv2dStep
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.linear import exact_multiplier, meets_ties
from edgeq.ops.transpose_conv import TransposeConv


def _tensor(
    codes: np.ndarray, scale: float | list[float], zero: int = 0, *, axis: int = 0, fixed: bool = True
) -> Tensor:
    many = isinstance(scale, list)
    quant = QuantParams.per_channel(np.array(scale), axis) if many else QuantParams.of(scale, zero)
    return Tensor("t", codes.shape, DType.of_numpy(codes.dtype), quant, codes if fixed else None)


def _codes(rng: np.random.Generator, *shape: int, dtype: type = np.int8) -> np.ndarray:
    return rng.integers(np.iinfo(dtype).min + 1, np.iinfo(dtype).max, size=shape, endpoint=True).astype(dtype)


def _fold(op: Op, inputs: Sequence[Tensor | None], quant: QuantParams, rounding: Rounding = Rounding.TFLITE) -> Step:
    (shape,) = op.infer_shape(inputs)
    assert inputs[0] is not None
    return op.fold(inputs, [Tensor("y", shape, inputs[0].dtype, quant)], rounding=rounding).step


def _run(step: Step, inputs: list[np.ndarray]) -> np.ndarray:
    """Run a step in NumPy and in C, which must agree."""
    (expected,) = step.reference_q(inputs)
    (found,) = call_step(step, inputs, [np.empty_like(expected)])
    np.testing.assert_array_equal(expected, found)
    return found


UNIT = QuantParams.of(1.0)


def test_taps_outside_the_image_count_as_the_input_zero_point() -> None:
    x = np.full((1, 1, 1, 1), 7, np.int8)
    w = np.full((1, 5, 5, 1), 3, np.int8)
    step = _fold(Conv2d(padding="same"), [_tensor(x, 1.0, 5, fixed=False), _tensor(w, 1.0)], UNIT)
    assert _run(step, [x]).item() == 3 * (7 - 5)


def test_zero_points_of_legacy_weights_are_subtracted(rng: np.random.Generator) -> None:
    x, w = _codes(rng, 1, 4, 5, 3), _codes(rng, 4, 3, 3, 3)
    op = Conv2d(padding="same")
    legacy = _fold(op, [_tensor(x, 0.01, 9, fixed=False), _tensor(w, 0.1, -77)], QuantParams.of(0.5, 3))
    sums = op.reference([x.astype(np.float64) - 9, w.astype(np.float64) + 77])[0]
    expected = np.clip(np.round(sums * 0.001 / 0.5) + 3, -128, 127)
    assert np.abs(_run(legacy, [x]) - expected).max() <= 1


def test_legacy_multipliers_round_the_product_of_scales_to_float32() -> None:
    x, w = np.zeros((1, 1, 1, 1), np.int8), np.ones((1, 1, 1, 1), np.int8)
    scale_x, scale_w = np.float32(0.1), np.float32(0.3)
    found = {}
    for single in (False, True):
        inputs = [_tensor(x, float(scale_x), fixed=False), _tensor(w, float(scale_w))]
        step = _fold(Conv2d(single_product=single), inputs, QuantParams.of(0.7))
        assert isinstance(step, Conv2dStep)
        found[single] = int(step.multipliers[0]) * 2.0 ** (int(step.shifts[0]) - 31)
    assert found[False] == pytest.approx(float(scale_x) * float(scale_w) / float(np.float32(0.7)), rel=2**-31)
    assert found[True] == pytest.approx(float(np.float32(scale_x * scale_w)) / float(np.float32(0.7)), rel=2**-31)
    assert found[False] != found[True]


def test_a_channel_whose_multiplier_underflows_gives_the_zero_point() -> None:
    x, w = np.full((1, 1, 1, 1), 50, np.int8), np.full((2, 1, 1, 1), 10, np.int8)
    bias = _tensor(np.array([2**31 - 1, 5], np.int32), [1e-30, 1.0])
    step = _fold(Conv2d(), [_tensor(x, 1.0, fixed=False), _tensor(w, [1e-30, 0.01]), bias], QuantParams.of(1.0, -4))
    assert _run(step, [x]).reshape(-1).tolist() == [-4, round(505 * 0.01) - 4]


def test_an_accumulator_that_could_overflow_is_refused_by_channel() -> None:
    x, w = np.zeros((1, 1, 1, 1), np.int8), np.full((2, 1, 1, 1), 100, np.int8)
    bias = _tensor(np.array([0, 2**31 - 100], np.int32), 1.0)
    with pytest.raises(InvalidValueError, match="output channel 1"):
        _fold(Conv2d(), [_tensor(x, 1.0, fixed=False), _tensor(w, 1.0), bias], QuantParams.of(100.0))


def test_fully_connected_rounds_half_away_from_zero_for_tflite_only() -> None:
    x, w = np.full((1, 1), -5, np.int8), np.ones((1, 1), np.int8)
    for rounding, expected in ((Rounding.TFLITE, -3), (Rounding.NATIVE, -2), (Rounding.TFLM, -2)):
        step = _fold(FullyConnected(), [_tensor(x, 1.0, fixed=False), _tensor(w, 1.0)], QuantParams.of(2.0), rounding)
        assert _run(step, [x]).item() == expected, rounding


def test_exact_multipliers_round_as_float64_does(rng: np.random.Generator) -> None:
    for _ in range(50):
        real, zero = float(2.0 ** rng.uniform(-16, 0)), int(rng.integers(-128, 128))
        fraction, shift = np.frexp(real)
        split = round(float(fraction) * 2**31), int(shift)
        m = exact_multiplier(real, split, peak=10**6, zero=zero, bounds=(-128, 127))
        sums = rng.integers(-(10**6), 10**6, size=4000)
        expected = np.clip(round_away(sums * real) + zero, -128, 127)
        np.testing.assert_array_equal(np.clip(requant(sums, m, split[1], Mode.EXACT) + zero, -128, 127), expected)


def test_ties_are_met_just_where_exact_and_single_rounding_differ(rng: np.random.Generator) -> None:
    met = 0
    for _ in range(200):
        shift, trailing = int(rng.integers(-9, 3)), int(rng.integers(10, 31))
        m = (1 << 30 | int(rng.integers(2**30))) >> trailing << trailing
        peak = int(2.0 ** rng.uniform(0, 12))
        sums = np.arange(-peak, peak + 1)
        differ = bool(np.any(requant(sums, m, shift, Mode.EXACT) != requant(sums, m, shift, Mode.SINGLE)))
        met += differ
        assert meets_ties(np.array([m, 0]), np.array([shift, shift]), np.array([peak, peak])).tolist() == [
            differ,
            False,
        ]
    assert 20 < met < 180


def test_fully_connected_takes_single_rounding_where_it_is_the_same(rng: np.random.Generator) -> None:
    x, w = _codes(rng, 8, 40), _codes(rng, 9, 40)
    operands = [_tensor(x, 2.0**-3, 13, fixed=False), _tensor(w, 2.0**-9)]
    for scale, mode in ((0.6, Mode.SINGLE), (2.0**-10, Mode.EXACT)):  # a multiplier of 1/4 meets ties
        step = _fold(FullyConnected(), operands, QuantParams.of(scale, -11), Rounding.TFLITE)
        assert isinstance(step, Conv2dStep)
        assert step.mode == mode
        exact = dataclasses.replace(step, mode=int(Mode.EXACT))
        np.testing.assert_array_equal(_run(step, [x]), _run(exact, [x]))


def test_computed_weights_give_what_constant_weights_give(rng: np.random.Generator) -> None:
    x, w = _codes(rng, 3, 40), _codes(rng, 9, 40)
    bias = _tensor(rng.integers(-900, 900, 9).astype(np.int32), 0.02)
    quant = QuantParams.of(0.6, -11)
    source = _tensor(x, 0.1, 13, fixed=False)
    for rounding in Rounding:
        constant = _fold(FullyConnected(), [source, _tensor(w, 0.002), bias], quant, rounding)
        computed = _fold(FullyConnected(), [source, _tensor(w, 0.002, fixed=False), bias], quant, rounding)
        assert computed.name == "batch_matmul"
        np.testing.assert_array_equal(_run(constant, [x]).reshape(3, 9), _run(computed, [x, w]).reshape(3, 9))


@pytest.mark.parametrize("shape", [(3, 1, 1, 5), (3, 4, 1, 5), (3, 1, 4, 5)])
def test_a_stride_along_a_side_of_one_pixel_skips_nothing(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    x, w = _codes(rng, *shape), _codes(rng, 7, 1, 1, 5)
    stride = (9 if shape[1] == 1 else 1, 9 if shape[2] == 1 else 1)
    operands = [_tensor(x, 0.01, 9, fixed=False), _tensor(w, 0.1)]
    strided = _run(_fold(Conv2d(stride=stride), operands, QuantParams.of(0.5, 3)), [x])
    np.testing.assert_array_equal(strided, _run(_fold(Conv2d(), operands, QuantParams.of(0.5, 3)), [x]))


def test_depthwise_with_a_multiplier_is_a_grouped_convolution(rng: np.random.Generator) -> None:
    x = _codes(rng, 2, 5, 6, 7)
    for factor, channels, kind in ((1, 7, DepthwiseConv2dStep), (3, 7, Conv2dStep), (4, 1, Conv2dStep)):
        image = np.ascontiguousarray(x[..., :channels])
        w = _codes(rng, 1, 3, 2, channels * factor)
        op = DepthwiseConv2d(stride=(2, 1), padding="same", dilation=(1, 2), activation=Activation.RELU)
        step = _fold(op, [_tensor(image, 0.1, -3, fixed=False), _tensor(w, 0.01)], QuantParams.of(0.3, 4))
        assert isinstance(step, kind)
        real = op.reference([(image.astype(np.float64) + 3) * np.float32(0.1), w * float(np.float32(0.01))])[0]
        assert np.abs(_run(step, [image]) - np.clip(np.round(real / np.float32(0.3)) + 4, -128, 127)).max() <= 1


@pytest.mark.parametrize("channels", [1, 2, 5, 8, 9, 15, 16, 17, 24, 33])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (1, 7)])
def test_depthwise_sums_any_number_of_channels(
    rng: np.random.Generator, channels: int, kernel: tuple[int, int]
) -> None:
    x, w = _codes(rng, 1, 4, 4, channels), _codes(rng, 1, *kernel, channels)
    inputs = [_tensor(x, 0.1, 100, fixed=False), _tensor(w, [0.01] * channels, axis=3)]
    step = _fold(DepthwiseConv2d(padding="same"), inputs, QuantParams.of(0.5))
    _run(step, [x])


@pytest.mark.parametrize("depth", [1, 8, 15, 16, 17, 31, 127, 128, 129, 300])
@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 2, 31, 33, 64])
def test_products_of_any_size_agree(rng: np.random.Generator, depth: int, rows: int, count: int) -> None:
    x, w = _codes(rng, rows, depth), _codes(rng, count, depth)
    x[0], w[-1] = -128, -127  # extremes where a padded vector ends
    step = _fold(FullyConnected(), [_tensor(x, 0.1, -9, fixed=False), _tensor(w, 0.01)], QuantParams.of(0.7, 9))
    _run(step, [x])


def test_transposed_convolution_scatters_its_input(rng: np.random.Generator) -> None:
    x, w = _codes(rng, 1, 3, 4, 2), _codes(rng, 3, 4, 5, 2)
    op = TransposeConv(stride=(2, 3), output_shape=(1, 8, 14, 3))
    step = _fold(op, [_tensor(x, 0.1, 6, fixed=False), _tensor(w, 0.01)], QuantParams.of(0.4, -1))
    total = np.zeros((8, 14, 3))
    for y in range(3):
        for column in range(4):
            total[2 * y : 2 * y + 4, 3 * column : 3 * column + 5] += np.einsum(
                "i,okli->klo", x[0, y, column].astype(np.float64) - 6, w.astype(np.float64)
            )
    expected = np.clip(np.round(total * 0.001 / 0.4) - 1, -128, 127)
    assert np.abs(_run(step, [x])[0] - expected).max() <= 1


def test_transposed_convolution_with_gaps_gives_the_bias() -> None:
    x, w = np.full((1, 2, 2, 1), 10, np.int8), np.ones((1, 1, 1, 1), np.int8)
    bias = _tensor(np.array([3], np.int32), 1.0)
    op = TransposeConv(stride=(3, 3), output_shape=(1, 5, 5, 1))
    found = _run(_fold(op, [_tensor(x, 1.0, 4, fixed=False), _tensor(w, 1.0), bias], UNIT), [x])[0, :, :, 0]
    expected = np.full((5, 5), 3)
    expected[0::3, 0::3] = 9
    np.testing.assert_array_equal(found, expected)


def test_batch_matmul_broadcasts_and_transposes(rng: np.random.Generator) -> None:
    a, b = _codes(rng, 2, 1, 6, 5), _codes(rng, 3, 7, 6)
    step = _fold(
        BatchMatmul(adj_x=True, adj_y=True),
        [_tensor(a, 0.1, 3, fixed=False), _tensor(b, 0.1, -8, fixed=False)],
        QuantParams.of(15.0, 2),
    )
    sums = (a.astype(np.float64) - 3).swapaxes(-1, -2) @ (b.astype(np.float64) + 8).swapaxes(-1, -2)
    expected = np.clip(np.round(sums * 0.01 / 15) + 2, -128, 127)
    assert np.abs(_run(step, [a, b]) - expected).max() <= 1


def test_sixteen_bit_sums_pass_int32() -> None:
    x, w = np.full((1, 2000), 32767, np.int16), np.full((1, 2000), 127, np.int8)
    for rounding in Rounding:
        step = _fold(FullyConnected(), [_tensor(x, 1.0, fixed=False), _tensor(w, 1.0)], QuantParams.of(1e6), rounding)
        assert isinstance(step, Conv2dS16Step)
        assert abs(int(_run(step, [x]).item()) - round(32767 * 127 * 2000 / 1e6)) <= 1


def test_sixteen_bit_convolutions_with_narrow_biases_round_twice_for_tflite() -> None:
    x, w = np.full((1, 1, 1, 1), -2, np.int16), np.ones((1, 1, 1, 1), np.int8)
    layer = [_tensor(x, 1.0, fixed=False), _tensor(w, 1.0)]
    for dtype, rounding, expected in (
        (np.int32, Rounding.TFLITE, -1),
        (np.int32, Rounding.TFLM, 0),
        (np.int64, Rounding.TFLITE, 0),
    ):
        step = _fold(Conv2d(), [*layer, _tensor(np.zeros(1, dtype), 1.0)], QuantParams.of(4.0), rounding)
        assert _run(step, [x]).item() == expected


def test_narrow_sixteen_bit_accumulators_wrap() -> None:
    x, w = np.full((1, 1, 1, 600), 32767, np.int16), np.full((1, 1, 1, 600), 127, np.int8)
    bias = _tensor(np.zeros(1, np.int32), 1.0)
    step = _fold(Conv2d(), [_tensor(x, 1.0, fixed=False), _tensor(w, 1.0), bias], QuantParams.of(2.0**17))
    assert _run(step, [x]).item() == round((32767 * 127 * 600 - 2**32) / 2**17)


def test_sixteen_bit_layers_refuse_what_their_accumulator_cannot_hold() -> None:
    x, w = np.zeros((1, 4), np.int16), np.ones((1, 4), np.int8)
    source = _tensor(x, 1.0, fixed=False)
    huge = _tensor(np.array([2**46 + 1], np.int64), 1.0)
    with pytest.raises(InvalidValueError, match="bias"):
        _fold(FullyConnected(), [source, _tensor(w, 1.0), huge], UNIT)
    with pytest.raises(InvalidValueError, match="too large"):
        _fold(FullyConnected(), [source, _tensor(w, 2.0**15)], UNIT)
    with pytest.raises(InvalidValueError, match="zero points"):
        _fold(FullyConnected(), [source, _tensor(w, 1.0, 3)], UNIT)


def test_what_the_integers_cannot_express_is_refused(rng: np.random.Generator) -> None:
    x, w = _codes(rng, 1, 4, 4, 6), _codes(rng, 8, 3, 3, 6)
    source, weights = _tensor(x, 1.0, fixed=False), _tensor(w, 1.0)
    wrong_axis = dataclasses.replace(weights, quant=QuantParams.per_channel(np.ones(6), 3))
    with pytest.raises(UnsupportedError, match="axis 3"):
        _fold(Conv2d(), [source, wrong_axis], UNIT)
    per_channel_zero = dataclasses.replace(weights, quant=QuantParams((1.0,) * 8, (1,) * 8, 0))
    with pytest.raises(UnsupportedError, match="zero point per channel"):
        _fold(Conv2d(), [source, per_channel_zero], UNIT)
    with pytest.raises(UnsupportedError, match="not a constant"):
        _fold(Conv2d(), [source, dataclasses.replace(weights, data=None)], UNIT)
    with pytest.raises(GraphError, match="does not fit"):
        Conv2d(dilation=(3, 3)).infer_shape([source, weights])
    with pytest.raises(GraphError, match="do not divide"):
        Conv2d().infer_shape([source, _tensor(_codes(rng, 8, 1, 1, 4), 1.0)])


def test_scratch_holds_at_most_four_windows(rng: np.random.Generator) -> None:
    x = _codes(rng, 1, 8, 8, 16)
    source = _tensor(x, 0.1, fixed=False)
    gathered = _fold(Conv2d(), [source, _tensor(_codes(rng, 8, 3, 3, 16), 0.1)], UNIT)
    pointwise = _fold(Conv2d(stride=(2, 2)), [source, _tensor(_codes(rng, 8, 1, 1, 16), 0.1)], UNIT)
    assert gathered.scratch_bytes() == 4 * 9 * 16
    assert pointwise.scratch_bytes() == 0


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(17)

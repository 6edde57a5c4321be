# SPDX-License-Identifier: Apache-2.0
"""Elementwise pairs, pooling, softmax, normalization and reductions: hand-computed codes and refusals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from stepcall import call_step

from edgeq.errors import GraphError, InvalidValueError, UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.add import Add, Sub
from edgeq.ops.base import Activation, Fold, Op, Rounding
from edgeq.ops.elementwise import broadcast_geometry
from edgeq.ops.l2_normalization import L2Normalization
from edgeq.ops.maximum import Maximum, Minimum
from edgeq.ops.mean import Mean, Sum
from edgeq.ops.mul import Mul
from edgeq.ops.pool import AveragePool2d, MaxPool2d
from edgeq.ops.prelu import Prelu
from edgeq.ops.reduce import alternating_sizes
from edgeq.ops.reduce_max import ReduceMax, ReduceMin
from edgeq.ops.softmax import Softmax
from edgeq.ops.squared_difference import SquaredDifference

UNIT = QuantParams.of(1.0)
PROBABILITY = QuantParams.of(1 / 256, -128)


def apply(op: Op, *codes, quants=None, output=UNIT, rounding=Rounding.TFLITE, dtype=DType.S8):
    """Fold an operator for arrays of codes and run it, in NumPy and in C."""
    arrays = [np.asarray(array, dtype.numpy) for array in codes]
    quants = quants or [UNIT] * len(arrays)
    inputs = [Tensor(f"x{i}", a.shape, dtype, quant) for i, (a, quant) in enumerate(zip(arrays, quants, strict=True))]
    target = Tensor("y", op.infer_shape(inputs)[0], dtype, output)
    folded = op.fold(inputs, [target], rounding=rounding)
    assert isinstance(folded, Fold)
    found = op.reference_q(arrays, inputs=inputs, outputs=[target], rounding=rounding)[0]
    ran = call_step(folded.step, [arrays[i] for i in folded.inputs], [found])[0]
    assert np.array_equal(found, ran)
    return found


def test_add_and_sub_saturate_at_the_limits_of_int8():
    assert list(apply(Add(), [127, -128, 100], [1, -1, 27])) == [127, -128, 127]
    assert list(apply(Sub(), [127, -128, 100], [-1, 1, 27])) == [127, -128, 73]


def test_fused_activation_clamps_the_sum():
    assert list(apply(Add(Activation.RELU6), [-3, 3, 90], [1, 1, 1])) == [0, 4, 6]
    assert list(apply(Sub(Activation.RELU_N1_TO_1), [-3, 3], [1, 3])) == [-1, 0]


def test_every_pair_of_codes_adds_within_one_code_of_the_real_sum():
    a, b = np.meshgrid(np.arange(-128, 128), np.arange(-128, 128))
    quants = [QuantParams.of(0.0173, 11), QuantParams.of(0.0051, -90)]
    exact = (quants[0].scale * (a - 11) + quants[1].scale * (b + 90)) / np.float64(np.float32(0.02)) - 4
    for rounding in Rounding:
        found = apply(Add(), a, b, quants=quants, output=QuantParams.of(0.02, -4), rounding=rounding)
        assert np.abs(found - np.clip(exact, -128, 127)).max() < 0.51


def test_sums_with_too_fine_an_output_are_refused():
    with pytest.raises(InvalidValueError, match="too fine"):
        apply(Add(), [1], [1], output=QuantParams.of(2.0**-21))


@pytest.mark.parametrize("op", [Add(), Sub(), Mul()], ids=repr)
def test_int16_pairs_are_within_half_a_code_of_the_real_result(op):
    rng = np.random.default_rng(1)
    a, b = rng.integers(-32768, 32768, (2, 1000))
    quants = [QuantParams.of(2.3e-5), QuantParams.of(4.1e-5)]
    exact = op.reference([a * quants[0].scale, b * quants[1].scale])[0]
    scale = np.abs(exact).max() / 32000
    found = apply(op, a, b, quants=quants, output=QuantParams.of(scale), dtype=DType.S16)
    assert np.abs(found - exact / np.float64(np.float32(scale))).max() < 0.51


def test_int16_sums_by_shifts_round_the_operand_before_they_add():
    quants, output = [QuantParams.of(2.0**-4), QuantParams.of(2.0**-3)], QuantParams.of(2.0**-3)
    codes = [[1, -1, 3, 32767], [-1, 1, 0, 32767]]
    for op, expected in ((Add, [0, 0, 2, 32767]), (Sub, [2, -2, 2, -16383])):
        found = apply(op(shifts=True), *codes, quants=quants, output=output, dtype=DType.S16)
        assert found.tolist() == expected
    general = apply(Add(), *codes, quants=quants, output=output, dtype=DType.S16)
    assert general.tolist() == [-1, 1, 2, 32767]


def test_int16_with_a_zero_point_is_refused():
    with pytest.raises(UnsupportedError, match="zero point"):
        apply(Add(), [1], [1], quants=[UNIT, QuantParams.of(1.0, 1)], dtype=DType.S16)


def test_maximum_and_minimum_compare_codes_and_need_one_scale():
    assert list(apply(Maximum(), [-128, 5], [127, 4])) == [127, 5]
    assert list(apply(Minimum(), [-128, 5], [127, 4])) == [-128, 4]
    with pytest.raises(InvalidValueError, match="share one scale"):
        apply(Maximum(), [1], [1], quants=[UNIT, QuantParams.of(0.5)])


def test_squared_difference_and_prelu_of_whole_numbers_are_exact():
    assert list(apply(SquaredDifference(), [3, -5, 20], [-4, -5, 0])) == [49, 0, 127]
    assert list(apply(Prelu(), [3, -5, 0], [7, 7, 7])) == [3, -35, 0]


@pytest.mark.parametrize("rounding", Rounding)
def test_output_so_fine_that_everything_saturates_still_gives_the_zero_point_at_zero(rounding):
    fine = QuantParams.of(2.0**-20, 3)
    assert list(apply(Mul(), [0, 1, -1], [1, 1, 1], output=fine, rounding=rounding)) == [3, 127, -128]
    assert list(apply(Prelu(), [0, 1, -1], [1, 1, 1], output=fine, rounding=rounding)) == [3, 127, -128]


def test_broadcasting_is_that_of_numpy():
    rng = np.random.default_rng(2)
    for keep_a, keep_b in itertools.product(itertools.product((0, 1), repeat=4), repeat=2):
        sizes = np.array([2, 3, 2, 5])
        a = rng.integers(-60, 60, np.where(keep_a, sizes, 1))
        b = rng.integers(-60, 60, np.where(keep_b, sizes, 1)[rng.integers(0, 3) :])
        assert np.array_equal(apply(Add(), a, b), a + b)


def test_dimensions_along_which_operands_advance_together_are_merged():
    geometry = broadcast_geometry((2, 3, 4, 5), (4, 5))
    assert geometry.sizes == (1, 1, 1, 1, 6, 20)
    assert geometry.strides_a[4:] == (20, 1)
    assert geometry.strides_b[4:] == (0, 1)


def test_shapes_that_do_not_broadcast_or_take_too_many_loops_are_refused():
    with pytest.raises(GraphError, match="broadcast"):
        broadcast_geometry((2, 3), (4,))
    with pytest.raises(UnsupportedError, match="loops"):
        broadcast_geometry((2, 1) * 4, (1, 2) * 4)


def test_average_pool_rounds_half_away_from_zero_and_counts_only_pixels_of_the_image():
    image = np.array([[1, 2], [-1, -2]]).reshape(1, 2, 2, 1)
    assert list(apply(AveragePool2d((1, 2), (1, 1)), image).ravel()) == [2, -2]
    assert list(apply(AveragePool2d((1, 2), (1, 1), ties_up=True), image).ravel()) == [2, -1]
    corner = apply(AveragePool2d((3, 3), (1, 1), "same"), np.full((1, 2, 2, 1), 7))
    assert set(corner.ravel()) == {7}


@pytest.mark.parametrize("dtype", [DType.S8, DType.S16])
def test_max_pool_ignores_padding(dtype):
    lowest = dtype.limits[0]
    image = np.full((1, 3, 3, 2), lowest)
    assert set(apply(MaxPool2d((2, 2), (1, 1), (1, 1, 1, 1)), image, dtype=dtype).ravel()) == {lowest}


def test_a_window_wholly_in_the_padding_is_refused():
    with pytest.raises(GraphError, match="outside"):
        MaxPool2d((2, 2), (1, 1), (2, 0, 0, 0)).infer_shape([Tensor("x", (1, 4, 4, 1), DType.S8, UNIT)])


def test_softmax_of_equal_codes_is_uniform():
    for depth, code in ((1, 127), (2, 0), (4, -64), (256, -127), (4095, -128)):
        found = apply(Softmax(), np.full((1, depth), 9), output=PROBABILITY)
        assert set(found.ravel()) == {code}


@pytest.mark.parametrize("scale", [0.001, 0.05, 0.4, 3.0])
def test_softmax_is_within_one_code_of_the_real_one(scale):
    codes = np.random.default_rng(3).integers(-128, 128, (5, 4, 37))
    exact = Softmax(0.5).reference([(codes * np.float64(np.float32(scale)))])[0] * 256 - 128
    found = apply(Softmax(0.5), codes, quants=[QuantParams.of(scale, 8)], output=PROBABILITY)
    assert np.abs(found - np.clip(exact, -128, 127)).max() <= 1


@pytest.mark.parametrize("scale", [2.0**-14, 2.0**-11, 0.003])
def test_int16_softmax_stays_near_the_real_one(scale):
    codes = np.random.default_rng(6).integers(-32768, 32768, (5, 3, 23))
    exact = Softmax().reference([codes * np.float64(np.float32(scale))])[0] * 32768
    quants = [QuantParams.of(scale)]
    found = apply(Softmax(), codes, quants=quants, output=QuantParams.of(1 / 32768), dtype=DType.S16)
    assert np.abs(found - exact).max() < 48  # 0.15 %


def test_int16_softmax_gives_the_rows_that_litert_gave():
    for beta, scale, codes, expected in (
        (1.0, 6.396613025572151e-05, [32767, 25449, 32767], [12478, 7813, 12478]),
        (
            6.179967403411865,
            7.380393799394369e-05,
            [
                21640,
                32291,
                -9338,
                -18039,
                6240,
                4939,
                -14355,
                29862,
                6646,
                28931,
                2558,
                17943,
                -32621,
                -12259,
                -4507,
                25536,
            ],
            [159, 20454, 1, 1, 1, 1, 1, 6756, 1, 4418, 1, 29, 1, 1, 1, 940],
        ),
    ):
        quants, output = [QuantParams.of(scale)], QuantParams.of(1 / 32768)
        assert apply(Softmax(beta), codes, quants=quants, output=output, dtype=DType.S16).tolist() == expected


def test_softmax_over_too_long_rows_is_refused():
    with pytest.raises(UnsupportedError, match="4095"):
        apply(Softmax(), np.zeros((1, 4096)), output=PROBABILITY)


def test_l2_normalization_of_a_unit_row_a_zero_row_and_a_triangle():
    rows = np.array([[5, 0, 0], [0, 0, 0], [3, 4, 0]])
    found = apply(L2Normalization(), rows, output=QuantParams.of(1 / 128))
    assert found.tolist() == [[127, 0, 0], [0, 0, 0], [77, 102, 0]]


def test_l2_normalization_of_codes_that_were_unsigned_rounds_twice():
    row, output = np.array([7, -9, 1]), QuantParams.of(1 / 128)
    assert apply(L2Normalization(), row, output=output).tolist() == [78, -101, 11]
    assert apply(L2Normalization(scaled_first=True), row, output=output).tolist() == [79, -101, 11]


@pytest.mark.parametrize("dtype", [DType.S8, DType.S16])
def test_reductions_over_any_axes_are_those_of_numpy(dtype):
    rng = np.random.default_rng(4)
    sizes = (2, 3, 2, 3, 2, 3)
    codes = rng.integers(*dtype.limits, sizes)
    for count in range(1, 7):
        for axes in itertools.combinations(range(6), count):
            assert np.array_equal(apply(ReduceMax(axes), codes, dtype=dtype), codes.max(axes))
            assert np.array_equal(apply(ReduceMin(axes, True), codes, dtype=dtype), codes.min(axes, keepdims=True))
            small = codes // (dtype.limits[1] // 100) // 216
            assert np.array_equal(apply(Sum(axes), small, dtype=dtype), np.clip(small.sum(axes), *dtype.limits))


@pytest.mark.parametrize("dtype", [DType.S8, DType.S16])
def test_mean_is_within_one_code_of_the_real_one(dtype):
    codes = np.random.default_rng(5).integers(*dtype.limits, (4, 7, 7, 33))
    for rounding in Rounding:
        found = apply(Mean((1, 2)), codes, dtype=dtype, rounding=rounding)
        assert np.abs(found - codes.mean((1, 2))).max() <= 1


def test_mean_of_a_constant_image_is_that_constant():
    image = np.full((1, 12, 12, 3), 77)
    quant = QuantParams.of(0.037, -100)
    assert set(apply(Mean((1, 2)), image, quants=[quant], output=quant).ravel()) == {77}


def test_reduced_sizes_alternate_with_kept_ones():
    assert alternating_sizes((2, 3, 4, 5), (1, 2)) == (1, 1, 1, 1, 2, 12, 5, 1)
    assert alternating_sizes((2, 3, 4), (0, 2)) == (1, 1, 1, 1, 1, 2, 3, 4)
    with pytest.raises(UnsupportedError, match="loops"):
        alternating_sizes((2,) * 9, (0, 2, 4, 6, 8))


def test_sums_that_could_pass_int32_are_refused():
    with pytest.raises(UnsupportedError, match="add up"):
        Mean((0,)).fold(
            [Tensor("x", (2**24,), DType.S8, UNIT)], [Tensor("y", (), DType.S8, UNIT)], rounding=Rounding.NATIVE
        )

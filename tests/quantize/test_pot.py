# SPDX-License-Identifier: Apache-2.0
"""Power-of-two scales: fraction lengths, what they cost, and requantization by a shift alone."""

from __future__ import annotations

import numpy as np
import pytest
from graphbuilder import Builder
from hypothesis import given
from hypothesis import strategies as st

from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import Mode, quantize_multiplier, requant
from edgeq.ir.qparams import QuantParams
from edgeq.ops.fully_connected import FullyConnected
from edgeq.quantize.affine import params_of_range, quantize, round_range
from edgeq.quantize.methods.histogram import Histogram
from edgeq.quantize.methods.levels import Levels
from edgeq.quantize.methods.ristretto import Ristretto
from edgeq.quantize.pot import fraction_length, powers_of_two, scale_of_range
from edgeq.quantize.recipe import Recipe
from edgeq.quantize.static import quantize_static

SAMPLE = np.random.default_rng(11).standard_normal(200_000)


@pytest.mark.parametrize(
    ("largest", "bits", "expected"),
    [(1.0, 8, 7), (0.999, 8, 7), (1.001, 8, 6), (4.0, 8, 5), (3.0, 8, 5), (2.0**-5, 8, 12), (300.0, 8, -2), (0.7, 4, 3),
     (0.7, 16, 15), (5e-324, 8, 7 + 1074)],
)  # fmt: skip
def test_fraction_length_leaves_the_integer_bits_that_the_largest_value_needs(largest, bits, expected):
    assert fraction_length(largest, bits=bits) == expected


def test_fraction_length_of_zeros_is_that_of_values_below_one():
    assert [int(fraction_length(0.0, bits=bits)) for bits in (16, 8, 4, 2)] == [15, 7, 3, 1]


def test_fraction_length_of_channels_has_their_shape():
    assert fraction_length(np.array([[1.0, 0], [2.5, 0.25]])).tolist() == [[7, 7], [5, 9]]


@given(st.floats(1e-30, 1e30), st.sampled_from([2, 4, 8, 16]))
def test_scale_of_range_is_the_smallest_power_of_two_that_holds_it(largest, bits):
    for low, high in ((-largest, 0.0), (-largest / 2, largest)):
        scale = scale_of_range(low, high, bits=bits)
        assert scale * 2 ** (bits - 1) >= largest
        assert scale / 2 * 2 ** (bits - 1) < largest


def test_power_of_two_itself_saturates_one_step_below():
    scale = scale_of_range(-4, 4)
    assert min(round(4 / scale), 127) * scale == 4 - scale


@given(st.lists(st.integers(-(2**29), 2**29 - 1), min_size=1, max_size=20), st.integers(0, 30))
def test_requantization_by_a_power_of_two_is_a_rounding_shift(sums, shift):
    found = requant(np.array(sums), *quantize_multiplier(2.0**-shift, mode=Mode.SINGLE), Mode.SINGLE)
    expected = [(value + (1 << shift >> 1)) >> shift for value in sums]
    assert found.tolist() == expected


def error(values: np.ndarray, scale: float) -> float:
    codes = np.clip(np.round(values / scale), -128, 127)
    return float(np.mean((codes * scale - values) ** 2))


def counted(values: np.ndarray) -> Histogram:
    seen = Histogram()
    seen.add(values.astype(np.float32))
    return seen


def test_ristretto_loses_at_most_six_decibels_and_about_two_on_average():
    best = min(error(SAMPLE, clip / 127.5) for clip in np.arange(3.6, 4.3, 0.05))
    losses = []
    for power in np.arange(32) / 32:
        deviation = 2.0**power
        low, high = Ristretto().choose(counted(SAMPLE * deviation))
        losses.append(10 * np.log10(error(SAMPLE * deviation, scale_of_range(low, high)) / (best * deviation**2)))
    assert -0.05 <= min(losses) < 0.2
    assert max(losses) <= 6.02
    assert np.mean(losses) == pytest.approx(2, abs=0.7)


@pytest.mark.parametrize("bits", [2, 3, 4, 8, 16])
def test_ristretto_halves_the_range_exactly_where_that_lowers_the_error(bits):
    halved = 0
    for power in np.arange(16) / 16:
        values = np.clip(SAMPLE[:5000], -3.5, 3.5) * 2.0**power
        whole = scale_of_range(float(values.min()), float(values.max()), bits=bits)
        top = 2.0 ** (bits - 1)
        errors = [
            np.sum((Levels(np.array(scale), np.array(-top), np.array(top - 1)).nearest(values) - values) ** 2)
            for scale in (whole, whole / 2)
        ]
        found = scale_of_range(*Ristretto(bits).choose(counted(values)), bits=bits)
        if abs(errors[0] - errors[1]) > 0.02 * errors[0]:
            assert found == (whole if errors[0] < errors[1] else whole / 2)
        halved += found < whole
    assert (halved > 0) == (bits <= 4 or bits == 8)


def test_ristretto_of_zeros_is_no_range():
    assert Ristretto().choose(counted(np.zeros(5))) == (0, 0)


def test_ranges_quantize_with_the_scale_of_their_fraction_length():
    for low, high, scale in ((-1, 0.5, 2.0**-7), (0, 4, 2.0**-5), (-0.3, 4.01, 2.0**-4), (-300, 7, 4.0)):
        assert params_of_range(low, high, name="x", scales="pot") == QuantParams.of(scale)
        params = params_of_range(low, high, name="x", dtype=DType.S16, scales="pot")
        assert params == QuantParams.of(scale / 256)
    assert quantize(np.float32([4, -4]), QuantParams.of(2.0**-5)).tolist() == [127, -128]


def test_ristretto_ranges_keep_their_scale_when_rounded_for_a_model():
    for bits in (2, 4, 8, 16):
        for reach in (0.7, 3.0, 4.0):
            low, high = Ristretto(bits).choose(counted(np.linspace(-reach, reach, 1000)))
            scale = scale_of_range(-reach, reach, bits=bits)
            assert scale_of_range(low, high, bits=bits) == scale
            assert scale_of_range(round_range(low), round_range(high), bits=bits) == scale


def test_scales_of_weights_are_those_of_their_fraction_lengths():
    peaks = np.array([1.0, 0.995, 0.993, 0.98, 1.01, 2.0, 3.0])  # codes that end at 127 would reach 127 / 128 of 1.0
    scales = (peaks / 127).astype(np.float32).astype(np.float64)
    found = powers_of_two(scales, int8=True)
    assert found.tolist() == (2.0 ** -fraction_length(peaks)).tolist()
    assert found.tolist() == [2.0**-7] * 4 + [2.0**-6] * 2 + [2.0**-5]


@given(st.floats(1e-30, 1e30))
def test_other_scales_take_the_next_power_of_two(scale):
    found = float(powers_of_two(np.array([scale]), int8=False)[0])
    assert found / 2 < scale <= found
    assert np.frexp(found)[0] == 0.5


def test_no_scale_stays_none():
    assert powers_of_two(np.zeros(2), int8=False).tolist() == [0, 0]


def test_power_of_two_weights_make_room_for_their_bias():
    b = Builder()
    x = b.input(4, 3)
    y = b.node(
        FullyConnected(), x, b.constant(np.array([[1.0, 0, 0], [1e-9, 0, 0]])), b.constant(np.array([0.5, 300.0]))
    )
    batches = [[np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)]]
    graph = quantize_static(b.graph(y), batches, Recipe(scales="pot", transforms=()))
    (node,) = [node for node in graph.nodes if node.op.name == "fully_connected"]
    w, codes = (graph.tensors[index] for index in node.inputs[1:])
    assert w.quant is not None
    assert codes.data is not None
    assert all(np.frexp(scale)[0] == 0.5 for scale in w.quant.scales)
    assert w.quant.scales[0] == 2.0**-7
    assert 2**28 <= int(np.abs(codes.data).max()) <= 2**29

# SPDX-License-Identifier: Apache-2.0
"""Int16 fully connected layers: multipliers of 31 bits that round as a float64 one does, and which scales have one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from graphbuilder import Builder, normal

from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import Mode, quantize_multiplier, requant_wide, round_away
from edgeq.ir.graph import Graph, Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Rounding
from edgeq.ops.conv2d_s16 import Conv2dS16Step
from edgeq.ops.exact_wide import exact_weight_scale, exact_wide_multiplier
from edgeq.ops.fully_connected import FullyConnected
from edgeq.quantize.recipe import Recipe
from edgeq.quantize.recipes import parse_recipe
from edgeq.quantize.static import quantize_static

SOURCE = float(np.float32(2.0**-12 * 1.1))  # scale of a layer's input


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(16)


def _equal(real: float, m: int, sums: np.ndarray, bound: int) -> bool:
    shift = quantize_multiplier(real, mode=Mode.EXACT)[1]
    scaled = requant_wide(sums, np.array(m), np.array(shift), Mode.EXACT)
    return np.array_equal(np.clip(scaled, -bound, bound), np.clip(round_away(sums * real), -bound, bound))


def _beside_ties(real: float, peak: int, bound: int) -> np.ndarray:
    """Return the accumulators on both sides of every tie, those a few further off, and the last one."""
    places = np.rint((np.arange(bound) + 0.5) / real).astype(np.int64)
    sums = np.append((places[:, np.newaxis] + np.arange(-3, 4)).reshape(-1), peak)
    return np.concatenate([sums, -sums])[np.abs(np.concatenate([sums, sums])) <= peak]


def test_a_multiplier_is_found_just_where_one_rounds_as_float64_does(rng: np.random.Generator) -> None:
    found_none = 0
    for _ in range(400):
        bound, real = int(2.0 ** rng.uniform(0, 9)), float(2.0 ** rng.uniform(-34, 4))
        peak = int(min(2.0 ** rng.uniform(-1, 2) * bound / real, 2.0**47))
        sums = _beside_ties(real, peak, bound)
        found = exact_wide_multiplier(real, peak=peak, bound=bound)
        nearest = quantize_multiplier(real, mode=Mode.EXACT)[0]
        if found is None:
            assert not any(_equal(real, nearest + delta, sums, bound) for delta in ((-1, 0, 1) if nearest else (0,)))
        else:
            assert _equal(real, found, sums, bound), (real, peak, bound)
        found_none += found is None
    assert 50 < found_none < 350


def test_short_ranges_are_compared_at_every_accumulator(rng: np.random.Generator) -> None:
    sums, beside = np.arange(-3000, 3001), 0
    for _ in range(100):
        real = float(np.divide(*rng.integers(1, 100, 2)))  # meets ties, or misses them by a rounding of the quotient
        found = exact_wide_multiplier(real, peak=3000)
        nearest = quantize_multiplier(real, mode=Mode.EXACT)[0]
        if found is None:
            assert not any(_equal(real, nearest + delta, sums, 32768) for delta in (-1, 0, 1)), real
        else:
            assert _equal(real, found, sums, 32768), real
            beside += found != nearest
    assert beside > 5


def test_scales_of_weights_have_an_exact_form_close_by(rng: np.random.Generator) -> None:
    exact = before = 0
    for _ in range(12):
        scale, source = (float(np.float32(2.0 ** rng.uniform(*ends))) for ends in ((-9, -5), (-16, -8)))
        target = float(np.float32(source * scale * 2.0 ** rng.uniform(2, 12)))
        found = exact_weight_scale(scale, source=source, target=target)
        assert found == np.float32(found)
        assert abs(found / scale - 1) <= 2.0**-8
        before += exact_wide_multiplier(source * scale / target, peak=2**47) is not None
        real = source * found / target
        m = exact_wide_multiplier(real, peak=2**47)
        if m is not None:
            exact += 1
            assert _equal(real, m, _beside_ties(real, 2**47, 32768), 32768)
    assert exact == 12
    assert before < 6


def _layer(scales: np.ndarray, target: float, rng: np.random.Generator) -> tuple[list[Tensor | None], list[Tensor]]:
    codes = rng.integers(-127, 128, (len(scales), 64)).astype(np.int8)
    x = Tensor("x", (50, 64), DType.S16, QuantParams.of(SOURCE))
    w = Tensor("w", codes.shape, DType.S8, QuantParams.per_channel(scales, 0), codes)
    return [x, w], [Tensor("y", (50, len(scales)), DType.S16, QuantParams.of(target))]


def test_a_layer_names_the_channels_that_float64_rounds_otherwise(rng: np.random.Generator) -> None:
    target = float(np.float32(0.0013))
    scales = rng.uniform(0.005, 0.01, 12).astype(np.float32).astype(np.float64)
    scales[::2] = [exact_weight_scale(float(scale), source=SOURCE, target=target) for scale in scales[::2]]
    inputs, outputs = _layer(scales, target, rng)
    inexact = FullyConnected().inexact_channels(inputs, outputs)
    assert inexact
    assert not set(inexact) & set(range(0, 12, 2))
    step = FullyConnected().fold(inputs, outputs, rounding=Rounding.TFLITE).step
    assert isinstance(step, Conv2dS16Step)
    for channel, scale in enumerate(scales):
        m, real = int(step.multipliers[channel]), SOURCE * float(scale) / target
        peak = 32768 * int(np.abs(step.weights.reshape(12, -1)[channel].astype(np.int64)).sum())
        assert _equal(real, m, _beside_ties(real, peak, 32768), 32768) == (channel not in inexact)


def test_a_layer_takes_the_multiplier_beside_the_nearest_where_that_one_is_exact() -> None:
    scales = np.arange(1.0, 97.0)
    x = Tensor("x", (5, 1), DType.S16, QuantParams.of(1.0))
    w = Tensor("w", (96, 1), DType.S8, QuantParams.per_channel(scales, 0), np.ones((96, 1), np.int8))
    inputs, outputs = [x, w], [Tensor("y", (5, 96), DType.S16, QuantParams.of(194.0))]
    inexact = FullyConnected().inexact_channels(inputs, outputs)
    step = FullyConnected().fold(inputs, outputs, rounding=Rounding.TFLITE).step
    assert isinstance(step, Conv2dS16Step)
    nearest = [quantize_multiplier(scale / 194, mode=Mode.EXACT)[0] for scale in scales]
    assert any(np.not_equal(step.multipliers, nearest))
    for channel in set(range(96)) - set(inexact):
        assert _equal(scales[channel] / 194, int(step.multipliers[channel]), np.arange(-32768, 32769), 32768), channel


def test_a_layer_with_int8_codes_names_no_channels(rng: np.random.Generator) -> None:
    inputs, outputs = _layer(rng.uniform(0.005, 0.01, 3), 0.3, rng)
    assert inputs[0] is not None
    narrow = Tensor("x", (50, 64), DType.S8, QuantParams.of(0.1))
    assert not FullyConnected().inexact_channels(
        [narrow, inputs[1]], [Tensor("y", (50, 3), DType.S8, outputs[0].quant)]
    )


def _network(*, shared: bool) -> Graph:
    b = Builder()
    weights = b.constant(normal(24, 24))
    x = b.node(FullyConnected(), b.input(1, 24), weights)
    return b.graph(b.node(FullyConnected(), x, weights if shared else b.constant(normal(24, 24) / 3)))


def _quantized(graph: Graph, recipe: Recipe) -> tuple[int, list[np.ndarray]]:
    """Return the number of inexact channels, and the scales of the weights."""
    samples = np.random.default_rng(2).standard_normal((64, 1, 24)).astype(np.float32)
    found = quantize_static(graph, [[samples[:, 0]]], recipe)
    inexact, scales = 0, []
    for node in found.nodes:
        assert isinstance(node.op, FullyConnected)
        inexact += len(node.op.inexact_channels(found.input_tensors(node), found.output_tensors(node)))
        weights = found.tensors[node.inputs[1]].quant
        assert weights is not None
        scales.append(np.array(weights.scales))
    return inexact, scales


@pytest.mark.parametrize("compensation", [(), ("bias_correction",)])
def test_scales_have_exact_forms_where_litert_is_to_give_the_same(compensation: tuple[str, ...]) -> None:
    graph = _network(shared=False)
    recipe = dataclasses.replace(parse_recipe("int16x8"), compensation=compensation, transforms=())
    inexact, plain = _quantized(graph, recipe)
    assert inexact > 24
    none, moved = _quantized(graph, dataclasses.replace(recipe, rounding="tflite"))
    assert none == 0
    for before, after in zip(plain, moved, strict=True):
        np.testing.assert_allclose(after, before, rtol=2.0**-8)
    assert _quantized(graph, dataclasses.replace(recipe, rounding="tflite", scales="pot"))[0] == 0


def test_layers_that_share_weights_and_no_scales_keep_one_copy() -> None:
    recipe = dataclasses.replace(parse_recipe("int16x8"), transforms=())
    graph = _network(shared=True)
    for plain, kept in zip(
        _quantized(graph, recipe)[1], _quantized(graph, dataclasses.replace(recipe, rounding="tflite"))[1], strict=True
    ):
        np.testing.assert_array_equal(plain, kept)

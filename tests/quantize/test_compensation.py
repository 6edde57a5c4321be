# SPDX-License-Identifier: Apache-2.0
"""Compensation: what each method must gain over rounding to nearest, and what they all share."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_samples import GRIDS, SHAPES, grids, nearest, random_layer

from edgeq.errors import InvalidValueError, UsageError
from edgeq.ops.base import Activation
from edgeq.quantize.methods import methods, parse, spell
from edgeq.quantize.methods.adaround import AdaRound
from edgeq.quantize.methods.bias_correction import BiasCorrection
from edgeq.quantize.methods.compensation import Compensation, LayerSamples, Rounded
from edgeq.quantize.methods.gptq import Gptq
from edgeq.quantize.methods.moments import mean_output, mean_products, output_errors
from edgeq.quantize.methods.weights import Grid

QUICK = AdaRound(iterations=300, rows=64)
EVERY = [BiasCorrection(), BiasCorrection(scales=True), Gptq(), Gptq(act_order=False, target="weights"), QUICK]
every = pytest.mark.parametrize("method", EVERY, ids=spell)


def hessian_errors(layer: LayerSamples, rounded: Rounded) -> np.ndarray:
    """Return E H E^T of each channel, from the definition."""
    difference = (rounded.values - layer.weights).reshape(layer.groups, -1, layer.weights.shape[1])
    products = layer.inputs.astype(np.float64).transpose(0, 2, 1) @ layer.inputs.astype(np.float64)
    return np.einsum("gpi,gij,gpj->gp", difference, products, difference).reshape(-1)


def test_folder_registers_the_methods_of_error_compensation():
    assert {"adaround", "bias_correction", "gptq"} <= set(methods(Compensation))
    assert parse("adaround:500", Compensation) == AdaRound(iterations=500)
    assert parse("gptq:target=weights", Compensation) == Gptq(target="weights")


@pytest.mark.parametrize(
    "text",
    ["gptq:damping=0", "gptq:target=inputs", "adaround:0", "adaround:rows=0", "adaround:rate=nan", "adaround:seed=-1"],
)
def test_options_that_cannot_be_meant_are_refused(text):
    with pytest.raises(UsageError):
        parse(text, Compensation)


# ------------------------------------------------------------------------------------------------ all of them


@every
@grids
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_results_are_legal_and_the_same_each_time(method, kind, shape):
    layer = random_layer(3, shape, rows=100)
    before = nearest(layer, kind)
    kept = before.codes.copy(), before.bias.copy(), layer.weights.copy()
    first, second = method.apply(layer, before), method.apply(layer, before)
    assert np.array_equal(first.codes, second.codes)
    assert np.array_equal(first.bias, second.bias)
    assert np.array_equal(first.grid.scales, second.grid.scales)
    assert first.codes.dtype == before.codes.dtype
    assert first.codes.shape == layer.weights.shape
    assert np.isfinite(first.values).all()
    assert np.isfinite(first.bias).all()
    assert all(np.array_equal(*pair) for pair in zip(kept, (before.codes, before.bias, layer.weights), strict=True))


@every
@pytest.mark.parametrize("value", [0.0, 2.5])
def test_constant_inputs_lose_nothing(method, value):
    layer = random_layer(1)
    layer = dataclasses.replace(layer, exact=np.full_like(layer.exact, value), inputs=np.full_like(layer.inputs, value))
    before = nearest(layer)
    after = method.apply(layer, before)
    assert np.all(output_errors(layer, after) <= output_errors(layer, before) + 1e-9)


@every
def test_zero_weights_stay_zero(method):
    layer = random_layer(2)
    layer = dataclasses.replace(layer, weights=np.zeros_like(layer.weights), inputs=layer.exact)
    after = method.apply(layer, nearest(layer))
    assert not after.codes.any()
    assert after.bias == pytest.approx(layer.bias, abs=1e-12)


@pytest.mark.parametrize("method", [Gptq(), Gptq(target="weights"), QUICK], ids=spell)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), shape=st.sampled_from(SHAPES), kind=st.sampled_from(GRIDS))
def test_no_channel_is_worse_than_before(method, seed, shape, kind):
    layer = random_layer(seed, shape, activation=Activation.NONE, rows=60)
    before = nearest(layer, kind)
    after = method.apply(layer, before)
    if method == Gptq(target="weights"):
        errors = hessian_errors(layer, before), hessian_errors(layer, after)
    else:
        errors = output_errors(layer, before), output_errors(layer, after)
    assert np.all(errors[1] <= errors[0] * (1 + 1e-5) + 1e-12)


# ------------------------------------------------------------------------------------------------ bias correction


@grids
def test_corrected_bias_leaves_a_tenth_of_the_mean_error_on_new_samples(kind):
    drawn = random_layer(11, rows=8000)
    layer, fresh = (
        dataclasses.replace(drawn, exact=drawn.exact[:, rows], inputs=drawn.inputs[:, rows])
        for rows in (slice(4000), slice(4000, None))
    )
    before = nearest(layer, kind)
    before = dataclasses.replace(before, codes=before.grid.nearest(layer.weights * 0.9))

    def mean_errors(rounded: Rounded) -> float:
        exact = fresh.outputs(fresh.weights, fresh.bias, exact=True).mean(axis=0)
        return float(np.abs(fresh.outputs(rounded.values, rounded.bias).mean(axis=0) - exact).mean())

    assert mean_errors(BiasCorrection().apply(layer, before)) < 0.1 * mean_errors(before)


def test_bias_correction_is_the_difference_of_means_and_touches_nothing_else():
    layer = random_layer(5, (2, 4, 6))
    before = nearest(layer, "ternary")
    after = BiasCorrection().apply(layer, before)
    exact, outputs = layer.outputs(layer.weights, layer.bias, exact=True), layer.outputs(before.values, before.bias)
    assert after.bias - before.bias == pytest.approx((exact - outputs).mean(axis=0), abs=1e-6)
    assert after.grid is before.grid
    assert after.codes is before.codes


def test_corrected_scales_are_the_least_squares_line():
    layer = random_layer(6, (2, 4, 12), activation=Activation.NONE)
    before = nearest(layer, "ternary")
    after = BiasCorrection(scales=True).apply(layer, before)
    exact, outputs = layer.outputs(layer.weights, layer.bias, exact=True), layer.outputs(before.values, before.bias)
    slopes = [np.polyfit(outputs[:, channel], exact[:, channel], 1)[0] for channel in range(8)]
    assert after.grid.scales / before.grid.scales == pytest.approx(np.clip(slopes, 0.5, 2), rel=1e-4)
    assert np.array_equal(after.grid.scales, np.float32(after.grid.scales))
    bias_only = output_errors(layer, BiasCorrection().apply(layer, before))
    assert output_errors(layer, after).mean() < 0.97 * bias_only.mean()


def test_mean_output_is_that_of_the_outputs():
    layer = random_layer(8, (3, 2, 5))
    found = mean_output(layer.inputs, layer.weights, layer.bias)
    assert found == pytest.approx(layer.outputs(layer.weights, layer.bias).mean(axis=0), abs=1e-6)


def test_mean_products_do_not_depend_on_how_rows_are_cut():
    rng = np.random.default_rng(0)
    left, right = rng.integers(-9, 9, (2, 9000, 3)), rng.integers(-9, 9, (2, 9000, 4))
    assert np.array_equal(mean_products(left, right), np.einsum("gni,gnj->gij", left, right) / 9000)


# ------------------------------------------------------------------------------------------------ GPTQ


@grids
@pytest.mark.parametrize("act_order", [True, False])
@pytest.mark.parametrize("groups", [1, 4])
def test_gptq_with_independent_inputs_rounds_to_nearest(kind, act_order, groups):
    rng = np.random.default_rng(4)
    signs = np.array([[1.0]])
    while len(signs) < 32:
        signs = np.block([[signs, signs], [signs, -signs]])  # Hadamard: columns are orthogonal
    inputs = np.float32(np.broadcast_to(signs, (groups, 32, 32)))
    weights = rng.standard_normal((8, 32))
    layer = LayerSamples("fc", weights, np.zeros(8), Activation.NONE, inputs, inputs)
    before = nearest(layer, kind)
    rough = dataclasses.replace(before, codes=np.roll(before.codes, 1, axis=1))  # so that every channel can gain
    assert np.array_equal(Gptq(act_order=act_order).apply(layer, rough).codes, before.codes)


@pytest.mark.parametrize("act_order", [True, False])
def test_gptq_beats_nearest_on_nearly_every_layer_with_correlated_inputs(act_order):
    method = Gptq(act_order=act_order, target="weights")
    ratios = []
    for seed in range(60):
        layer = random_layer(seed, (1, 6, 24), rows=100)
        before = nearest(layer, GRIDS[seed % len(GRIDS)])
        ratios.append(hessian_errors(layer, method.apply(layer, before)).sum() / hessian_errors(layer, before).sum())
    assert np.mean(np.array(ratios) < 1) > 0.95
    assert np.mean(ratios) < 0.75


def test_inputs_with_large_squares_come_first_whatever_the_size_of_their_group():
    assert Gptq()._order(np.array([[1.0, 9, 4]])).tolist() == [1, 2, 0]
    assert Gptq()._order(np.array([[1.0, 9, 4], [100, 700, 800], [0, 0, 0]])).tolist() == [1, 2, 0]
    assert Gptq(act_order=False)._order(np.array([[1.0, 9, 4]])).tolist() == [0, 1, 2]


def gptq_by_definition(weights: np.ndarray, hessian: np.ndarray, grid: Grid, damping: float) -> np.ndarray:
    """Round column by column, each time solving for the columns left, without a Cholesky factor or blocks (OBQ)."""
    depth = len(hessian)
    inverse = np.linalg.inv(hessian + damping * np.mean(np.diag(hessian)) * np.eye(depth))
    work, codes = weights.copy(), np.empty(weights.shape, np.uint8)
    for column in range(depth):
        codes[:, column : column + 1] = grid.nearest(work[:, column : column + 1], first=column)
        error = work[:, column] - grid.values(codes[:, column : column + 1], first=column)[:, 0]
        work -= np.outer(error, inverse[column]) / inverse[column, column]
        inverse -= np.outer(inverse[:, column], inverse[column]) / inverse[column, column]
    return codes


@pytest.mark.parametrize("kind", ["int4", "groups", "codebook"])
def test_gptq_is_optimal_brain_quantization_in_a_fixed_order(kind):
    layer = random_layer(9, (1, 5, 140))
    before = nearest(layer, kind)
    found = Gptq(act_order=False, target="weights").apply(layer, before)
    inputs = layer.inputs[0].astype(np.float64)
    expected = gptq_by_definition(layer.weights, inputs.T @ inputs, before.grid, 0.01)
    gains = hessian_errors(layer, dataclasses.replace(before, codes=expected)) < hessian_errors(layer, before)
    assert gains.sum() >= 4
    assert np.array_equal(found.codes[gains], expected[gains])


def test_groups_of_channels_are_layers_of_their_own():
    layer = random_layer(12, (6, 2, 9))
    before = nearest(layer, "groups")
    together = Gptq(act_order=False).apply(layer, before).codes
    for group in range(6):
        rows, coding = slice(2 * group, 2 * group + 2), before.grid.coding
        part = dataclasses.replace(coding, group_scales=coding.group_scales[rows])
        alone = dataclasses.replace(
            layer,
            weights=layer.weights[rows],
            bias=layer.bias[rows],
            exact=layer.exact[group : group + 1],
            inputs=layer.inputs[group : group + 1],
        )
        rounded = Rounded(Grid(before.grid.scales[rows], part), before.codes[rows], before.bias[rows])
        assert np.array_equal(Gptq(act_order=False).apply(alone, rounded).codes, together[rows])


def test_aiming_at_outputs_makes_up_for_errors_of_the_layers_before():
    ratios = []
    for seed in range(10):
        layer = random_layer(seed, (1, 8, 24), activation=Activation.NONE, noise=0.0)
        layer = dataclasses.replace(layer, inputs=np.round(layer.exact * 0.9, 1))
        before = nearest(layer, "int8")
        plain, aimed = (Gptq(target=target).apply(layer, before) for target in ("weights", "outputs"))
        ratios.append(output_errors(layer, aimed).mean() / output_errors(layer, plain).mean())
    assert np.mean(ratios) < 0.5


def test_inputs_that_are_always_zero_get_zero_weights():
    layer = random_layer(13)
    inputs = layer.inputs.copy()
    inputs[:, :, 5] = 0
    layer = dataclasses.replace(layer, exact=inputs, inputs=inputs)
    before = nearest(layer)
    changed = np.any(Gptq().apply(layer, before).codes != before.codes, axis=1)
    assert changed.sum() > len(changed) / 2
    assert not Gptq().apply(layer, before).codes[changed, 5].any()


@pytest.mark.parametrize("damping", [1e-17, 1e-20])
def test_damping_grows_a_thousandfold_before_gptq_gives_up(damping):
    layer = random_layer(14, (1, 4, 2))
    inputs = np.float32(np.ones((1, 8, 2)))
    layer = dataclasses.replace(layer, name="stem/conv", exact=inputs, inputs=inputs)
    if damping * 1000 > np.finfo(np.float64).eps / 4:
        Gptq(damping=damping).apply(layer, nearest(layer))
    else:
        with pytest.raises(InvalidValueError, match=r"'stem/conv'.*not positive definite.*damping"):
            Gptq(damping=damping).apply(layer, nearest(layer))


def test_gptq_names_the_layer_whose_inputs_are_not_finite():
    layer = random_layer(15)
    inputs = layer.inputs.copy()
    inputs[0, 3, 1] = np.nan
    with pytest.raises(InvalidValueError, match="'conv'"):
        Gptq().apply(dataclasses.replace(layer, inputs=inputs), nearest(layer))

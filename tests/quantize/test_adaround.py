# SPDX-License-Identifier: Apache-2.0
"""AdaRound: what it must gain over rounding to nearest, and what it must not depend on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from layer_samples import SHAPES, grids, nearest, random_layer

from edgeq.ops.base import Activation
from edgeq.quantize.methods.adaround import AdaRound
from edgeq.quantize.methods.moments import by_group, output_errors

QUICK = AdaRound(iterations=300, rows=64)


@pytest.mark.parametrize("activation", list(Activation), ids=lambda activation: activation.name)
def test_adaround_takes_a_fifth_off_the_error_of_four_bits(activation):
    layers = [random_layer(seed, shape, activation=activation) for seed, shape in enumerate(SHAPES[:3])]
    befores = [nearest(layer) for layer in layers]
    errors = [output_errors(layer, before) for layer, before in zip(layers, befores, strict=True)]
    for layer, before, error in zip(layers, befores, errors, strict=True):
        found = output_errors(layer, QUICK.apply(layer, before))
        assert np.all(found <= error)
        assert found.mean() < 0.8 * error.mean()


@pytest.mark.parametrize("activation", [Activation.NONE, Activation.RELU])
@pytest.mark.parametrize("seed", range(6))
def test_adaround_finds_the_optimum_of_two_weights(activation, seed):
    layer = random_layer(seed, (1, 3, 2), activation=activation, noise=0.0)
    layer = dataclasses.replace(layer, bias=layer.bias + 1)  # most rows are within the activation
    before = nearest(layer)
    pairs = np.stack(before.grid.neighbours(layer.weights))  # (2, O, 2)
    choices = [np.stack([pairs[first, :, 0], pairs[second, :, 1]], axis=1) for first, second in np.ndindex(2, 2)]
    best = np.min([output_errors(layer, dataclasses.replace(before, codes=codes)) for codes in choices], axis=0)
    found = output_errors(layer, AdaRound(iterations=1000, rows=400).apply(layer, before))
    assert found == pytest.approx(best, rel=1e-6)


@grids
def test_adaround_chooses_between_neighbours(kind):
    layer = random_layer(16, (2, 4, 9))
    before = nearest(layer, kind)
    lower, upper = before.grid.neighbours(layer.weights)
    codes = QUICK.apply(layer, before).codes
    changed = codes != before.codes
    assert changed.any()
    assert np.all((codes == lower) | (codes == upper) | ~changed)


@pytest.mark.parametrize("activation", [Activation.NONE, Activation.RELU6])
def test_gradients_are_those_of_the_mean_square_error(activation):
    layer = random_layer(19, (2, 3, 4), activation=activation, noise=0.2)
    before = nearest(layer)
    before = dataclasses.replace(before, bias=before.bias + 0.3)
    found = AdaRound(rows=400)._gradient(layer, before)(by_group(before.values, 2)).reshape(6, 4)
    inputs = layer.inputs.astype(np.float64)
    exact = activation.apply(layer.outputs(layer.weights, layer.bias, exact=True))

    def error(weights: np.ndarray) -> float:
        sums = (inputs @ by_group(weights, 2).transpose(0, 2, 1)).transpose(1, 0, 2).reshape(400, 6) + before.bias
        return float(np.sum(np.mean((activation.apply(sums) - exact) ** 2, axis=0)))

    for place in np.ndindex(6, 4):
        step = np.zeros((6, 4))
        step[place] = 1e-6
        slope = (error(before.values + step) - error(before.values - step)) / 2e-6
        assert found[place] == pytest.approx(slope, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("activation", [Activation.NONE, Activation.RELU])
def test_adaround_does_not_depend_on_the_unit_of_outputs(activation):
    layer = random_layer(20, activation=activation)
    larger = dataclasses.replace(layer, weights=layer.weights * 1024, bias=layer.bias * 1024)
    codes = [QUICK.apply(which, nearest(which)).codes for which in (layer, larger)]
    assert np.array_equal(*codes)


def test_adaround_depends_on_its_seed_alone():
    layer = random_layer(17)
    before = nearest(layer)
    first, again, other = (dataclasses.replace(QUICK, seed=seed).apply(layer, before).codes for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_adaround_with_fewer_rows_than_it_takes_at_a_time_uses_them_all():
    layer = random_layer(18, rows=10)
    before = nearest(layer)
    assert (
        output_errors(layer, AdaRound(iterations=200).apply(layer, before)).mean() < output_errors(layer, before).mean()
    )

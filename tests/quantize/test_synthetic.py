# SPDX-License-Identifier: Apache-2.0
"""Made-up inputs keep to what was declared of them and are as smooth as real ones may be."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from graphbuilder import Builder, normal, run_codes, sqnr
from shared_files import shared

from edgeq.errors import UsageError
from edgeq.frontends import read_model
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import ABSENT, Graph
from edgeq.ops.base import Activation
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.execute import run_float
from edgeq.quantize.calibrate import run_batches
from edgeq.quantize.declared import Around, Declared, Within
from edgeq.quantize.recipe import Recipe
from edgeq.quantize.static import quantize_static
from edgeq.quantize.synthetic import smooth_field, synthetic_batches
from edgeq.rewrite.simplify import simplify_float


def graph_of(*shape: int) -> Graph:
    build = Builder()
    return build.graph(build.input(*shape))


def drawn(graph: Graph, declared: Declared, *, count: int = 256, seed: int = 0) -> np.ndarray:
    ((array,),) = synthetic_batches(graph, inputs=[declared], rng=np.random.default_rng(seed), count=count)
    return array


@pytest.mark.parametrize("shape", [(1, 12, 10, 3), (1, 30, 2), (1, 7), (1, 1, 1, 5), (1, 4, 4, 4, 2)])
def test_values_keep_to_the_range_or_the_moments_declared(shape):
    inside = drawn(graph_of(*shape), Within(-1, 3))
    assert inside.shape == (256, *shape[1:])
    assert inside.dtype == np.float32
    assert -1 <= inside.min() < -0.8
    assert 2.8 < inside.max() <= 3
    around = drawn(graph_of(*shape), Around(2, 0.5), count=400)
    assert around.mean() == pytest.approx(2, abs=0.12)
    assert around.std() == pytest.approx(0.5, rel=0.1)


def test_some_samples_are_noise_and_some_are_smooth():
    images = drawn(graph_of(1, 16, 16, 1), Around(0, 1))[..., 0]
    together = np.mean(images[:, 1:] * images[:, :-1], axis=(1, 2)) / np.mean(images**2, axis=(1, 2))
    assert together.min() < 0.2
    assert together.max() > 0.95
    assert np.mean(together > 0.5) > 0.4


def test_a_field_has_variance_one_at_every_position():
    rng = np.random.default_rng(1)
    fields = np.array([smooth_field((9, 5, 2), rng) for _ in range(1500)])
    np.testing.assert_allclose(fields.var(axis=0), 1, atol=0.2)


def test_equal_seeds_give_equal_inputs_and_integers_are_zeros():
    graph = graph_of(1, 8, 8, 1)
    np.testing.assert_array_equal(drawn(graph, Within(0, 1)), drawn(graph, Within(0, 1)))
    assert (drawn(graph, Within(0, 1)) != drawn(graph, Within(0, 1), seed=1)).any()
    whole = graph.replace(tensors=[dataclasses.replace(graph.tensors[0], dtype=DType.S32)])
    assert not drawn(whole, Within(0, 1)).any()


def test_every_input_must_be_declared():
    with pytest.raises(UsageError, match="1 inputs, 0 declared"):
        synthetic_batches(graph_of(1, 4), inputs=[], rng=np.random.default_rng(0))


def test_they_reach_further_through_a_blurring_layer_than_noise_does():
    build = Builder()
    blur = build.constant(np.ones((1, 3, 3, 1)))
    graph = build.graph(build.node(Conv2d(), build.input(256, 8, 8, 1), blur, ABSENT))
    noise = np.random.default_rng(0).standard_normal((256, 8, 8, 1)).astype(np.float32)
    reach = [np.abs(run_float(graph, [samples])[0]).max() for samples in (drawn(graph, Around(0, 1)), noise)]
    assert reach[0] > 1.2 * reach[1]


def discs(count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw images (n, 12, 12, 1) of one bright disc on a dark ground."""
    rows, columns = np.mgrid[:12, :12]
    centre, radius, bright = rng.uniform(2, 10, (2, count, 1, 1)), rng.uniform(1, 6, (count, 1, 1)), rng.random(count)
    inside = np.hypot(rows - centre[0], columns - centre[1]) < radius
    return (inside * (0.3 + 0.7 * bright[:, None, None]))[..., np.newaxis].astype(np.float32)


def test_a_network_calibrated_on_them_comes_near_one_calibrated_on_data():
    build = Builder()
    y = build.input(1, 12, 12, 1)
    for depth, count in ((1, 8), (8, 8), (8, 4)):
        w = build.constant(normal(count, 3, 3, depth, seed=count) / np.sqrt(9 * depth))
        y = build.node(Conv2d(padding="same", activation=Activation.RELU), y, w, build.constant(normal(count) / 4))
    graph = build.graph(y)
    seen, unseen = discs(64, np.random.default_rng(1)), discs(24, np.random.default_rng(2))
    expected = np.concatenate([run_float(graph, [image[np.newaxis]])[0] for image in unseen])
    noise = np.random.default_rng(3).random((64, 12, 12, 1), np.float32) * 0.1
    reached = []
    for samples in (seen, drawn(graph, Within(0, 1)), noise):
        quantized = quantize_static(graph, [[samples]], Recipe(observer="minmax", transforms=()))
        reached.append(sqnr(expected, np.concatenate([run_codes(quantized, [image])[0] for image in unseen])))
    assert reached[1] > reached[0] - 5
    assert reached[2] < reached[0] - 10


def test_they_tell_the_ranges_of_an_image_classifier():
    graph = simplify_float(read_model(shared("models_trained/fashion_mbnet.tflite")))
    images = np.load(shared("data/fashion_mnist.npz"))["train_x"][:64, ..., np.newaxis] / np.float32(255)
    reached: list[dict[int, float]] = []
    for batch in (images, drawn(graph, Within(0, 1), count=64)):
        peaks: dict[int, float] = {}

        def observe(index: int, values: np.ndarray, peaks: dict[int, float] = peaks) -> None:
            peaks[index] = max(peaks.get(index, 0.0), float(np.abs(values).max()))

        for _ in run_batches(graph, [[batch]], observe=observe):
            pass
        reached.append(peaks)
    ratios = np.array([reached[1][index] / reached[0][index] for index in reached[0]])
    assert ratios.min() > 0.7
    assert ratios.max() < 3

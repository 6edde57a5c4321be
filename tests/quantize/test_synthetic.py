# SPDX-License-Identifier: Apache-2.0
"""Made-up inputs keep to what was declared of them and are as smooth as real ones may be."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from graphbuilder import Builder
from shared_files import shared

from edgeq.errors import UsageError
from edgeq.frontends import read_model
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import ABSENT, Graph
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.execute import run_float
from edgeq.quantize.calibrate import run_batches
from edgeq.quantize.declared import Around, Declared, Within
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

# SPDX-License-Identifier: Apache-2.0
"""Equalization keeps what a graph computes and makes small channels large enough for one scale per tensor."""

from __future__ import annotations

import numpy as np
import pytest
from graphbuilder import Builder, normal, run_codes, sqnr

from edgeq.errors import BadInputError, UsageError
from edgeq.ir.graph import ABSENT, Graph
from edgeq.ops.base import Activation
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.execute import run_float
from edgeq.ops.fully_connected import FullyConnected
from edgeq.quantize.methods import parse
from edgeq.quantize.methods.equalize import equalized_variants
from edgeq.quantize.methods.transform import Transform
from edgeq.quantize.recipe import Recipe
from edgeq.quantize.static import quantize_static

SPREAD = np.float32(2.0 ** -np.arange(6))  # channel sizes

MINMAX = Recipe(observer="minmax")


def uneven(activation: Activation, *, bias: bool = True) -> Graph:
    """Build conv -> depthwise (2 outputs per channel) -> conv whose channels differ 32-fold inside, and not outside."""
    build = Builder()
    x = build.input(1, 6, 6, 3)
    w = build.constant(normal(6, 1, 1, 3, seed=1) * SPREAD[:, None, None, None] / 2)
    b = build.constant(normal(6, seed=2) * SPREAD) if bias else ABSENT
    y = build.node(Conv2d(activation=activation), x, w, b)
    w = build.constant(normal(1, 3, 3, 12, seed=3) / np.repeat(SPREAD, 2))
    y = build.node(DepthwiseConv2d(padding="same", activation=activation), y, w, build.constant(normal(12, seed=4)))
    return build.graph(build.node(Conv2d(), y, build.constant(normal(4, 1, 1, 12, seed=5)), ABSENT))


@pytest.mark.parametrize("activation", [Activation.NONE, Activation.RELU, Activation.RELU6])
@pytest.mark.parametrize("bias", [True, False])
def test_outputs_on_the_data_seen_do_not_change(activation, bias):
    graph, data = uneven(activation, bias=bias), normal(20, 6, 6, 3, seed=9)
    variants = equalized_variants(graph, [[data[:5]], [data[5:]]])
    assert len(variants) == 2
    for variant in variants:
        assert variant != graph
        for sample in data:
            (expected,), (found,) = (run_float(which, [sample[np.newaxis]]) for which in (graph, variant))
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("activation", [Activation.RELU, Activation.RELU6])
def test_codes_come_nearer_to_the_float_graph(activation):
    graph, data = uneven(activation), normal(64, 6, 6, 3, seed=9)
    expected = np.concatenate([run_float(graph, [sample[np.newaxis]])[0] for sample in data])
    reached = []
    for equalized in (False, True):
        found = quantize_static(graph, [[data]], MINMAX, keep_values=not equalized)
        reached.append(sqnr(expected, np.concatenate([run_codes(found, [sample])[0] for sample in data])))
    assert reached[1] > reached[0] + 3


def test_rescaled_tensors_are_renamed_and_others_keep_their_names():
    graph = uneven(Activation.RELU)
    changed = equalized_variants(graph, [[normal(4, 6, 6, 3)]])[1]
    names = [changed.tensors[node.outputs[0]].name for node in changed.nodes]
    assert names[0].endswith("/equalized")
    assert names[-1] == graph.tensors[graph.outputs[0].tensor].name


def test_layers_that_share_constants_or_a_tensor_that_is_read_twice_are_left_alone():
    build = Builder()
    x, w = build.input(1, 4), build.constant(normal(4, 4))
    shared = build.graph(build.node(FullyConnected(), build.node(FullyConnected(), x, w, ABSENT), w, ABSENT))
    build = Builder()
    y = build.node(FullyConnected(), build.input(1, 4), build.constant(normal(4, 4)), ABSENT)
    exposed = build.graph(build.node(FullyConnected(), y, build.constant(normal(4, 4)), ABSENT), y)
    for graph in (shared, exposed):
        assert equalized_variants(graph, [[normal(4, 4)]]) == []


def test_channels_of_zeros_and_no_data_are_no_obstacle():
    build = Builder()
    x = build.input(1, 4)
    y = build.node(FullyConnected(activation=Activation.RELU), x, build.constant(np.zeros((4, 4))), ABSENT)
    graph = build.graph(build.node(FullyConnected(), y, build.constant(normal(2, 4)), ABSENT))
    (changed,) = equalized_variants(graph, [[normal(3, 4)]])
    assert not run_float(changed, [normal(1, 4)])[0].any()
    with pytest.raises(BadInputError, match="no sample"):
        quantize_static(graph, [], MINMAX)


@pytest.mark.parametrize("size", [1, 3, 70])
def test_data_may_be_readable_only_once_and_come_in_batches_of_any_size(size):
    graph, data = uneven(Activation.RELU), normal(70, 6, 6, 3, seed=9)
    seen: list[int] = []
    batches = ([data[start : start + size]] for start in range(0, 70, size))
    found = quantize_static(graph, batches, MINMAX, progress=seen.append)
    assert seen[-1] == 70
    whole = quantize_static(graph, [[data]], MINMAX)
    assert [tensor.quant for tensor in found.tensors] == [tensor.quant for tensor in whole.tensors]


def test_the_transform_makes_either_variant_and_refuses_what_it_does_not_know():
    graph, samples = uneven(Activation.RELU), [[normal(4, 6, 6, 3)]]
    for variant, text in zip(equalized_variants(graph, samples), ("depthwise", "all"), strict=True):
        found = parse(f"equalize:{text}", Transform).apply(graph, samples)
        for mine, theirs in zip(found.tensors, variant.tensors, strict=True):
            assert mine.name == theirs.name
            np.testing.assert_array_equal(mine.data, theirs.data)
    with pytest.raises(UsageError, match="all or depthwise"):
        parse("equalize:before=some", Transform)
    with pytest.raises(BadInputError, match="none were given"):
        parse("equalize", Transform).apply(graph, [])

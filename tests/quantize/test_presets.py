# SPDX-License-Identifier: Apache-2.0
"""Presets that do as other toolchains: each quantizes a network, and does what it is known for."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from graphbuilder import Builder, normal, run_codes, sqnr

from edgeq.ir.dtypes import DType
from edgeq.ir.graph import ABSENT, Graph
from edgeq.ops.base import Activation
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.execute import run_float
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.reshape import Reshape
from edgeq.quantize.presets import PRESETS
from edgeq.quantize.static import quantize_static

BY_NAME = {recipe.name: recipe for recipe in PRESETS}
DATA = normal(64, 8, 8, 2, seed=20)


def net() -> Graph:
    build = Builder()
    x = build.input(1, 8, 8, 2)
    y = build.node(Conv2d(padding="same", activation=Activation.RELU), x, build.constant(normal(8, 3, 3, 2, seed=1)),
                   build.constant(normal(8, seed=2)))  # fmt: skip
    y = build.node(Conv2d(padding="same"), y, build.constant(normal(8, 1, 1, 8, seed=3) / 3), ABSENT)
    weights = build.constant(normal(5, 512, seed=4) / 20)
    return build.graph(build.node(FullyConnected(), build.node(Reshape((1, 512)), y), weights, ABSENT))


def activations(graph: Graph) -> list:
    return [tensor.quant for tensor in graph.tensors if not tensor.is_constant and tensor.dtype is DType.S8]


def test_every_toolchain_has_one():
    assert list(BY_NAME) == ["tensorrt", "ncnn", "ppq", "qualcomm", "horizon", "cambricon", "hisilicon"]


@pytest.mark.parametrize("name", BY_NAME)
def test_preset_quantizes_a_network_near_its_float_outputs(name):
    graph = net()
    found = quantize_static(graph, [[DATA]], BY_NAME[name])
    expected = np.concatenate([run_float(graph, [sample[np.newaxis]])[0] for sample in DATA])
    codes = np.concatenate([run_codes(found, [sample])[0] for sample in DATA])
    assert sqnr(expected, codes) > (10 if BY_NAME[name].observer == "kl" else 25)


@pytest.mark.parametrize("name", ["tensorrt", "ncnn", "cambricon"])
def test_symmetric_toolchains_have_zero_points_zero_or_unsigned_codes(name):
    assert {params.zero_point for params in activations(quantize_static(net(), [[DATA]], BY_NAME[name]))} == {0, -128}


def test_qualcomm_equalizes_weights_for_one_scale_per_tensor():
    recipe = BY_NAME["qualcomm"]
    found = quantize_static(net(), [[DATA]], recipe)
    weights = [tensor.quant for tensor in found.tensors if tensor.is_constant and tensor.dtype is DType.S8]
    assert all(len(set(params.scales)) == 1 for params in weights)
    plain = quantize_static(net(), [[DATA]], dataclasses.replace(recipe, transforms=()))
    first, as_it_was = (graph.tensors[graph.nodes[0].inputs[1]].data for graph in (found, plain))
    assert not np.array_equal(first, as_it_was)


def test_hisilicon_weights_are_logarithmic():
    found = quantize_static(net(), [[DATA]], BY_NAME["hisilicon"])
    assert [found.tensors[node.inputs[1]].coding.bits for node in found.nodes if len(node.inputs) > 1] == [8, 8, 8]


def test_scale_that_cambricon_splits_is_that_of_symmetric_int8():
    for largest in (0.3, 1.0, 7.99, 2.0**-9):
        position = math.floor(math.log2(largest)) - 6
        scale = 2.0**position * 127 / largest
        assert 0.99 <= scale < 2
        assert 2.0**position / scale == pytest.approx(largest / 127)

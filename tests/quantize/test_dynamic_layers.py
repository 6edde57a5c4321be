# SPDX-License-Identifier: Apache-2.0
"""Graphs whose layers find their scales while they run: which tensors stay dynamic, and how near they come."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from graphbuilder import Builder, normal, run_codes, sqnr
from shared_files import shared

from edgeq.compile.planner import make_plan
from edgeq.errors import UnsupportedError
from edgeq.format.read import read_model
from edgeq.format.write import write_model
from edgeq.ir.boundary import dequantize, quantize_real
from edgeq.ir.verify import verify_graph
from edgeq.ops.add import Add
from edgeq.ops.base import Activation, Rounding
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.dynamic_linear import DynamicLinear
from edgeq.ops.dynamic_rows import RowRange
from edgeq.ops.execute import run_float
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.logistic import Logistic
from edgeq.ops.reshape import Reshape
from edgeq.pipeline import read_source
from edgeq.quantize.dynamic import Rows, dynamic_layers
from edgeq.quantize.recipe import Recipe
from edgeq.quantize.static import quantize_for_shape, quantize_static
from edgeq.rewrite.batch import rebatch
from edgeq.rewrite.shrink import shrink
from edgeq.rewrite.simplify import simplify_float
from edgeq.runtime.native import NativeRunner
from edgeq.runtime.reference import run_reference


def weights(b, *shape, seed=0, gain=0.4):
    """Add weights that keep values about [-1, 1], the range of quantize_for_shape."""
    depth = np.prod(shape[1:3]) if shape[0] == 1 else np.prod(shape[1:])
    return b.constant(normal(*shape, seed=seed) * gain / np.sqrt(depth))


def conv(b, x, count, size, *, seed=0, activation=Activation.RELU):
    depth = b.tensors[x].shape[3]
    bias = b.constant(normal(count, seed=seed + 1) * 0.1)
    return b.node(
        Conv2d(padding="same", activation=activation), x, weights(b, count, size, size, depth, seed=seed), bias
    )


def chain(*, rows=False):
    """Three convolutions, a reshape and a fully connected layer."""
    b = Builder()
    x = b.input(1, 6, 6, 8)
    y = conv(b, x, 12, 3)
    y = b.node(
        DepthwiseConv2d(padding="same", activation=Activation.RELU6),
        y,
        weights(b, 1, 3, 3, 12),
        b.constant(normal(12) * 0.1),
    )
    y = conv(b, y, 8, 1, seed=5)
    y = b.node(Reshape((36, 8) if rows else (1, 288)), y)
    return b.graph(
        b.node(FullyConnected(), y, weights(b, 5, b.tensors[y].shape[1], seed=9, gain=4), b.constant(normal(5) * 0.1))
    )


def residual():
    b = Builder()
    x = b.input(1, 5, 5, 6)
    left = conv(b, x, 6, 3)
    y = conv(b, left, 6, 1, seed=3, activation=Activation.NONE)
    total = b.node(Add(), y, left)
    return b.graph(b.node(Logistic(), conv(b, total, 4, 3, seed=7, activation=Activation.NONE)))


def dynamic(graph, **choices):
    """Quantize with made-up static ranges of +-1, and make the layers dynamic."""
    found = dynamic_layers(quantize_for_shape(graph), **choices)
    verify_graph(found)
    return found


def feed(graph, seed=0):
    shape = graph.tensors[graph.inputs[0].tensor].shape
    return [np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)]


def run_natively(graph, samples):
    """Run a quantized graph on samples one by one; real values in and out."""
    plan = make_plan(shrink(graph, rounding=Rounding.NATIVE).graph, rounding=Rounding.NATIVE)
    content = write_model(plan)
    runner = NativeRunner(read_model(content), content)
    source, target = plan.values[plan.inputs[0].value], plan.values[plan.outputs[0].value]
    codes = [quantize_real(sample[None], source.quant, source.dtype) for sample in samples]
    return np.concatenate([dequantize(runner.run([code]).outputs[0], target.quant) for code in codes])


def names(graph):
    return Counter(node.op.name for node in graph.nodes)


def results(graph):
    """Say of each layer whether its result is dynamic."""
    return [node.op.row_range is not None for node in graph.nodes if isinstance(node.op, DynamicLinear)]


def test_layers_hand_on_their_scales_through_reshapes():
    found = dynamic(chain())
    assert names(found) == {"dynamic_quantize": 1, "dynamic_linear": 4, "reshape": 1}
    assert results(found) == [True, True, True, False]


def test_what_other_operators_read_is_static():
    found = dynamic(residual())
    assert results(found) == [False, False, False]
    assert names(found) == {"dynamic_quantize": 3, "dynamic_linear": 3, "add": 1, "logistic": 1}


def test_layers_that_read_one_tensor_share_its_codes():
    b = Builder()
    x = b.input(1, 5, 5, 6)
    found = dynamic(b.graph(conv(b, x, 4, 3), conv(b, x, 4, 1, seed=3)))
    assert names(found) == {"dynamic_quantize": 1, "dynamic_linear": 2}


def test_a_model_output_is_static_though_a_layer_reads_it():
    b = Builder()
    x = conv(b, b.input(1, 5, 5, 6), 4, 3)
    found = dynamic(b.graph(x, conv(b, x, 4, 3, seed=2)))
    assert results(found) == [False, False]
    assert found.tensors[found.outputs[0].tensor].quant is not None


def test_tokens_have_scales_of_their_own_where_no_window_joins_them():
    found = dynamic(chain(rows=True), rows=Rows.TOKEN)
    layers = [node.op for node in found.nodes if isinstance(node.op, DynamicLinear)]
    assert [op.rows for op in layers] == [1, 1, 36, 36]
    assert results(found) == [True, False, True, False]


def test_layers_without_plain_weights_stay_static():
    b = Builder()
    x, w = b.input(2, 6), b.input(4, 6)
    graph = quantize_for_shape(b.graph(b.node(FullyConnected(), x, w)))
    with pytest.raises(UnsupportedError, match="test: no layer has int8 weights, which run-time scales need"):
        dynamic_layers(graph)


@pytest.mark.parametrize("graph", [chain(), chain(rows=True), residual()], ids=["chain", "rows", "residual"])
@pytest.mark.parametrize("rows", list(Rows), ids=lambda rows: rows.value)
@pytest.mark.parametrize(("row_range", "decibels"), [(RowRange.SYMMETRIC, 27), (RowRange.ASYMMETRIC, 30)])
def test_results_are_near_the_float_graph(graph, rows, row_range, decibels):
    feeds = feed(graph)
    (expected,), (found,) = run_float(graph, feeds), run_codes(dynamic(graph, rows=rows, row_range=row_range), feeds)
    assert sqnr(expected, found) > decibels


def test_small_inputs_come_out_as_well_as_large_ones():
    """A thousandth of the static range: static codes of the hidden tensors would be -1, 0 and 1."""
    b = Builder()
    x = b.input(1, 4, 4, 8)
    y = b.node(Conv2d(), x, weights(b, 16, 3, 3, 8))
    graph = b.graph(b.node(Conv2d(), y, b.constant(normal(8, 1, 1, 16, seed=1) * 20)))
    feeds = [np.round(feed(graph)[0] * 127) / 127]
    static, (expected,) = quantize_for_shape(graph), run_float(graph, feeds)
    small = [array * 0.02 for array in (feeds[0], expected)]
    found, plain = (run_codes(which, small[:1])[0] for which in (dynamic_layers(static), static))
    assert sqnr(small[1], found) > sqnr(small[1], plain) + 6


@pytest.mark.parametrize("rows", list(Rows), ids=lambda rows: rows.value)
@pytest.mark.parametrize("row_range", list(RowRange), ids=lambda row_range: row_range.name.lower())
def test_interpreter_equals_the_twin_through_a_file(rows, row_range):
    for graph in (chain(), chain(rows=True), residual()):
        quantized = shrink(dynamic(graph, rows=rows, row_range=row_range), rounding=Rounding.NATIVE).graph
        plan = make_plan(quantized, rounding=Rounding.NATIVE)
        data = write_model(plan)
        source = plan.values[plan.inputs[0].value]
        codes = [quantize_real(feed(graph, seed=4)[0], source.quant, source.dtype)]
        expected = run_reference(read_model(data), codes, crcs=True)
        found = NativeRunner(read_model(data), data).run(codes, crcs=True)
        assert found.step_crcs == expected.step_crcs
        np.testing.assert_array_equal(found.outputs[0], expected.outputs[0])


@pytest.mark.parametrize("rows", list(Rows), ids=lambda rows: rows.value)
def test_samples_that_run_together_come_out_as_alone(rows):
    for graph in (chain(), residual()):
        quantized = dynamic(graph, rows=rows)
        samples = [feed(graph, seed)[0] * 10.0**-seed for seed in range(3)]
        alone = [run_codes(quantized, [sample])[0] for sample in samples]
        (together,) = run_codes(rebatch(quantized, 3), [np.concatenate(samples)])
        np.testing.assert_array_equal(together, np.concatenate(alone))


def test_samples_that_share_a_scale_do_not_run_with_others():
    b = Builder()
    x = b.node(Logistic(), b.input(4, 6))
    graph = dynamic(b.graph(b.node(FullyConnected(), x, weights(b, 5, 6))))
    with pytest.raises(UnsupportedError, match="4 samples share 1 rows of run-time scales"):
        rebatch(graph, 8)


def test_a_trained_network_stays_near_its_float_values():
    """fashion_mbnet, with static int16 tensors between its blocks."""
    data = np.load(shared("data/fashion_mnist.npz"))
    samples = (data["train_x"][:160, ..., None] / 255).astype(np.float32)
    graph = simplify_float(read_source(shared("models_trained/fashion_mbnet.tflite")))
    recipe = Recipe(observer="minmax", activations="int16", transforms=())
    static = quantize_static(graph, [[samples[:128]]], recipe)
    expected = np.concatenate([run_float(graph, [sample[None]])[0] for sample in samples[128:]])
    for rows in Rows:
        found = run_natively(dynamic_layers(static, rows=rows), samples[128:])
        assert sqnr(expected, found) > 33
        assert np.mean(expected.argmax(axis=1) == found.argmax(axis=1)) > 0.95

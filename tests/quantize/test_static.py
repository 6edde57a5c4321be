# SPDX-License-Identifier: Apache-2.0
"""Static quantization: which parameters come out, what is refused, how near the result stays to the float graph."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
from graphbuilder import Builder, conv, normal, run_codes, sqnr

from edgeq.errors import BadInputError, InvalidValueError, UnsupportedError, UsageError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import ABSENT, Graph
from edgeq.ir.qparams import QuantParams
from edgeq.ops.add import Add
from edgeq.ops.base import Activation
from edgeq.ops.batch_matmul import BatchMatmul
from edgeq.ops.concatenation import Concatenation
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.execute import run_float
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.logistic import Logistic
from edgeq.ops.maximum import Maximum
from edgeq.ops.pad import Pad
from edgeq.ops.prelu import Prelu
from edgeq.ops.reshape import Reshape
from edgeq.ops.tanh import Tanh
from edgeq.quantize.affine import params_of_range, quantize_bias, quantize_weights, round_range
from edgeq.quantize.methods import methods, spell
from edgeq.quantize.methods.base import Method
from edgeq.quantize.methods.minmax import MinMax
from edgeq.quantize.recipe import Recipe
from edgeq.quantize.static import quantize_for_shape, quantize_static


def quantized(graph: Graph, *batches: np.ndarray, method: Method | None = None) -> Graph:
    recipe = Recipe(observer=spell(method or MinMax()))
    return quantize_static(graph, [[batch] for batch in batches], recipe)


def output_params(graph: Graph, node: int = -1) -> QuantParams:
    return graph.tensors[graph.nodes[node].outputs[0]].quant


# ------------------------------------------------------------------------------------------------ parameters


def test_ranges_are_rounded_to_16_significant_bits():
    assert round_range(0.0) == 0
    assert round_range(-1.0) == -1
    assert round_range(1 + 2**-16) == 1 + 2**-15  # a tie goes away from zero
    assert round_range(-(3 + 2**-16)) == -3
    for value in (1e-30, 0.1, 12345.678):
        assert abs(round_range(value) / value - 1) <= 2**-16


@pytest.mark.parametrize(
    ("low", "high", "zero"), [(0, 5, -128), (-5, 0, 127), (2, 5, -128), (-5, -2, 127), (-1, 1, -1), (-1, 3, -64)]
)
def test_range_is_widened_to_hold_zero(low, high, zero):
    params = params_of_range(low, high, name="t")
    assert params.zero_point == zero
    assert params.scale == np.float32((max(high, 0) - min(low, 0)) / 255)


def test_range_of_zeros_has_scale_one_and_a_tiny_one_warns():
    assert params_of_range(0, 0, name="t") == QuantParams.of(1.0)
    with pytest.warns(UserWarning, match="taken as zero"):
        assert params_of_range(0, 1e-35, name="t") == QuantParams.of(1.0)
    with pytest.raises(InvalidValueError, match="'t'"):
        params_of_range(0, float("inf"), name="t")


def test_weights_are_symmetric_per_channel_and_empty_channels_get_the_largest_scale():
    weights = np.array([[1, -2], [0, 0], [0.5, 0.25]], np.float32)
    codes, params = quantize_weights(weights, 0, name="w")
    assert codes.tolist() == [[64, -127], [0, 0], [127, 64]]
    assert params.scales == tuple(np.float32([2 / 127, 2 / 127, 0.5 / 127]).tolist())
    assert params.axis == 0
    codes, params = quantize_weights(np.zeros((2, 3), np.float32), 1, name="w")
    assert params.scales == (1.0, 1.0, 1.0)
    with pytest.warns(UserWarning, match="channel 1"):
        codes, params = quantize_weights(np.float32([[1, 1], [1e-32, 0]]), 0, name="w")
    assert codes[1].tolist() == [0, 0]
    assert len(set(params.scales)) == 1


def test_scale_of_a_dead_channel_widens_until_its_bias_fits():
    weights = np.float32([[1, -2], [1e-9, 0]])
    codes, params = quantize_weights(weights, 0, name="w", least=np.array([0, 1e-6]))
    assert params.scales == tuple(np.float32([2 / 127, 1e-6]).tolist())
    assert codes.tolist() == [[64, -127], [0, 0]]


def test_bias_is_rounded_away_at_the_accumulators_scale_and_must_fit():
    weights = QuantParams.per_channel(np.float32([0.5, 0.25]), 0)
    codes, params = quantize_bias(np.float32([0.375, -0.375]), input_scale=0.5, weights=weights)
    assert codes.tolist() == [2, -3]
    assert codes.dtype == np.int32
    assert params.scales == (0.25, 0.125)
    with pytest.raises(InvalidValueError, match="channel 1"):
        quantize_bias(np.float32([1, 1e9]), input_scale=0.5, weights=weights)


# ------------------------------------------------------------------------------------------------ graphs


def test_conv_gets_int8_weights_int32_bias_and_calibrated_activations():
    build = Builder()
    x = build.input(1, 6, 6, 3)
    graph = build.graph(conv(build, x))
    data = normal(40, 6, 6, 3, seed=8)
    found = quantized(graph, data)
    source, weights, bias = found.input_tensors(found.nodes[0])
    assert (source.dtype, weights.dtype, bias.dtype) == (DType.S8, DType.S8, DType.S32)
    assert weights.quant.axis == 0
    assert len(weights.quant.scales) == 4
    assert weights.data.min() >= -127
    assert source.quant == params_of_range(round_range(float(data.min())), round_range(float(data.max())), name="x")
    assert [port.dtype for port in (*found.inputs, *found.outputs)] == [DType.F32, DType.F32]
    expected = np.concatenate([run_float(graph, [sample[np.newaxis]])[0] for sample in data])
    codes = np.concatenate([run_codes(found, [sample])[0] for sample in data])
    assert sqnr(expected, codes) > 35


def test_io_dtype_declares_codes_at_the_boundary():
    build = Builder()
    x = build.input(1, 4)
    graph = build.graph(build.node(Logistic(), x))
    found = quantize_static(graph, [[normal(8, 4)]], Recipe(), io_dtype=DType.S8)
    assert [port.dtype for port in (*found.inputs, *found.outputs)] == [DType.S8, DType.S8]


def test_fused_activation_limits_the_range():
    build = Builder()
    x = build.input(1, 6)
    w = build.constant(normal(5, 6))
    graph = build.graph(build.node(FullyConnected(activation=Activation.RELU6), x, w, ABSENT))
    params = output_params(quantized(graph, normal(64, 6, seed=1) * 50))
    assert params == QuantParams.of(6 / 255, -128)


def test_moved_tensors_share_the_union_of_their_ranges():
    build = Builder()
    x = build.input(1, 4)
    first = build.node(FullyConnected(), x, build.constant(np.eye(4) * 10), ABSENT)
    second = build.node(FullyConnected(), x, build.constant(-np.eye(4)), ABSENT)
    joined = build.node(Concatenation(axis=1), first, second, build.constant(np.float32([[-77]])))
    graph = build.graph(build.node(Reshape((3, 3)), joined))
    found = quantized(graph, np.float32([[1, 2, 3, 4], [0, 1, 5, 2]]))
    members = {index for node in found.nodes[2:] for index in (*node.inputs, *node.outputs)}
    assert {found.tensors[index].quant for index in members} == {params_of_range(-77, 50, name="")}
    assert run_codes(found, [np.float32([1, 2, 3, 4])])[0].reshape(-1)[-1] == pytest.approx(-77, abs=0.3)


def test_fixed_output_keeps_its_scale_and_a_group_of_fixed_values_takes_it():
    build = Builder()
    graph = build.graph(build.node(Reshape((2, 2)), build.node(Logistic(), build.input(1, 4))))
    found = quantized(graph, normal(9, 4))
    assert [node.op.name for node in found.nodes] == ["logistic", "reshape"]
    assert output_params(found) == QuantParams.of(1 / 256, -128)


def test_fixed_output_in_a_mixed_group_is_requantized_for_that_group_alone():
    build = Builder()
    x = build.input(1, 4)
    gate = build.node(Logistic(), x)
    joined = build.node(Concatenation(axis=1), gate, x)
    graph = build.graph(joined, build.node(Concatenation(axis=0), gate, build.node(Tanh(), x)), gate)
    data = normal(20, 4, seed=3)
    found = quantized(graph, data)
    assert [node.op.name for node in found.nodes].count("quantize") == 2
    assert output_params(found, 0) == QuantParams.of(1 / 256, -128)
    for expected, codes in zip(run_float(graph, [data[:1]]), run_codes(found, [data[:1]]), strict=True):
        np.testing.assert_allclose(codes, expected, atol=0.03)


def test_other_constants_are_quantized_by_their_own_range():
    build = Builder()
    x = build.input(1, 4)
    y = build.node(Add(), x, build.constant(np.float32([0, 1, 2, 5.1])))
    y = build.node(Prelu(), y, build.constant(np.float32([0.1, 0.2, 0.3, 0.255])))
    left = build.node(Reshape((1, 1, 4)), y)
    graph = build.graph(build.node(BatchMatmul(), left, build.constant(normal(1, 4, 2))))
    data = normal(50, 4, seed=4)
    found = quantized(graph, data)
    assert found.input_tensors(found.nodes[0])[1].quant == params_of_range(0, float(np.float32(5.1)), name="")
    assert {tensor.dtype for tensor in found.tensors} == {DType.S8}
    expected = np.concatenate([run_float(graph, [data[row : row + 1]])[0] for row in range(50)])
    codes = np.concatenate([run_codes(found, [data[row]])[0] for row in range(50)])
    assert sqnr(expected, codes) > 30


def test_shared_constants_get_one_copy_for_each_use():
    build = Builder()
    x = build.input(1, 4)
    w, b = build.constant(normal(4, 4)), build.constant(normal(4))
    first = build.node(FullyConnected(), x, w, b)
    second = build.node(FullyConnected(), first, w, b)
    graph = build.graph(build.node(Add(), second, build.node(FullyConnected(), x, w, b)))
    found = quantized(graph, normal(30, 4, seed=6))
    weights = {node.inputs[1] for node in found.nodes[:3]}
    biases = [node.inputs[2] for node in found.nodes[:3]]
    assert len(weights) == 1
    assert biases[0] == biases[2] != biases[1]


def test_padding_value_and_maximum_share_the_range():
    build = Builder()
    x = build.input(1, 4)
    padded = build.node(Pad(((0, 0), (1, 1))), x, build.constant(-9.0))
    found = quantized(build.graph(build.node(Maximum(), padded, build.constant(3.0))), np.ones((2, 4), np.float32))
    assert output_params(found) == params_of_range(-9, 3, name="")


def random_net(seed: int) -> Graph:
    build = Builder()
    x = build.input(1, 8, 8, 2)
    y = build.node(Conv2d(padding="same", activation=Activation.RELU), x, build.constant(normal(8, 3, 3, 2, seed=seed)),
                   build.constant(normal(8, seed=seed + 1)))  # fmt: skip
    z = build.node(Conv2d(padding="same"), y, build.constant(normal(8, 1, 1, 8, seed=seed + 2) / 3), ABSENT)
    y = build.node(Reshape((1, 512)), build.node(Add(), y, z))
    return build.graph(build.node(FullyConnected(), y, build.constant(normal(5, 512, seed=seed + 3) / 20), ABSENT))


@pytest.mark.parametrize("name", sorted(methods(Method)))
def test_every_method_stays_near_the_float_graph(name):
    graph, data = random_net(1), normal(96, 8, 8, 2, seed=20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = quantized(graph, data[:64], method=methods(Method)[name]())
    expected = np.concatenate([run_float(graph, [sample[np.newaxis]])[0] for sample in data[64:]])
    codes = np.concatenate([run_codes(found, [sample])[0] for sample in data[64:]])
    assert sqnr(expected, codes) > {"avg_minmax": 8, "mean_std": 12, "kl": 12, "ema": 20}.get(name, 25)


def same(first: Graph, second: Graph) -> bool:
    """Compare graphs; arrays by value."""
    bare = [graph.replace(tensors=[dataclasses.replace(tensor, data=None) for tensor in graph.tensors])
            for graph in (first, second)]  # fmt: skip
    pairs = zip(first.tensors, second.tensors, strict=True)
    return bare[0] == bare[1] and all(a.data is b.data is None or np.array_equal(a.data, b.data) for a, b in pairs)


def test_same_data_in_other_batches_and_order_give_the_same_graph():
    graph, data = random_net(3), normal(50, 8, 8, 2, seed=5)
    for name in ("minmax", "percentile", "mse"):
        method = methods(Method)[name]()
        first = quantized(graph, data, method=method)
        assert same(first, quantized(graph, data, method=method))
        assert same(first, quantized(graph, *data[::-1], method=method))


def test_progress_counts_samples():
    seen: list[int] = []
    build = Builder()
    graph = build.graph(build.node(Logistic(), build.input(1, 4)))
    quantize_static(graph, [[normal(40, 4)], [normal(3, 4)]], Recipe(), progress=seen.append)
    assert seen == [40, 43]


def test_for_shape_has_the_structure_of_the_real_thing_and_needs_no_data():
    graph = random_net(2)
    real, shaped = quantized(graph, normal(8, 8, 8, 2)), quantize_for_shape(graph)
    assert real.nodes == shaped.nodes
    assert [(a.shape, a.dtype) for a in real.tensors] == [(b.shape, b.dtype) for b in shaped.tensors]
    build = Builder()
    x, w, b = build.input(1, 2), build.constant(np.full((1, 2), 1e-20)), build.constant(np.float32([9]))
    quantize_for_shape(build.graph(build.node(FullyConnected(), x, w, b)))


# ------------------------------------------------------------------------------------------------ refusals


def test_data_that_do_not_fit_are_refused():
    build = Builder()
    graph = build.graph(build.node(Logistic(), build.input(1, 4)))
    with pytest.raises(BadInputError, match="no sample"):
        quantized(graph)
    with pytest.raises(BadInputError, match="no sample"):
        quantized(graph, np.zeros((0, 4)))
    with pytest.raises(BadInputError, match=r"'x0'.*\[4\] expected.*\[2, 5\]"):
        quantized(graph, np.zeros((2, 5)))
    with pytest.raises(BadInputError, match="float32 expected, int64"):
        quantized(graph, np.zeros((2, 4), np.int64))
    with pytest.raises(InvalidValueError, match=r"'x0'.*nan at flat index 5"):
        quantized(graph, np.float32([[0, 1, 2, 3], [4, np.nan, 0, 0]]))
    with pytest.warns(UserWarning, match="one sample"):
        quantized(graph, np.ones(4))


def test_constants_that_are_not_finite_are_refused_by_name_and_index():
    build = Builder()
    x, w = build.input(1, 2), build.constant(np.float32([[1, 2], [3, np.inf]]))
    graph = build.graph(build.node(FullyConnected(), x, w, ABSENT))
    with pytest.raises(InvalidValueError, match=r"'c1'.*inf at flat index 3"):
        quantized(graph, np.ones((2, 2)))


def test_dead_channel_keeps_its_bias():
    build = Builder()
    x, w, b = build.input(1, 2), build.constant([[1e-18, 0], [1, 0.5]]), build.constant([0.75, -0.25])
    graph = build.graph(build.node(FullyConnected(), x, w, b))
    data = normal(30, 2)
    found = run_codes(quantized(graph, data), [data[0]])[0]
    np.testing.assert_allclose(found, run_float(graph, [data[:1]])[0], atol=0.02)


def test_quantized_graph_is_refused():
    graph = random_net(1)
    found = quantized(graph, normal(4, 8, 8, 2))
    with pytest.raises(UnsupportedError, match="quantized already"):
        quantized(found, normal(4, 8, 8, 2))


# ------------------------------------------------------------------------------------------------ without data


def hidden_layers() -> Graph:
    build = Builder()
    x = conv(build, build.input(1, 8, 8, 2))
    return build.graph(conv(build, conv(build, x)))


@pytest.mark.parametrize("ranges", ["synthetic", "propagated"])
def test_without_data_what_is_said_of_the_inputs_serves(ranges):
    graph, data = hidden_layers(), normal(32, 8, 8, 2, seed=4)
    found = quantize_static(graph, (), Recipe(ranges=ranges, transforms=(), inputs=("0+-1",)))
    expected = np.concatenate([run_float(graph, [sample[np.newaxis]])[0] for sample in data])
    assert sqnr(expected, np.concatenate([run_codes(found, [sample])[0] for sample in data])) > 20


@pytest.mark.parametrize("inputs", [(), ("0..1", "0..1")])
def test_without_data_every_input_must_be_described(inputs):
    with pytest.raises(UsageError, match=f"something of {len(inputs)} inputs, 'test' has 1.*--inputs"):
        quantize_static(hidden_layers(), (), Recipe(ranges="synthetic", inputs=inputs))


def test_compensation_asks_for_samples():
    recipe = Recipe(ranges="propagated", transforms=(), inputs=("0+-1",), compensation=("bias_correction",))
    with pytest.raises(BadInputError, match="bias_correction works on samples"):
        quantize_static(hidden_layers(), (), recipe)


def test_low_bit_weights_become_codes_and_compensation_brings_them_nearer():
    graph, data = hidden_layers(), normal(64, 8, 8, 2, seed=4)
    expected = np.concatenate([run_float(graph, [sample[np.newaxis]])[0] for sample in data])
    reached = []
    for compensation in ((), ("gptq", "bias_correction")):
        recipe = Recipe(observer="minmax", weights="int:bits=3", transforms=(), compensation=compensation)
        found = quantize_static(graph, [[data]], recipe)
        weights = found.tensors[found.nodes[0].inputs[1]]
        assert (weights.dtype, weights.coding.bits) == (DType.U8, 3)
        reached.append(sqnr(expected, np.concatenate([run_codes(found, [sample])[0] for sample in data])))
    assert reached[1] > reached[0] + 1

# SPDX-License-Identifier: Apache-2.0
"""Means and variances carried through a graph agree with what samples show; ranges follow from them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from graphbuilder import Builder, normal
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgeq.errors import UnsupportedError, UsageError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import ABSENT, Graph, Node, Port, Tensor
from edgeq.ops import all_ops
from edgeq.ops.add import Add
from edgeq.ops.arg_max import ArgMax
from edgeq.ops.base import Activation
from edgeq.ops.concatenation import Concatenation
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.execute import run_float
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.gather import Gather
from edgeq.ops.leaky_relu import LeakyRelu
from edgeq.ops.logistic import Logistic
from edgeq.ops.mean import Mean
from edgeq.ops.mul import Mul
from edgeq.ops.pad import Pad
from edgeq.ops.pool import AveragePool2d, MaxPool2d
from edgeq.ops.prelu import Prelu
from edgeq.ops.relu import Relu6
from edgeq.ops.reshape import Reshape
from edgeq.ops.rsqrt import Rsqrt
from edgeq.ops.softmax import Softmax
from edgeq.ops.split import Split
from edgeq.ops.squared_difference import SquaredDifference
from edgeq.ops.tanh import Tanh
from edgeq.ops.transpose import Transpose
from edgeq.quantize import gaussian
from edgeq.quantize.declared import Around, Declared, Within
from edgeq.quantize.propagate import Moments, propagate

DRAWS = np.random.default_rng(1).standard_normal(1_000_000)
SAMPLES = 300
RULED = [op for op in all_ops() if op.name not in ("dequantize", "quantize", "rsqrt")]


@pytest.mark.parametrize(("low", "high"), [(0, None), (0, 6), (-1, 1), (None, 0.5), (None, None)])
@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (1.5, 0.7), (-0.8, 2.0), (3.0, 4.0)])
def test_moments_of_a_clamped_normal_are_those_of_a_million_draws(low, high, mean, std):
    values = mean + std * DRAWS
    values = values if low is None and high is None else np.clip(values, low, high)
    found = gaussian.clamped(np.array(mean), np.array(std**2), low, high)
    assert found[0] == pytest.approx(values.mean(), rel=0.01, abs=0.002)
    assert found[1] == pytest.approx(values.var(), rel=0.01)


def test_a_normal_without_variance_is_clamped_to_a_point():
    mean, variance = gaussian.clamped(np.array([-2.0, 3.0, 8.0]), np.zeros(3), 0, 6)
    assert mean.tolist() == [0, 3, 6]
    assert not variance.any()


@pytest.mark.parametrize("op", [Logistic(), Tanh(), LeakyRelu(0.1)])
def test_quadrature_agrees_with_a_million_draws(op):
    values = op.reference([0.4 + 1.7 * DRAWS])[0]
    found = gaussian.mapped(np.array(0.4), np.array(1.7**2), lambda x: op.reference([x])[0])
    assert found[0] == pytest.approx(values.mean(), rel=0.01, abs=0.002)
    assert found[1] == pytest.approx(values.var(), rel=0.01)


def test_products_and_squared_differences_agree_with_a_million_draws():
    one, other = 2 + 0.7 * DRAWS, -1.5 + 0.9 * np.random.default_rng(2).standard_normal(len(DRAWS))
    pairs = [(np.array(values.mean()), np.array(values.var())) for values in (one, other)]
    for rule, values in ((gaussian.product, one * other), (gaussian.squared_difference, (one - other) ** 2)):
        assert np.array(rule(*pairs)) == pytest.approx([values.mean(), values.var()], rel=0.01)


def check(build: Builder, y: int, declared: Declared, *, tolerance: float = 0.15, bounded: bool = True) -> Moments:
    """Compare the moments of a tensor with those over many independent inputs."""
    graph = build.graph(y)
    moments = propagate(graph, inputs=[declared])[y]
    rng = np.random.default_rng(3)
    shape = graph.tensors[graph.inputs[0].tensor].shape
    found = np.array([run_float(graph, [draw])[0] for draw in _draws(declared, (SAMPLES, *shape), rng)])
    spread = np.sqrt(moments.variance).max()
    np.testing.assert_allclose(moments.mean, found.mean(axis=0), atol=4 * spread / np.sqrt(len(found)))
    assert moments.variance.mean() == pytest.approx(found.var(axis=0).mean(), rel=tolerance)
    if bounded:
        assert (found >= moments.low - 1e-6).all()
        assert (found <= moments.high + 1e-6).all()
    return moments


def _draws(declared: Declared, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    if isinstance(declared, Within):
        return rng.uniform(declared.low, declared.high, shape).astype(np.float32)
    return rng.normal(declared.mean, declared.std, shape).astype(np.float32)


@pytest.mark.parametrize("activation", list(Activation))
def test_a_convolution_of_independent_pixels_is_right_up_to_the_border(activation):
    build = Builder()
    x = build.input(1, 5, 5, 3)
    y = build.node(Conv2d(padding="same", activation=activation), x, build.constant(normal(4, 3, 3, 3)),
                   build.constant(normal(4, seed=1)))  # fmt: skip
    moments = check(build, y, Around(0.5, 0.3))
    corner, middle = moments.variance[0, 0, 0], moments.variance[0, 2, 2]
    assert activation is not Activation.NONE or (corner < middle).all()


def test_depthwise_fully_connected_and_what_moves_values():
    build = Builder()
    x = build.input(1, 4, 4, 2)
    y = build.node(DepthwiseConv2d(padding="same"), x, build.constant(normal(1, 3, 3, 4)), ABSENT)
    y = build.node(Pad(((0, 0), (1, 0), (0, 0), (0, 0))), y, ABSENT)
    y = build.node(Transpose((0, 3, 1, 2)), y)
    y = build.node(Reshape((1, 80)), y)
    check(build, y, Within(0, 1))
    y = build.node(Concatenation(1), x_flat(build, x), y)
    check(build, build.node(FullyConnected(), y, build.constant(normal(3, 112) / 9), ABSENT), Within(0, 1), tolerance=9)


def x_flat(build: Builder, x: int) -> int:
    return build.node(Reshape((1, 32)), x)


def test_constants_that_are_joined_keep_their_values_and_have_no_variance():
    build = Builder()
    y = build.node(Concatenation(1), build.input(1, 2), build.constant(normal(1, 3)))
    moments = check(build, y, Around(0, 1))
    np.testing.assert_array_equal(moments.mean[:, 2:], normal(1, 3))
    assert not moments.variance[:, 2:].any()


@pytest.mark.parametrize("op", [Add, Mul, SquaredDifference])
def test_elementwise_operators_of_independent_values(op):
    build = Builder()
    halves = build.node(Split(1, (3, 3)), build.input(1, 6))
    check(build, build.node(op(), halves, halves + 1), Around(0.7, 0.5), bounded=op is Add)


@pytest.mark.parametrize("op", [Mul, Add])
def test_a_constant_operand_has_no_variance(op):
    build = Builder()
    check(build, build.node(op(), build.input(1, 6), build.constant(normal(6))), Around(0.2, 1))


def test_functions_of_one_value_and_operators_without_a_rule():
    for op in (Logistic(), Relu6(), LeakyRelu(0.3)):
        build = Builder()
        check(build, build.node(op, build.input(1, 8)), Around(1, 2))
    build = Builder()
    check(build, build.node(Prelu(), build.input(1, 8), build.constant(normal(8))), Around(0, 1))
    build = Builder()
    y = build.node(Softmax(), build.input(1, 4))
    moments = propagate(build.graph(y), inputs=[Around(0, 1)])[y]
    assert moments.mean == pytest.approx(0.25, abs=0.1)
    assert moments.mean.sum() == pytest.approx(1)


def test_pooling_takes_averages_as_wide_as_they_may_be_and_keeps_bounds():
    build = Builder()
    x = build.input(1, 4, 4, 2)
    y = build.node(Conv2d(activation=Activation.RELU), x, build.constant(normal(2, 1, 1, 2)), ABSENT)
    pools = [build.node(op, y) for op in (AveragePool2d(), Mean((1, 2)), MaxPool2d())]
    found = propagate(build.graph(*pools), inputs=[Around(0, 1)])
    for pooled in pools:
        assert (found[pooled].low >= 0).all()
        assert found[pooled].high.max() <= found[y].high.max() + 1e-9
    assert found[pools[0]].variance.mean() == pytest.approx(found[y].variance.mean())
    assert found[pools[2]].mean.mean() > found[pools[0]].mean.mean()


def gated() -> Graph:
    """Build one step of a gated recurrent cell."""
    build = Builder()
    gates = build.node(FullyConnected(), build.input(1, 4), build.constant(normal(6, 4)), build.constant(normal(6)))
    first = build.node(Split(1, (3, 3)), gates)
    z, n = build.node(Logistic(), first), build.node(Tanh(), first + 1)
    return build.graph(build.node(Mul(), z, n))


def ranges(graph: Graph, declared: Declared, *, sigmas: float = 6) -> dict[int, tuple[float, float]]:
    found = propagate(graph, inputs=[declared], sigmas=sigmas)
    return {index: moments.range for index, moments in found.items()}


def test_ranges_span_six_deviations_and_what_activations_leave():
    build = Builder()
    x = build.input(1, 3)
    y = build.node(FullyConnected(activation=Activation.RELU6), x, build.constant(9 * np.eye(3)), ABSENT)
    z = build.node(FullyConnected(), x, build.constant(np.eye(3)[:1]), build.constant([1.0]))
    found = ranges(build.graph(y, z), Around(0, 2))
    assert found == {x: (-12, 12), y: (0, 6), z: (-11, 13)}
    found = ranges(build.graph(y, z), Within(-1, 2), sigmas=1)
    assert found[x] == pytest.approx((0.5 - 3 / np.sqrt(12), 0.5 + 3 / np.sqrt(12)))
    assert ranges(build.graph(y, z), Within(-1, 2))[x] == (-1, 2)
    low, high = ranges(gated(), Around(0, 1))[gated().outputs[0].tensor]
    assert -1 <= low < 0 < high <= 1


def test_every_input_must_be_declared():
    with pytest.raises(UsageError, match="1 inputs, 2 declared"):
        propagate(gated(), inputs=[Around(0, 1), Around(0, 1)])


def test_what_cannot_be_told_is_refused():
    build = Builder()
    y = build.node(Rsqrt(), build.input(1, 4))
    with np.errstate(invalid="ignore"), pytest.raises(UnsupportedError, match="not finite"):
        propagate(build.graph(y), inputs=[Around(0, 1)])
    assert propagate(build.graph(y), inputs=[Within(1, 2)])[y].high.max() <= 1
    build = Builder()
    x = build.input(1, 4)
    places = build.node(ArgMax(1), x)
    build.tensors[places] = dataclasses.replace(build.tensors[places], dtype=DType.S32)
    graph = build.graph(build.node(Gather(1), x, places))
    with pytest.raises(UnsupportedError, match="integers in"):
        propagate(graph, inputs=[Around(0, 1)])


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(RULED), st.integers(0, 999))
def test_every_operator_has_moments(op, seed):
    rng = np.random.default_rng(seed)
    case = op.sample(rng)
    tensors = [tensor and real(tensor, rng) for tensor in (*case.inputs, *case.outputs)]
    first = [place for place, tensor in enumerate(tensors[: len(case.inputs)]) if tensor and not tensor.is_constant]
    assume(all(tensors[place].dtype.is_float for place in first))
    names = [ABSENT if tensor is None else place for place, tensor in enumerate(tensors)]
    node = Node("node", case.op, tuple(names[: len(case.inputs)]), tuple(names[len(case.inputs) :]))
    ports = tuple(Port(f"x{place}", place, DType.F32) for place in first)
    tensors = [tensor or Tensor("absent", (), DType.F32) for tensor in tensors]
    found = propagate(Graph("test", tuple(tensors), (node,), ports, ()), inputs=[Around(0, 1)] * len(ports))
    for index, moments in found.items():
        parts = (moments.mean, moments.variance, moments.low, moments.high)
        assert all(part.shape == tensors[index].shape and np.isfinite(part).all() for part in parts)
        assert (moments.variance >= 0).all()
        assert (moments.low <= moments.high + 1e-9).all()


def real(tensor: Tensor, rng: np.random.Generator) -> Tensor:
    """Return a quantized tensor as one of real numbers, a constant with other values."""
    if tensor.quant is None:
        return tensor
    data = None if tensor.data is None else rng.standard_normal(tensor.shape).astype(np.float32)
    return Tensor(tensor.name, tensor.shape, DType.F32, data=data)

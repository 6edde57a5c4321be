# SPDX-License-Identifier: Apache-2.0
"""int8 and int16 activations in one graph, and ranges that repeated layers share."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from graphbuilder import Builder, normal, run_codes, sqnr

from edgeq.ir.dtypes import DType
from edgeq.ir.graph import ABSENT, Graph
from edgeq.ops.add import Add
from edgeq.ops.base import Activation
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.execute import run_float
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.logistic import Logistic
from edgeq.ops.mul import Mul
from edgeq.ops.reshape import Reshape
from edgeq.ops.split import Split
from edgeq.ops.tanh import Tanh
from edgeq.quantize.recipe import Recipe, Scope
from edgeq.quantize.repeats import find_repeats
from edgeq.quantize.static import quantize_static

PLAIN = Recipe(observer="minmax", transforms=())


def chain() -> Graph:
    build = Builder()
    x = build.input(1, 6, 6, 3)
    for position, (depth, activation) in enumerate([(3, Activation.RELU), (5, Activation.NONE), (5, Activation.NONE)]):
        weights, bias = normal(5, 2, 2, depth, seed=position), normal(5, seed=9)
        x = build.node(Conv2d(activation=activation), x, build.constant(weights), build.constant(bias))
    return build.graph(build.node(Logistic(), build.node(Reshape((1, 45)), x)))


def noise(graph: Graph, recipe: Recipe) -> tuple[Graph, float]:
    data = normal(24, 6, 6, 3, seed=5)
    found = quantize_static(graph, [[data]], recipe)
    expected = np.concatenate([run_float(graph, [sample[np.newaxis]])[0] for sample in data])
    return found, sqnr(expected, np.concatenate([run_codes(found, [sample])[0] for sample in data]))


def test_int16_activations_are_symmetric_with_wide_biases_and_come_nearer():
    graph = chain()
    narrow, coarse = noise(graph, PLAIN)
    wide, fine = noise(graph, Recipe(observer="minmax", transforms=(), activations="int16"))
    made = [tensor for tensor in wide.tensors if not tensor.is_constant]
    assert {tensor.dtype for tensor in made} == {DType.S16}
    assert {tensor.quant.zero_point for tensor in made} == {0}
    assert wide.tensors[wide.nodes[0].inputs[2]].dtype is DType.S64
    assert len(wide.nodes) == len(narrow.nodes)
    assert fine > coarse + 3


def test_one_layer_in_int16_is_fenced_by_requantizations():
    graph = chain()
    middle = graph.nodes[1]
    recipe = Recipe(observer="minmax", transforms=(), scopes=(Scope(middle.name, activations="int16"),))
    found, reached = noise(graph, recipe)
    names = [node.op.name for node in found.nodes]
    assert names == ["conv2d", "quantize", "conv2d", "quantize", "conv2d", "reshape", "logistic"]
    dtypes = [found.tensors[node.outputs[0]].dtype for node in found.nodes]
    assert dtypes == [DType.S8, DType.S16, DType.S16, *[DType.S8] * 4]
    assert reached > 20


def test_symmetric_scales_have_zero_points_0_and_at_the_bottom_where_nothing_is_negative():
    found, reached = noise(chain(), Recipe(observer="minmax", transforms=(), scales="symmetric"))
    zeros = [found.tensors[node.outputs[0]].quant.zero_point for node in found.nodes]
    assert zeros == [-128, 0, 0, 0, -128]
    assert reached > 20


def test_power_of_two_scales_leave_every_multiplier_a_power_of_two():
    found, reached = noise(chain(), Recipe(observer="minmax", transforms=(), scales="pot"))
    for tensor in found.tensors:
        if tensor.quant is not None and tensor.dtype is not DType.S32:
            assert all(np.frexp(scale)[0] == 0.5 for scale in tensor.quant.scales)
    activations = [tensor for tensor in found.tensors if not tensor.is_constant]
    assert [tensor.quant.zero_point for tensor in activations] == [0, 0, 0, 0, 0, -128]
    assert reached > 15


def unrolled(steps: int) -> Graph:
    """A gated recurrent network, its inputs one part of x for each step."""
    build = Builder()
    first = build.node(Split(1, (3,) * steps), build.input(1, 3 * steps))
    w, u = build.constant(normal(4, 3, seed=1)), build.constant(normal(4, 4, seed=2))
    state = build.node(Tanh(), build.node(FullyConnected(), first, w, ABSENT))
    for part in range(first + 1, first + steps):
        total = build.node(
            Add(),
            build.node(FullyConnected(), part, w, ABSENT),
            build.node(FullyConnected(), state, u, ABSENT),
        )
        state = build.node(Mul(), build.node(Tanh(), total), build.node(Logistic(), total))
    return build.graph(state)


def test_steps_of_an_unrolled_network_share_ranges_and_then_constants():
    graph = unrolled(12)
    repeats = find_repeats(graph)
    assert max(len(members) for members in repeats) >= 8
    data = normal(64, 36, seed=3)
    apart = quantize_static(graph, [[data]], dataclasses.replace(PLAIN, share_repeats=False))
    together = quantize_static(graph, [[data]], PLAIN)
    kinds = [
        len({tensor.quant for tensor in found.tensors if tensor.dtype is DType.S8 and not tensor.is_constant})
        for found in (apart, together)
    ]
    assert kinds[1] < kinds[0] / 2


def test_states_of_a_cell_share_ranges_only_where_that_is_asked():
    build = Builder()
    first = build.node(Split(1, (3,) * 10), build.input(1, 30))
    w = build.constant(normal(4, 3, seed=1))
    states = [build.node(Tanh(), build.node(FullyConnected(), first, w, ABSENT))]
    for part in range(first + 1, first + 10):
        total = build.node(Add(), build.node(FullyConnected(), part, w, ABSENT), states[-1])
        gate = build.node(Logistic(), total)
        new, old = (build.node(Mul(), gate, other) for other in (build.node(Tanh(), total), states[-1]))
        states.append(build.node(Add(), new, old))
    graph = build.graph(states[-1])
    shared = [members for members in find_repeats(graph, states=True) if states[-1] in members]
    assert len(shared[0]) >= 6
    assert set(shared[0]) <= set(states)
    assert not any(set(members) & set(states[1:]) for members in find_repeats(graph))
    data, names = normal(64, 30, seed=3), {graph.tensors[index].name for index in states}
    for recipe, expected in ((PLAIN, (9, 10)), (dataclasses.replace(PLAIN, share_states=True), (2, 5))):
        found = quantize_static(graph, [[data]], recipe)
        kinds = {tensor.quant for tensor in found.tensors if tensor.name in names}
        assert expected[0] <= len(kinds) <= expected[1]


def test_layers_with_weights_of_their_own_are_no_repeats():
    assert find_repeats(chain()) == []


@pytest.mark.parametrize("rows", ["tensor", "token"])
@pytest.mark.parametrize("ranges", ["symmetric", "asymmetric", "mean_std"])
def test_layers_find_their_scales_while_the_model_runs(rows, ranges):
    recipe = Recipe(observer="minmax", transforms=(), activations="int16", run_time_scales=rows, run_time_ranges=ranges)
    found, reached = noise(chain(), recipe)
    assert [node.op.name for node in found.nodes].count("dynamic_linear") == 3
    assert reached > (15 if ranges == "mean_std" else 20)  # three deviations clip a small tensor

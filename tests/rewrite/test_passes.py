# SPDX-License-Identifier: Apache-2.0
"""Every pass keeps a float graph's outputs and does what it is for."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from graphbuilder import Builder, conv, normal, run

from edgeq.errors import BadInputError, GraphError, UnsupportedError
from edgeq.ir.graph import ABSENT, Graph
from edgeq.ops.add import Add, Sub
from edgeq.ops.base import Activation
from edgeq.ops.concatenation import Concatenation
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.execute import run_float
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.l2_normalization import L2Normalization
from edgeq.ops.logistic import Logistic
from edgeq.ops.mul import Mul
from edgeq.ops.pad import Pad
from edgeq.ops.relu import Relu, Relu6
from edgeq.ops.reshape import Reshape
from edgeq.ops.transpose import Transpose
from edgeq.rewrite.activations import fuse_activations
from edgeq.rewrite.batch import evaluation_batch, with_batch
from edgeq.rewrite.constants import fold_constants
from edgeq.rewrite.dead import remove_dead
from edgeq.rewrite.identities import remove_identities
from edgeq.rewrite.padding import fuse_padding
from edgeq.rewrite.scales import fold_scales
from edgeq.rewrite.simplify import simplify_float


def names(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]


def assert_same(before: Graph, after: Graph) -> None:
    assert [port.name for port in after.outputs] == [port.name for port in before.outputs]
    for expected, found in zip(run(before), run(after), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_constants_are_folded_and_what_needs_the_input_stays():
    build = Builder()
    x = build.input(1, 3)
    total = build.node(Add(), build.constant(normal(1, 3)), build.constant(2.0))
    graph = build.graph(build.node(Mul(), x, build.node(Logistic(), total)))
    folded = fold_constants(graph)
    assert names(folded) == ["mul"]
    assert_same(graph, folded)


@pytest.mark.parametrize(("op", "activation"), [(Relu(), Activation.RELU), (Relu6(), Activation.RELU6)])
def test_activation_is_fused_into_its_only_producer(op, activation):
    build = Builder()
    graph = build.graph(build.node(op, conv(build, build.input(1, 5, 4, 2))))
    fused = fuse_activations(graph)
    assert names(fused) == ["conv2d"]
    assert fused.nodes[0].op.activation is activation
    assert_same(graph, fused)


def test_activation_stays_behind_what_cannot_clamp():
    for op in (Concatenation(3), L2Normalization()):
        build = Builder()
        parts = [build.input(1, 5, 4, 2) for _ in range(2 if op.name == "concatenation" else 1)]
        graph = build.graph(build.node(Relu(), build.node(op, *parts)))
        assert fuse_activations(graph) == graph


def test_activation_stays_where_others_read_the_value_or_a_clamp_is_there_already():
    build = Builder()
    y = conv(build, build.input(1, 5, 4, 2))
    read_twice = build.graph(build.node(Add(), build.node(Relu(), y), y))
    assert fuse_activations(read_twice) == read_twice
    build = Builder()
    y = conv(build, build.input(1, 5, 4, 2))
    exposed = build.graph(build.node(Relu(), y), y)
    assert fuse_activations(exposed) == exposed
    build = Builder()
    twice = build.graph(build.node(Relu6(), build.node(Relu(), conv(build, build.input(1, 5, 4, 2)))))
    assert names(fuse_activations(twice)) == ["conv2d", "relu6"]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["conv2d", "depthwise_conv2d", "fully_connected"])
def test_scale_and_offset_fold_into_the_layer_before(kind, bias):
    build = Builder()
    b = build.constant(normal(4, seed=2)) if bias else ABSENT
    if kind == "conv2d":
        y = conv(build, build.input(2, 5, 4, 3), bias=bias)
    elif kind == "depthwise_conv2d":
        w = build.constant(normal(1, 3, 3, 4))
        y = build.node(DepthwiseConv2d(padding="same"), build.input(2, 5, 4, 2), w, b)
    else:
        y = build.node(FullyConnected(), build.input(2, 6), build.constant(normal(4, 6)), b)
    y = build.node(Mul(), y, build.constant(normal(4, seed=3)))
    y = build.node(Sub(), build.constant(normal(1, 4, seed=4)), y)
    y = build.node(Sub(), y, build.constant(0.5))
    graph = build.graph(build.node(Add(activation=Activation.RELU), build.constant(normal(4, seed=5)), y))
    folded = remove_dead(fold_scales(graph))
    assert names(folded) == [kind]
    assert folded.nodes[0].op.activation is Activation.RELU
    assert_same(graph, folded)


def test_scale_stays_behind_a_clamp_behind_a_branch_and_where_it_varies_in_space():
    build = Builder()
    x = build.input(1, 4, 4, 4)
    clamped = build.node(Relu(), conv(build, x))
    graph = fuse_activations(build.graph(build.node(Mul(), clamped, build.constant(normal(4)))))
    assert names(fold_scales(graph)) == ["conv2d", "mul"]
    build = Builder()
    y = conv(build, build.input(1, 4, 4, 4))
    assert len(fold_scales(build.graph(build.node(Mul(), y, build.constant(2.0)), y)).nodes) == 2
    build = Builder()
    y = conv(build, build.input(1, 4, 4, 4))
    assert len(fold_scales(build.graph(build.node(Mul(), y, build.constant(normal(1, 4, 4, 1))))).nodes) == 2


def test_layers_that_share_weights_keep_their_own_after_folding():
    build = Builder()
    x, w = build.input(1, 6), build.constant(normal(4, 6))
    first = build.node(Mul(), build.node(FullyConnected(), x, w, ABSENT), build.constant(3.0))
    graph = build.graph(first, build.node(FullyConnected(), x, w, ABSENT))
    assert_same(graph, fold_scales(graph))


def test_dead_nodes_and_tensors_go_but_unused_inputs_stay():
    build = Builder()
    x, unused = build.input(1, 3), build.input(1, 2)
    build.node(Logistic(), build.node(Add(), x, build.constant(1.0)))
    graph = build.graph(build.node(Relu(), x))
    kept = remove_dead(graph)
    assert names(kept) == ["relu"]
    assert len(kept.tensors) == 3
    assert kept.inputs[1].tensor == unused
    assert_same(graph, kept)
    assert remove_dead(kept) is kept


def test_identities_go_also_in_front_of_an_output():
    build = Builder()
    x = build.input(2, 3)
    y = build.node(Relu(), build.node(Reshape((2, 3)), x))
    y = build.node(Concatenation(axis=0), build.node(Transpose((0, 1)), y))
    graph = build.graph(build.node(Pad(((0, 0), (0, 0))), y))
    assert names(remove_identities(graph)) == ["relu"]
    assert_same(graph, remove_identities(graph))


def test_identities_between_ports_stay():
    build = Builder()
    x = build.input(2, 3)
    through = build.graph(build.node(Reshape((2, 3)), x))
    assert remove_identities(through) == through
    build = Builder()
    y = build.node(Relu(), build.input(2, 3))
    split = build.graph(build.node(Reshape((2, 3)), y), build.node(Reshape((2, 3)), y))
    kept = remove_identities(split)
    assert len({port.tensor for port in kept.outputs}) == 2
    assert_same(split, kept)


def test_padding_fuses_into_a_valid_convolution_only():
    for value, expected in ((0.0, ["conv2d"]), (1.0, ["pad", "conv2d"])):
        build = Builder()
        x = build.input(1, 5, 6, 2)
        padded = build.node(Pad(((0, 0), (1, 2), (0, 3), (0, 0))), x, build.constant(value))
        w = build.constant(normal(4, 3, 3, 2))
        graph = build.graph(build.node(Conv2d(stride=(2, 1), padding="valid"), padded, w, ABSENT))
        assert names(fuse_padding(graph)) == expected
        assert_same(graph, fuse_padding(graph))


def test_simplify_turns_a_batch_norm_block_into_one_node():
    build = Builder()
    y = conv(build, build.node(Reshape((1, 5, 4, 2)), build.input(1, 5, 4, 2)), bias=False)
    factor = build.node(Mul(), build.constant(normal(4)), build.constant(0.5))
    y = build.node(Add(), build.node(Mul(), y, factor), build.constant(normal(4)))
    graph = build.graph(build.node(Relu6(), y))
    simple = simplify_float(graph)
    assert names(simple) == ["conv2d"]
    assert_same(graph, simple)


def batched(graph: Graph, count: int) -> None:
    """Check that running ``count`` samples at once equals running them one by one."""
    wide = with_batch(graph, count)
    rng = np.random.default_rng(9)
    feeds = [rng.standard_normal((count, *graph.tensors[port.tensor].shape[1:])).astype(np.float32)
             for port in graph.inputs]  # fmt: skip
    together = run_float(wide, feeds)
    for sample in range(count):
        alone = run_float(graph, [feed[sample : sample + 1] for feed in feeds])
        for found, expected in zip(together, alone, strict=True):
            np.testing.assert_allclose(found[sample : sample + 1], expected, rtol=1e-4, atol=1e-5)


def test_with_batch_adapts_reshapes_and_moves_the_batch_axis():
    build = Builder()
    x = build.input(1, 4, 6)
    y = build.node(Add(), build.node(Reshape((4, 1, 6)), x), build.constant(normal(1, 6)))
    y = build.node(Reshape((1, 24)), build.node(Relu(), y))
    graph = build.graph(build.node(FullyConnected(), y, build.constant(normal(3, 24)), ABSENT))
    batched(graph, 5)


def test_with_batch_refuses_what_mixes_samples_and_evaluation_falls_back():
    build = Builder()
    x = build.input(1, 4)
    mixed = build.graph(build.node(Concatenation(axis=0), x, x))
    with pytest.raises(UnsupportedError, match="other samples"):
        with_batch(mixed, 3)
    assert evaluation_batch(mixed, 3) == (mixed, 1)
    build = Builder()
    joined = build.graph(build.node(Concatenation(axis=1), build.input(1, 4), build.constant(normal(1, 4))))
    with pytest.raises(UnsupportedError, match="concatenation"):
        with_batch(joined, 3)


def test_run_float_frees_nothing_it_needs_and_names_what_does_not_match():
    build = Builder()
    x = build.input(1, 3)
    graph = build.graph(x, build.node(Relu(), x), build.constant(1.5))
    seen: list[int] = []
    feed = np.float32([[-1, 0, 2]])
    outputs = run_float(graph, [feed], observe=lambda index, values: seen.append(index))
    assert [output.tolist() for output in outputs] == [[[-1, 0, 2]], [[0, 0, 2]], 1.5]
    assert seen == [0, 1]
    with pytest.raises(BadInputError, match=r"'x0'.*\[1, 3\].*\[3\]"):
        run_float(graph, [feed[0]])
    with pytest.raises(BadInputError, match="1 inputs expected, 0 given"):
        run_float(graph, [])
    wrong = dataclasses.replace(graph.tensors[1], shape=(3, 1))
    with pytest.raises(GraphError, match="relu0"):
        run_float(graph.replace(tensors=[graph.tensors[0], wrong, graph.tensors[2]]), [feed])

# SPDX-License-Identifier: Apache-2.0
"""Each pass of shrinking does what it is for, and leaves alone what it cannot prove."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from graphs import graph_of_case, random_codes, rounding_for
from intgraph import IntBuilder, assert_equal_runs

from edgeq.errors import EdgeqError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Graph, Node, Port, Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops import all_ops
from edgeq.ops.add import Add
from edgeq.ops.base import Activation, Op, Rounding
from edgeq.ops.concatenation import Concatenation
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.convolution import Padding
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.pad import Pad
from edgeq.ops.quantize import Quantize
from edgeq.ops.relu import Relu, Relu6, ReluN1To1
from edgeq.ops.reshape import Reshape
from edgeq.rewrite.code_ranges import code_ranges
from edgeq.rewrite.constant_channels import absorb_constant_channels
from edgeq.rewrite.duplicates import merge_duplicates
from edgeq.rewrite.folds import Folds
from edgeq.rewrite.shrink import shrink
from edgeq.rewrite.zero_taps import trim_zero_taps

QUANT = QuantParams.of(0.05, 3)
TFLITE = Rounding.TFLITE


def _build() -> IntBuilder:
    return IntBuilder(np.random.default_rng(11))


def _layer(
    build: IntBuilder, op: Op, x: int, weights: np.ndarray, bias: object = None, *, quant: QuantParams = QUANT
) -> int:
    """Append a layer with weights of scale 1/64; ``quant`` is that of its output."""
    inputs = [x, build.constant(np.asarray(weights, np.int8), QuantParams.of(1 / 64))]
    if bias is not None:
        inputs.append(build.constant(np.asarray(bias, np.int32), None))
    return build.node(op, *inputs, quant=quant)


def _constant_pair(build: IntBuilder, bias: int) -> int:
    """Return an image of two channels: the input's own, and a constant one with the code of ``bias``."""
    return _layer(build, Conv2d(), build.input(1, 5, 5, 1), [[[[64]]], [[[0]]]], [0, bias])


def _varied(build: IntBuilder, x: int, channels: int) -> int:
    """Append a 1x1 convolution that neither saturates nor has constant channels."""
    weights = build.rng.integers(20, 90, (channels, 1, 1, build.tensors[x].shape[3]))
    return _layer(build, Conv2d(), x, weights, quant=QuantParams.of(1.0))


def _ones(*shape: int) -> np.ndarray:
    return np.full(shape, 20, np.int8)


def _shrunk(graph: Graph, *, rounding: Rounding = TFLITE) -> Graph:
    """Shrink a graph and check that it gives the same codes."""
    found = shrink(graph, rounding=rounding).graph
    assert_equal_runs(graph, found, np.random.default_rng(0), rounding=rounding)
    return found


def _shapes(graph: Graph) -> list[tuple[int, ...]]:
    return [graph.tensors[node.outputs[0]].shape for node in graph.nodes]


@pytest.mark.parametrize(
    ("padding", "kernel", "bias", "kept"),
    [
        ("same", 3, 900, 2),  # the channel's code is not the zero point: border pixels see less of it
        ("same", 3, 0, 1),  # its code is the zero point: a tap inside adds as little as one outside
        ("valid", 3, 900, 1),  # no window leaves the image
        ("same", 1, 900, 1),
        ((0, 0, 1, 0), 3, 900, 2),  # one column of windows leaves the image
    ],
)
def test_a_constant_channel_goes_only_where_borders_are_exact(
    padding: Padding, kernel: int, bias: int, kept: int
) -> None:
    build = _build()
    y = _layer(build, Conv2d(padding=padding), _constant_pair(build, bias), _ones(3, kernel, kernel, 2), [5, 6, 7])
    assert _shapes(_shrunk(build.graph(y)))[0] == (1, 5, 5, kept)


def test_a_fold_that_ignored_the_border_would_be_caught() -> None:
    build = _build()
    x = _constant_pair(build, 900)
    inside = build.graph(_layer(build, Conv2d(padding="same"), x, _ones(2, 3, 3, 2), [0, 0]))
    node = inside.nodes[1]
    kernel, bias = (inside.tensors[index] for index in node.inputs[1:])
    assert kernel.data is not None
    weights = kernel.data.copy()
    weights[..., 1] = 0
    found = code_ranges(inside, Folds(TFLITE))[node.inputs[0]]
    added = 9 * 20 * (int(found.low[1]) - QUANT.zero_point)  # right for the nine taps of an inner window alone
    tensors = list(inside.tensors)
    tensors[node.inputs[1]] = dataclasses.replace(kernel, data=weights)
    tensors[node.inputs[2]] = dataclasses.replace(bias, data=np.full(2, added, np.int32))
    with pytest.raises(AssertionError, match="not equal"):
        assert_equal_runs(inside, inside.replace(tensors=tensors), np.random.default_rng(0), rounding=TFLITE)


def test_a_depthwise_channel_is_constant_only_if_its_border_is() -> None:
    build = _build()
    x = _constant_pair(build, 900)
    y = _layer(build, DepthwiseConv2d(padding="same"), x, _ones(1, 3, 3, 2), quant=QuantParams.of(0.2, 0))
    graph = build.graph(y)
    low, high = code_ranges(graph, Folds(TFLITE))[y]
    assert low[1] < high[1]
    saturated = dataclasses.replace(graph.tensors[y], quant=QuantParams.of(0.002, 0))
    clamped = graph.replace(tensors=[*graph.tensors[:y], saturated])
    assert [int(bound[1]) for bound in code_ranges(clamped, Folds(TFLITE))[y]] == [127, 127]


def test_a_constant_is_absorbed_behind_a_depthwise_layer_that_varies_before_its_clamp() -> None:
    build = _build()
    x = _varied(build, build.input(1, 5, 5, 2), 3)
    weights = _ones(1, 3, 3, 3)
    weights[..., 1] = 0
    y = _layer(build, DepthwiseConv2d(padding="same"), x, weights, [0, 400, 0])
    graph = build.graph(_layer(build, Conv2d(), y, _ones(4, 1, 1, 3)))
    assert [shape[3] for shape in _shapes(_shrunk(graph))] == [2, 2, 4]


def test_a_bias_that_would_leave_int32_keeps_its_channel() -> None:
    build = _build()
    x = _constant_pair(build, 900)
    limit = 2**31 - 1
    y = _layer(build, Conv2d(), x, [[[[0, 127]]]], [limit - 128 * 127], quant=QuantParams.of(1e5))
    graph = build.graph(y)
    low = int(code_ranges(graph, Folds(TFLITE))[x].low[1])
    assert low > QUANT.zero_point
    assert absorb_constant_channels(graph, Folds(TFLITE)).tensors[-1].data == limit - 128 * 127 + 127 * (low - 3)
    tensors = list(graph.tensors)
    tensors[y - 1] = dataclasses.replace(tensors[y - 1], data=np.array([limit - 200], np.int32))
    tensors[x] = dataclasses.replace(tensors[x], quant=QuantParams.of(0.05, -128))
    full = graph.replace(tensors=tensors)
    multiplier_zero = dataclasses.replace(full.tensors[y], quant=QuantParams.of(1e38))
    full = full.replace(tensors=[*full.tensors[:y], multiplier_zero])
    assert absorb_constant_channels(full, Folds(TFLITE)).nodes == full.nodes


def test_weights_with_a_zero_point_are_read_where_they_differ_from_it() -> None:
    build = _build()
    x = _varied(build, build.input(1, 4, 4, 2), 4)
    codes = np.full((3, 1, 1, 4), 9, np.int8)
    codes[:, 0, 0, 2] = [1, 2, 3]
    w = build.constant(codes, QuantParams.of(1 / 64, 9))
    graph = build.graph(build.node(Conv2d(), x, w, quant=QUANT))
    assert [shape[3] for shape in _shapes(_shrunk(graph))] == [1, 3]


def test_channels_that_are_added_go_together() -> None:
    build = _build()
    x = build.input(1, 4, 4, 2)
    a, b = (_varied(build, x, 5) for _ in range(2))
    total = build.node(Add(), a, b, quant=QUANT)
    weights = _ones(2, 1, 1, 5)
    weights[..., [0, 3]] = 0
    read_elsewhere = _ones(2, 1, 1, 5)
    read_elsewhere[..., [0, 1, 2, 4]] = 0
    y, z = _layer(build, Conv2d(), total, weights), _layer(build, Conv2d(), a, read_elsewhere)
    assert [shape[3] for shape in _shapes(_shrunk(build.graph(y)))] == [3, 3, 3, 2]
    assert [shape[3] for shape in _shapes(_shrunk(build.graph(y, z)))] == [4, 4, 4, 2, 2]


def test_concatenated_channels_go_from_their_own_part() -> None:
    build = _build()
    x = build.input(1, 4, 4, 2)
    parts = [_varied(build, x, count) for count in (3, 4)]
    parts = [build.node(Quantize(), part, quant=QUANT) for part in parts]
    weights = _ones(2, 1, 1, 7)
    weights[..., [1, 3, 4]] = 0
    graph = build.graph(_layer(build, Conv2d(), build.node(Concatenation(-1), *parts), weights))
    assert [shape[3] for shape in _shapes(_shrunk(graph))] == [2, 2, 2, 2, 4, 2]


@pytest.mark.parametrize("rounding", list(Rounding))
def test_a_fully_connected_layer_keeps_scales_that_differ(rounding: Rounding) -> None:
    build = _build()
    x = build.input(1, 6)
    scales = QuantParams.per_channel(np.array([0.01, 0.01, 0.013, 0.01]), 0)
    hidden = build.node(FullyConnected(), x, build.constant(_ones(4, 6), scales), quant=QUANT)
    graph = build.graph(_layer(build, FullyConnected(), hidden, [[9, 8, 0, 0], [1, 2, 0, 0]]))
    assert _shapes(_shrunk(graph, rounding=rounding)) == [(1, 3), (1, 2)]


@pytest.mark.parametrize(
    ("padding", "stride", "taps", "kernel", "after"),
    [
        ("same", 1, [[0, 0, 0], [0, 1, 1], [0, 0, 0]], (1, 2), (0, 0, 0, 1)),
        ("same", 1, [[0, 0, 0], [0, 1, 0], [1, 0, 0]], (2, 2), (0, 1, 1, 0)),
        ("valid", 1, [[0, 0, 0], [1, 1, 1], [1, 1, 1]], (3, 3), "valid"),
        ("same", 2, [[1, 1, 1], [1, 1, 1], [0, 0, 0]], (2, 3), (1, 0, 1, 1)),
        ((2, 2, 0, 0), 1, [[0, 0, 0], [0, 0, 0], [1, 1, 1]], (1, 3), (0, 2, 0, 0)),
        ("valid", 1, [[0, 0, 0], [0, 0, 0], [0, 0, 0]], (3, 3), "valid"),
    ],
)
@pytest.mark.parametrize("depthwise", [False, True])
def test_zero_taps_at_the_rim_are_trimmed(
    padding: Padding, stride: int, taps: list[list[int]], kernel: tuple[int, int], after: Padding, *, depthwise: bool
) -> None:
    build = _build()
    weights = np.asarray(taps)[None, :, :, None] * np.array([11, -7, 5])
    if not depthwise:
        weights = weights.transpose(3, 1, 2, 0) * np.array([1, 2, -3])
    op = (DepthwiseConv2d if depthwise else Conv2d)((stride, stride), padding)
    graph = build.graph(_layer(build, op, build.input(1, 7, 7, 3), weights, [1, 2, 3]))
    trimmed = trim_zero_taps(graph)
    (node,) = trimmed.nodes
    assert trimmed.tensors[node.inputs[1]].shape[1:3] == kernel
    assert node.op.padding == after
    assert_equal_runs(graph, trimmed, np.random.default_rng(0), rounding=TFLITE)


@pytest.mark.parametrize(
    ("value", "names"),
    [(None, ["conv2d"]), (QUANT.zero_point, ["conv2d"]), (QUANT.zero_point + 1, ["pad", "conv2d"])],
)
def test_padding_with_the_zero_point_joins_the_convolution(value: int | None, names: list[str]) -> None:
    build = _build()
    given = [] if value is None else [build.constant(np.array(value, np.int8), QUANT)]
    x = build.input(1, 5, 6, 2)
    build.tensors[x] = dataclasses.replace(build.tensors[x], quant=QUANT)
    padded = build.node(Pad(((0, 0), (1, 4), (0, 5), (0, 0))), x, *given)
    weights = build.rng.integers(1, 90, (3, 3, 3, 2))
    y = _layer(build, Conv2d((2, 1), "valid"), padded, weights, [40, 50, -60])
    assert [node.op.name for node in _shrunk(build.graph(y)).nodes] == names


@pytest.mark.parametrize("op", [Relu(), Relu6(), ReluN1To1()])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_clamp_joins_its_producer_where_no_scale_changes(op: Op, scale: float) -> None:
    build = _build()
    x = _layer(build, Conv2d(), build.input(1, 5, 4, 3), build.rng.integers(-90, 91, (4, 1, 1, 3)))
    y = build.node(op, x, quant=QuantParams.of(QUANT.scale * scale, QUANT.zero_point))
    found = [node.op.name for node in _shrunk(build.graph(y)).nodes]
    assert found == (["conv2d"] if scale == 1 else ["conv2d", op.name])


def test_equal_nodes_are_computed_once() -> None:
    build = _build()
    x = build.input(1, 4)
    first, second = (build.node(Quantize(), x, quant=QUANT) for _ in range(2))
    other = build.node(Quantize(), x, quant=QuantParams.of(0.05, 4))
    hidden = [_layer(build, FullyConnected(), y, _ones(3, 4)) for y in (first, second, other)]
    graph = build.graph(build.node(Add(), hidden[0], hidden[1]), hidden[2])
    merged = merge_duplicates(graph)
    assert [node.op.name for node in merged.nodes] == ["quantize", "quantize", *["fully_connected"] * 2, "add"]
    assert merged.nodes[-1].inputs == (hidden[0], hidden[0])
    assert_equal_runs(graph, merged, np.random.default_rng(0), rounding=TFLITE)
    exposed = build.graph(first, second)
    assert [node.outputs for node in merge_duplicates(exposed).nodes[:2]] == [(first,), (second,)]


def test_a_table_that_changes_no_code_moves_no_data() -> None:
    build = _build()
    x = _layer(build, FullyConnected(), build.input(1, 4), _ones(3, 4), quant=QuantParams.of(0.1, -128))
    clamp = build.node(Relu(), x, quant=QuantParams.of(0.1, -128))
    slightly = build.node(Quantize(), clamp, quant=QuantParams.of(0.1 * (1 + 1e-4), -128))
    coarser = build.node(Quantize(), slightly, quant=QuantParams.of(0.2, -128))
    graph = _shrunk(build.graph(_layer(build, FullyConnected(), coarser, _ones(2, 3))))
    names = [node.op.name for node in graph.nodes]
    assert names == ["fully_connected", "reshape", "quantize", "fully_connected"]


def test_constant_subgraphs_are_computed_and_an_output_stays_computed() -> None:
    build = _build()
    x = build.input(1, 4, 4, 2)
    silent = _layer(build, Conv2d(), x, np.zeros((3, 1, 1, 2)), [100, 200, 300])
    behind = _layer(build, Conv2d(padding="same"), silent, _ones(3, 3, 3, 3))
    total = build.node(Add(), _layer(build, Conv2d(), x, _ones(3, 1, 1, 2)), behind, quant=QUANT)
    graph = _shrunk(build.graph(total))
    assert [node.op.name for node in graph.nodes] == ["conv2d", "add"]
    alone = _shrunk(build.graph(silent))
    assert [node.op.name for node in alone.nodes] == ["conv2d"]


def test_every_operator_can_be_told_from_another() -> None:
    rng = np.random.default_rng(0)
    for op in all_ops():
        if op.sample.__func__ is not Op.sample.__func__:  # what stands at the boundary alone has no integer cases
            assert hash(op.sample(rng).op)


def test_a_graph_with_an_unsupported_node_is_left_alone() -> None:
    build = _build()
    x = build.input(1, 4)
    y = build.node(Concatenation(-1, activation=Activation.RELU), x, x)
    graph = build.graph(y)
    assert shrink(graph, rounding=TFLITE).graph is graph


def test_int16_layers_lose_channels_that_nobody_reads() -> None:
    build = _build()
    x = build.input(1, 4, 4, 2)
    wide = QuantParams.of(2**-12)
    a = build.node(Quantize(), x, quant=wide)
    build.tensors[a] = dataclasses.replace(build.tensors[a], dtype=DType.S16)
    w = build.constant(_ones(4, 1, 1, 2), QuantParams.of(1 / 64))
    b = build.node(Conv2d(), a, w, quant=wide)
    build.tensors[b] = dataclasses.replace(build.tensors[b], dtype=DType.S16)
    weights = _ones(2, 1, 1, 4)
    weights[..., 1] = 0
    c = build.node(Conv2d(), b, build.constant(weights, QuantParams.of(1 / 64)), quant=wide)
    build.tensors[c] = dataclasses.replace(build.tensors[c], dtype=DType.S16)
    graph = build.graph(build.node(Quantize(), c, quant=QUANT))
    assert [shape[3] for shape in _shapes(_shrunk(graph))] == [2, 3, 2, 2]


@pytest.mark.parametrize("dtype", [dtype for dtype in DType if not dtype.is_float])
def test_values_of_every_integer_dtype_have_a_range(dtype: DType) -> None:
    tensors = (Tensor("x", (2, 3), dtype), Tensor("y", (3, 2), dtype))
    ports = (Port("x", 0, dtype),), (Port("y", 1, dtype),)
    graph = Graph("test", tensors, (Node("turn", Reshape((3, 2)), (0,), (1,)),), *ports)
    low, high = code_ranges(graph, Folds(TFLITE))[1]
    expected = (0, 1) if dtype is DType.BOOL else dtype.limits
    assert (low.tolist(), high.tolist()) == ([expected[0]] * 2, [expected[1]] * 2)


def test_scalars_take_part() -> None:
    build = _build()
    x = _varied(build, build.input(1, 4, 4, 2), 3)
    scalar = build.constant(np.array(40, np.int8), QUANT)
    total = build.node(Add(), x, scalar, quant=QuantParams.of(1.0))
    gate = build.node(Add(), build.input(), scalar, quant=QUANT)
    weights = _ones(2, 1, 1, 3)
    weights[..., 1] = 0
    graph = _shrunk(build.graph(_layer(build, Conv2d(), total, weights), gate))
    assert [shape[-1:] for shape in _shapes(graph)] == [(2,), (2,), (), (2,)]


@pytest.mark.parametrize("op", all_ops(), ids=lambda op: op.name)
@pytest.mark.filterwarnings("ignore:a value of")
def test_ranges_hold_for_every_operator(op: type[Op]) -> None:
    if op.sample.__func__ is Op.sample.__func__:
        assert op.name == "dequantize"  # stands at the boundary alone
        return
    rng = np.random.default_rng(7)
    for count in range(20):
        case = op.sample(rng)
        rounding = rounding_for(case, list(Rounding)[count % 3])
        graph = graph_of_case(case)
        try:
            ranges = code_ranges(graph, Folds(rounding))
        except EdgeqError:
            continue  # not every case has an integer form in every rounding
        for _ in range(3):
            codes = [None if tensor is None else random_codes(rng, tensor) for tensor in case.inputs]
            codes = [
                given if tensor is None or tensor.data is None else tensor.data
                for given, tensor in zip(codes, case.inputs, strict=True)
            ]
            results = case.op.reference_q(codes, inputs=case.inputs, outputs=case.outputs, rounding=rounding)
            for index, result in zip(graph.nodes[0].outputs, results, strict=True):
                assert np.all((result >= ranges[index].low) & (result <= ranges[index].high))

# SPDX-License-Identifier: Apache-2.0
"""Emitted .tflite files: LiteRT's reference kernels give the integers of the twin, and the reader the same graph."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from conformance.generated import KINDS, Generated, accepted
from needs import needs_module
from rewrite.intgraph import IntBuilder
from small_models import small_graph

from edgeq.compile.planner import make_plan
from edgeq.emit.tflite import write_tflite
from edgeq.errors import EdgeqError, UnsupportedError, UsageError
from edgeq.frontends.tflite import read
from edgeq.frontends.tflite_schema import RawModel, read_schema
from edgeq.ir.boundary import quantize_real
from edgeq.ir.coding import CodeKind, Coding
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Graph, Node, Port, Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.add import Add
from edgeq.ops.base import Activation, Op, Rounding
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.pool import AveragePool2d, MaxPool2d
from edgeq.ops.reshape import Reshape
from edgeq.ops.softmax import Softmax
from edgeq.ops.tanh import Tanh
from edgeq.ops.transpose_conv import TransposeConv
from edgeq.rewrite.boundary import strip_boundary
from edgeq.runtime.litert import ReferenceInterpreter
from edgeq.runtime.reference import run_reference

FEW, MANY = 2, 60  # cases of each kind
_UNSIGNED = "it rounds as LiteRT's kernel for the uint8 model"
# what edgeq runs and does not write, with words of the refusal
REFUSED = {
    "sum_int16": "takes signed codes for unsigned ones",
    **dict.fromkeys(("average_pool_2d_uint8", "conv2d_uint8", "depthwise_conv2d_uint8"), _UNSIGNED),
    **dict.fromkeys(("grouped_conv2d_uint8", "l2_normalization_uint8", "transpose_conv_uint8"), _UNSIGNED),
}


def _twin(graph: Graph, codes: Sequence[np.ndarray]) -> list[np.ndarray]:
    return run_reference(make_plan(graph, rounding=Rounding.TFLITE), codes).outputs


def _codes(graph: Graph, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    tensors = [graph.tensors[port.tensor] for port in graph.inputs]
    return [
        x if tensor.quant is None or x.dtype == tensor.dtype.numpy else quantize_real(x, tensor.quant, tensor.dtype)
        for x, tensor in zip(inputs, tensors, strict=True)
    ]


def _same(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> bool:
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def _equals_litert(graph: Graph, *, runs: int = 4) -> RawModel:
    """Compare the graph with its file in LiteRT on random codes; return the file's records."""
    needs_module("ai_edge_litert")
    data = write_tflite(graph)
    interpreter, rng = ReferenceInterpreter(data), np.random.default_rng(7)
    for _ in range(runs):
        tensors = [graph.tensors[port.tensor] for port in graph.inputs]
        codes = [rng.integers(*t.dtype.limits, t.shape, endpoint=True, dtype=t.dtype.numpy) for t in tensors]
        assert _same(interpreter.run(codes), _twin(graph, codes))
    return read_schema(data)


# ------------------------------------------------------------------------------------------------ every operator


def _failure(case: Generated) -> str | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes that LiteRT itself reads out of bounds for
        try:
            graph = strip_boundary(read(case.file, "generated"))
            codes = _codes(graph, case.inputs)
            expected = _twin(graph, codes)
        except EdgeqError:
            return None  # not supported at all, which other tests count
        try:
            data = write_tflite(graph)  # which may warn of FULLY_CONNECTED
        except UnsupportedError as error:
            known = REFUSED.get(case.kind)
            return None if known is not None and known in str(error) else f"{case.name} is refused: {error}"
        if case.kind in REFUSED:
            return f"{case.name} is no longer refused"
        again = strip_boundary(read(data, "generated"))
        if not _same(ReferenceInterpreter(data, reference_kernels=case.kind != "elu").run(codes), expected):
            return f"{case.name}: LiteRT differs"
        if not _same(_twin(again, codes), expected):
            return f"{case.name}: read again, it differs"
    before, after = ([port.name for port in (*g.inputs, *g.outputs)] for g in (graph, again))
    return None if before == after else f"{case.name}: {before} became {after}"


def _failures(kind: str, count: int) -> list[str]:
    found = (_failure(case) for case, _ in accepted(kind, count))
    return [failure for failure in found if failure is not None]


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_cases_equal_litert(kind: str, count: int) -> None:
    assert _failures(kind, count) == []


# ------------------------------------------------------------------------------------------------ other forms


def _kinds(raw: RawModel) -> list[str]:
    return [operator.kind for operator in raw.operators]


@pytest.mark.parametrize("kind", [Conv2d, DepthwiseConv2d])
def test_padding_by_numbers_becomes_a_pad(kind: type[Conv2d] | type[DepthwiseConv2d]) -> None:
    build = IntBuilder(np.random.default_rng(3))
    op = kind((2, 1), (1, 2, 0, 3))
    codes = build.rng.integers(-127, 128, (4, 3, 3, 4) if kind is Conv2d else (1, 3, 3, 4)).astype(np.int8)
    weights = build.constant(codes, QuantParams.per_channel(np.linspace(0.01, 0.02, 4), op.weight_axis))
    y = build.node(op, build.input(1, 7, 6, 4), weights, quant=QuantParams.of(0.2, 3))
    raw = _equals_litert(build.graph(y))
    assert _kinds(raw) == ["PAD", "CONV_2D" if kind is Conv2d else "DEPTHWISE_CONV_2D"]


def _pooled(op: Op, *shape: int) -> Graph:
    build = IntBuilder(np.random.default_rng(4))
    return build.graph(build.node(op, build.input(*shape)))


def test_padding_of_a_maximum_becomes_a_pad_with_the_lowest_code() -> None:
    raw = _equals_litert(_pooled(MaxPool2d((2, 2), (2, 2), (1, 0, 1, 0)), 1, 7, 7, 3))
    assert _kinds(raw) == ["PADV2", "MAX_POOL_2D"]


@pytest.mark.parametrize(("padding", "size"), [((0, 1, 1, 1), (8, 7)), ((0, 0, 0, 0), (7, 7))], ids=["same", "valid"])
def test_padding_that_has_a_name_gets_it(padding: tuple[int, int, int, int], size: tuple[int, int]) -> None:
    raw = _equals_litert(_pooled(AveragePool2d((3, 3), (2, 2), padding), 1, *size, 3))
    assert _kinds(raw) == ["AVERAGE_POOL_2D"]


def test_a_mean_over_padding_of_no_name_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r'average_pool_2d "average_pool_2d0" .* neither SAME nor VALID'):
        write_tflite(_pooled(AveragePool2d((3, 3), (2, 2), (1, 1, 0, 1)), 1, 8, 8, 3))


def test_every_node_that_cannot_be_said_is_named() -> None:
    build = IntBuilder(np.random.default_rng(5))
    uneven = build.constant(np.ones((3, 3, 3, 2), np.int8), QuantParams.of(0.01, 4))
    even = build.constant(np.ones((2, 2, 2, 3), np.int8), QuantParams.of(0.01))
    y = build.node(Conv2d(), build.input(1, 7, 7, 2), uneven)
    up = build.node(TransposeConv((2, 2), (0, 1, 1, 0), Activation.NONE, (1, 9, 9, 2)), y, even)
    with pytest.raises(UnsupportedError) as caught:
        write_tflite(build.graph(up))
    assert [(name, op) for name, op, _, _ in caught.value.reasons] == [
        (node.name, node.op.name) for node in build.nodes
    ]
    assert "zero point other than 0" in str(caught.value)


# ------------------------------------------------------------------------------------------------ the file


def test_the_same_graph_gives_the_same_bytes() -> None:
    assert write_tflite(small_graph()) == write_tflite(small_graph())
    assert write_tflite(small_graph()) != write_tflite(small_graph(seed=1))


def test_the_ends_are_codes_and_keep_names_and_order() -> None:
    build = IntBuilder(np.random.default_rng(6))
    a, b = build.input(1, 4), build.input(1, 4)
    total, other = build.node(Add(), a, b), build.node(Tanh(), b, quant=QuantParams.of(1 / 128))
    graph = build.graph(other, total)
    graph = graph.replace(
        inputs=[replace(port, dtype=DType.F32, name=f"in {port.name}") for port in reversed(graph.inputs)],
        outputs=[replace(port, dtype=DType.F32) for port in graph.outputs],
    )
    again = read(write_tflite(graph), "again")
    assert [(port.name, port.dtype) for port in again.inputs] == [("in x1", DType.S8), ("in x0", DType.S8)]
    assert [port.name for port in again.outputs] == ["y0", "y1"]
    assert [again.tensors[port.tensor].quant for port in again.inputs] == [
        graph.tensors[port.tensor].quant for port in graph.inputs
    ]
    _equals_litert(graph)


def test_a_bias_without_scales_gets_those_of_the_accumulator() -> None:
    graph = small_graph()
    raw = _equals_litert(graph)
    (bias,) = (tensor for tensor in raw.tensors if tensor.name.startswith(b"stem/b"))
    weights, image = graph.tensors[1].quant, graph.tensors[0].quant
    assert weights is not None
    assert image is not None
    np.testing.assert_array_equal(bias.scales, np.float32(np.array(weights.scales) * image.scale))
    assert not bias.zero_points.any()


def test_buffers_are_aligned_and_the_first_is_empty() -> None:
    data = write_tflite(small_graph())
    assert data[4:8] == b"TFL3"
    raw = read_schema(data)
    start = np.frombuffer(data, np.uint8).ctypes.data
    constants = [tensor for tensor in raw.tensors if tensor.data.size]
    assert len(constants) == 3  # weights, bias, the shape
    assert all((tensor.data.ctypes.data - start) % 16 == 0 for tensor in constants)
    computed = [tensor for tensor in raw.tensors if not tensor.data.size]
    assert [tensor.name for tensor in computed] == [b"image", b"stem", b"gate", b"scores"]


def test_versions_are_the_oldest_that_know_int8() -> None:
    raw = read_schema(write_tflite(small_graph()))
    assert [(operator.kind, operator.version) for operator in raw.operators] == [
        ("CONV_2D", 3),
        ("LOGISTIC", 2),
        ("RESHAPE", 1),
    ]


# ------------------------------------------------------------------------------------------------ int16 activations


def _wide_network(bias: type[np.signedinteger], *, pooled: float = 2.0**-11) -> Graph:
    """Return image -> conv2d -> depthwise -> add -> pool -> reshape -> dense -> softmax on int16 activations.

    ``pooled`` is the scale from the sum on; that of the dense layer's result is fixed.
    """
    rng = np.random.default_rng(8)
    tensors: list[Tensor] = []
    nodes: list[Node] = []

    def add(tensor: Tensor) -> int:
        tensors.append(tensor)
        return len(tensors) - 1

    def node(op: Op, *inputs: int, scale: float) -> int:
        (shape,) = op.infer_shape([tensors[index] for index in inputs])
        y = add(Tensor(f"t{len(tensors)}", tuple(shape), DType.S16, QuantParams.of(scale)))
        nodes.append(Node(f"{op.name}{len(nodes)}", op, inputs, (y,)))
        return y

    def layer(op: Op, x: int, *shape: int, scale: float, bias: type[np.signedinteger] = np.int64) -> int:
        channels = shape[op.weight_axis]
        quant = QuantParams.per_channel(rng.uniform(0.005, 0.01, channels), op.weight_axis)
        codes = rng.integers(-127, 128, shape).astype(np.int8)
        w = add(Tensor(f"w{len(tensors)}", shape, DType.S8, quant, codes))
        added = rng.integers(-50000, 50000, channels).astype(bias)
        b = add(Tensor(f"b{len(tensors)}", (channels,), DType.of_numpy(added.dtype), None, added))
        return node(op, x, w, b, scale=scale)

    x = add(Tensor("image", (1, 9, 8, 3), DType.S16, QuantParams.of(2.0**-14)))
    y = layer(Conv2d((1, 1), "same", (1, 1), Activation.RELU), x, 6, 3, 3, 3, scale=0.0003, bias=bias)
    z = layer(DepthwiseConv2d((1, 1), (1, 1, 1, 1), (1, 1), Activation.NONE), y, 1, 3, 3, 6, scale=0.0009)
    y = node(Add(Activation.RELU), y, z, scale=pooled)
    y = node(AveragePool2d((3, 2), (3, 2)), y, scale=pooled)
    y = node(Reshape((1, 72)), y, scale=pooled)
    y = layer(FullyConnected(), y, 10, 72, scale=2.0**-9, bias=bias)
    y = node(Softmax(), y, scale=1 / 32768)
    ports = (Port("image", x, DType.F32),), (Port("scores", y, DType.F32),)
    return Graph("wide", tuple(tensors), tuple(nodes), *ports)


@pytest.mark.parametrize("bias", [np.int32, np.int64])
def test_a_network_of_int16_activations_equals_litert(bias: type[np.signedinteger]) -> None:
    graph = _wide_network(bias)
    outputs = _twin(graph, [np.random.default_rng(9).integers(-32768, 32768, (1, 9, 8, 3)).astype(np.int16)])
    assert len(np.unique(outputs[0])) > 5, "the case says nothing: all outputs are alike"
    raw = _equals_litert(graph)
    narrow = bias is np.int32
    assert dict(zip(_kinds(raw), [operator.version for operator in raw.operators], strict=True)) == {
        "CONV_2D": 8 if narrow else 4, "DEPTHWISE_CONV_2D": 5, "ADD": 3, "AVERAGE_POOL_2D": 3, "RESHAPE": 1,
        "FULLY_CONNECTED": 11 if narrow else 7, "SOFTMAX": 3,
    }  # fmt: skip


def test_what_litert_multiplies_by_doubles_is_said() -> None:
    with pytest.warns(UserWarning, match=r"layers \(1, 'fully_connected5' the first, in channels 0, 1, .*7, ...\)"):
        write_tflite(_wide_network(np.int64, pooled=0.0007))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_tflite(_wide_network(np.int64))


def test_low_bit_weights_are_refused() -> None:
    graph = small_graph()
    coded = replace(graph.tensors[1], coding=Coding(CodeKind.TWOS, 4))
    with pytest.raises(UsageError, match="low-bit weights such as 'stem/w'; use a recipe with int8 weights"):
        write_tflite(graph.replace(tensors=(graph.tensors[0], coded, *graph.tensors[2:])))


def test_int16_depthwise_sums_with_an_int32_bias_are_refused() -> None:
    graph = _wide_network(np.int64)
    tensors = [
        replace(tensor, dtype=DType.S32, data=tensor.data.astype(np.int32))
        if tensor.data is not None and tensor.shape == (6,)
        else tensor
        for tensor in graph.tensors
    ]
    with pytest.raises(UnsupportedError, match=r'depthwise_conv2d "depthwise_conv2d1" .* its bias is int32'):
        write_tflite(graph.replace(tensors=tensors))

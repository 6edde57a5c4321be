# SPDX-License-Identifier: Apache-2.0
"""What a .tflite file becomes: operators, attributes, tensors, ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from frontends.tflite_builder import Model, O, T, build

from edgeq import frontends as registry
from edgeq.errors import BadInputError, StorageError, UnsupportedError
from edgeq.frontends import read_model, tflite
from edgeq.frontends.tflite import read
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import ABSENT, Graph
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Activation

CONV = ("Conv2DOptions", {"StrideH": 2, "StrideW": 1, "Padding": 0, "FusedActivationFunction": 3,
                          "DilationHFactor": 1, "DilationWFactor": 2})  # fmt: skip


def ints(name: str, values: Sequence[int] | int, dtype: str = "int32") -> T:
    data = np.array(values, dtype)
    return T(name, data.shape, dtype, data=data)


def read_op(
    kind: str,
    x: tuple[int, ...],
    y: tuple[int, ...] | list[tuple[int, ...]],
    *constants: T,
    options=None,
    first: int = 0,
) -> Graph:
    """Read a model of one operator on float32; constants are its other inputs, ``first`` is the place of x."""
    shapes = y if isinstance(y, list) else [y]
    outputs = [T(f"y{index}", shape, "float32") for index, shape in enumerate(shapes)]
    tensors = [T("x", x, "float32"), *constants, *outputs]
    inputs = list(range(1, 1 + len(constants)))
    inputs.insert(first, 0)
    results = list(range(1 + len(constants), len(tensors)))
    return read(build(Model(tensors, [O(kind, inputs, results, options)], [0], results)), "one")


def the_op(graph: Graph) -> object:
    (node,) = graph.nodes
    return node.op


def attributes(graph: Graph) -> dict[str, object]:
    return vars(the_op(graph))


def conv_model(**bias: object) -> bytes:
    tensors = [
        T("x", (1, 4, 4, 2), scale=0.5, zero=-1),
        T("w", (3, 1, 2, 2), scale=[0.25, 0.5, 1.0], axis=0, data=np.arange(12, dtype=np.int8)),
        T("y", (1, 2, 4, 3), scale=2.0, zero=7),
        T("b", (3,), "int32", data=np.array([1, -2, 3], np.int32), **{"scale": [0.125, 0.25, 0.5], **bias}),
    ]
    return build(Model(tensors, [O("CONV_2D", [0, 1, 3], [2], CONV, version=3)], [0], [2]))


def test_a_convolution_keeps_attributes_scales_and_names() -> None:
    graph = read(conv_model(), "m")
    (node,) = graph.nodes
    assert (graph.name, node.name, node.op.name) == ("m", "y", "conv2d")
    assert attributes(graph) == {
        "stride": (2, 1),
        "padding": "same",
        "dilation": (1, 2),
        "activation": Activation.RELU6,
        "single_product": False,
    }
    x, w, b = graph.input_tensors(node)
    assert [tensor.name for tensor in graph.tensors] == ["x", "w", "y", "b"]
    assert x.quant == QuantParams.of(0.5, -1)
    assert w.quant == QuantParams.per_channel(np.array([0.25, 0.5, 1.0]), 0)
    np.testing.assert_array_equal(w.data, np.arange(12).reshape(3, 1, 2, 2))
    assert (b.dtype, b.data.tolist()) == (DType.S32, [1, -2, 3])
    assert [(port.name, port.dtype) for port in (*graph.inputs, *graph.outputs)] == [("x", DType.S8), ("y", DType.S8)]


def test_a_one_dimensional_bias_may_name_any_axis() -> None:
    graph = read(conv_model(axis=3), "m")
    assert graph.tensors[3].quant == QuantParams.per_channel(np.array([0.125, 0.25, 0.5]), 0)


@pytest.mark.parametrize("inputs", [[0, 1], [0, 1, -1]])
def test_a_bias_may_be_missing(inputs: list[int]) -> None:
    tensors = [
        T("x", (1, 2), scale=1.0),
        T("w", (3, 2), scale=1.0, data=np.ones((3, 2), np.int8)),
        T("y", (1, 3), scale=1.0),
    ]
    graph = read(build(Model(tensors, [O("FULLY_CONNECTED", inputs, [2])], [0], [2])), "m")
    assert graph.nodes[0].inputs == (0, 1, ABSENT)
    assert attributes(graph) == {"activation": Activation.NONE, "keep_dims": False}


def test_transpose_conv_inputs_are_reordered() -> None:
    w = T("w", (5, 2, 2, 3), "float32", data=np.ones((5, 2, 2, 3), np.float32))
    options = ("TransposeConvOptions", {"StrideH": 2, "StrideW": 2, "Padding": 1})
    graph = read_op(
        "TRANSPOSE_CONV", (1, 2, 2, 3), (1, 4, 4, 5), ints("shape", [1, 4, 4, 5]), w, options=options, first=2
    )
    assert [tensor.name if tensor else None for tensor in graph.input_tensors(graph.nodes[0])] == ["x", "w", None]
    assert attributes(graph)["output_shape"] == (1, 4, 4, 5)
    assert attributes(graph)["stride"] == (2, 2)


MOVED = {
    "pad": ("PAD", (2, 3), (3, 6), [ints("p", [[0, 1], [1, 2]])], None, {"paddings": ((0, 1), (1, 2))}),
    "transpose": ("TRANSPOSE", (2, 3, 4), (4, 2, 3), [ints("p", [-1, 0, 1])], None, {"permutation": (2, 0, 1)}),
    "slice": (
        "SLICE", (4, 5), (2, 3), [ints("b", [1, 2]), ints("s", [2, -1])], None, {"begin": (1, 2), "size": (2, 3)},
    ),
    "mean": (
        "MEAN", (1, 4, 5, 6), (1, 6), [ints("a", [2, -3])], ("ReducerOptions", {"KeepDims": False}),
        {"axes": (1, 2), "keep_dims": False},
    ),
    "sum": (
        "SUM", (4, 5), (4, 1), [ints("a", -1)], ("ReducerOptions", {"KeepDims": True}),
        {"axes": (1,), "keep_dims": True},
    ),
    "squeeze": ("SQUEEZE", (1, 3, 1), (3, 1), [], ("SqueezeOptions", {"SqueezeDims": [0]}), {"shape": (3, 1)}),
    "squeeze all": ("SQUEEZE", (1, 3, 1), (3,), [], None, {"shape": (3,)}),
    "expand": ("EXPAND_DIMS", (2, 3), (2, 3, 1), [ints("a", -1)], None, {"shape": (2, 3, 1)}),
    "reshape": ("RESHAPE", (2, 6), (3, 4), [ints("s", [3, -1])], None, {"shape": (3, 4)}),
    "reshape to a scalar": ("RESHAPE", (1, 1), (), [ints("s", [])], None, {"shape": ()}),
    "reshape by option": ("RESHAPE", (2, 6), (12,), [], ("ReshapeOptions", {"NewShape": [-1]}), {"shape": (12,)}),
    "reshape by output": ("RESHAPE", (2, 6), (4, 3), [], None, {"shape": (4, 3)}),
    "concatenation": (
        "CONCATENATION", (2, 3), (2, 5), [T("c", (2, 2), "float32", data=np.ones((2, 2), np.float32))],
        ("ConcatenationOptions", {"Axis": -1}), {"axis": 1, "activation": Activation.NONE},
    ),
    "mirror": (
        "MIRROR_PAD", (2, 3), (2, 5), [ints("p", [[0, 0], [1, 1]])], ("MirrorPadOptions", {"Mode": 1}),
        {"paddings": ((0, 0), (1, 1)), "reflect": False},
    ),
    "resize": (
        "RESIZE_BILINEAR", (1, 2, 3, 1), (1, 4, 5, 1), [ints("s", [4, 5])],
        ("ResizeBilinearOptions", {"HalfPixelCenters": True}),
        {"size": (4, 5), "align_corners": False, "half_pixel": True},
    ),
    "nearest": (
        "RESIZE_NEAREST_NEIGHBOR", (1, 2, 3, 1), (1, 4, 5, 1), [ints("s", [4, 5])],
        ("ResizeNearestNeighborOptions", {"AlignCorners": True}),
        {"size": (4, 5), "align_corners": True, "half_pixel": False},
    ),
    "leaky": ("LEAKY_RELU", (3,), (3,), [], ("LeakyReluOptions", {"Alpha": 0.25}), {"alpha": 0.25}),
    "gelu": ("GELU", (3,), (3,), [], ("GeluOptions", {"Approximate": True}), {"approximate": True}),
    "softmax": ("SOFTMAX", (1, 3), (1, 3), [], ("SoftmaxOptions", {"Beta": 2.0}), {"beta": 2.0}),
    "depth": (
        "DEPTH_TO_SPACE", (1, 1, 1, 4), (1, 2, 2, 1), [], ("DepthToSpaceOptions", {"BlockSize": 2}), {"block": 2},
    ),
    "gather": (
        "GATHER", (2, 3, 4), (2, 2, 4), [ints("i", [0, 2])], ("GatherOptions", {"Axis": -2}),
        {"axis": 1, "batch_dims": 0},
    ),
    "max pool": (
        "MAX_POOL_2D", (1, 4, 6, 1), (1, 2, 2, 1), [],
        ("Pool2DOptions", {"FilterHeight": 2, "FilterWidth": 3, "StrideH": 2, "StrideW": 3, "Padding": 1}),
        {"kernel": (2, 3), "stride": (2, 3), "padding": "valid", "activation": Activation.NONE},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MOVED)
def test_constants_become_attributes(case: str) -> None:
    kind, x, y, constants, options, expected = MOVED[case]
    graph = read_op(kind, x, y, *constants, options=options)
    assert attributes(graph) == expected
    reads_constant = any(tensor.dtype == "float32" for tensor in constants)
    assert len(graph.nodes[0].inputs) == 1 + reads_constant + (case == "gather")


def test_split_reads_its_axis_first() -> None:
    options = ("SplitOptions", {"NumSplits": 2})
    graph = read_op("SPLIT", (4, 6), [(4, 3), (4, 3)], ints("axis", -1), options=options, first=1)
    assert attributes(graph) == {"axis": 1, "sizes": (3, 3)}
    assert graph.nodes[0].inputs == (0,)


def test_split_by_sizes_resolves_the_rest() -> None:
    graph = read_op("SPLIT_V", (4, 6), [(4, 1), (4, 5)], ints("sizes", [1, -1]), ints("axis", 1))
    assert attributes(graph) == {"axis": 1, "sizes": (1, 5)}


def test_a_padding_value_stays_an_input() -> None:
    value = T("v", (), "float32", data=np.array(3.0, np.float32))
    graph = read_op("PADV2", (2,), (4,), ints("p", [[1, 1]]), value)
    assert [tensor.name for tensor in graph.input_tensors(graph.nodes[0])] == ["x", "v"]


def test_arg_max_keeps_the_dtype_of_its_result() -> None:
    tensors = [T("x", (2, 3), scale=1.0), ints("a", -1), T("y", (2,), "int64")]
    graph = read(build(Model(tensors, [O("ARG_MAX", [0, 1], [2])], [0], [2])), "m")
    assert attributes(graph) == {"axis": 1, "dtype": DType.S64}
    assert graph.outputs[0].dtype is DType.S64


def test_shapes_computed_in_the_graph_are_folded() -> None:
    """SHAPE, STRIDED_SLICE and PACK, as a converter writes Flatten."""
    slice_options = ("StridedSliceOptions", {"ShrinkAxisMask": 1})
    tensors = [
        T("x", (2, 3, 4), "float32"), T("shape", (3,), "int32"), ints("zero", [0]), ints("one", [1]),
        T("batch", (), "int32"), ints("rest", -1), T("target", (2,), "int32"), T("y", (2, 12), "float32"),
    ]  # fmt: skip
    operators = [
        O("SHAPE", [0], [1]),
        O("STRIDED_SLICE", [1, 2, 3, 3], [4], slice_options),
        O("PACK", [4, 5], [6], ("PackOptions", {"ValuesCount": 2})),
        O("RESHAPE", [0, 6], [7]),
    ]
    graph = read(build(Model(tensors, operators, [0], [7])), "m")
    assert attributes(graph) == {"shape": (2, 12)}
    assert [tensor.name for tensor in graph.tensors] == ["x", "y"]


def test_open_batch_is_read_as_one() -> None:
    tensors = [
        T("x", (1, 4), "float32", signature=(-1, 4)), T("y", (1, 4), "float32", signature=(-1, 4)),
    ]  # fmt: skip
    graph = read(build(Model(tensors, [O("RELU", [0], [1])], [0], [1])), "m")
    assert graph.tensors[1].shape == (1, 4)


@pytest.mark.parametrize(
    "open_tensor", [T("t", (1, 1), "float32", signature=(-1, -1)), T("t", (), "float32")], ids=["sizes", "shape"]
)
def test_sizes_left_open_inside_are_inferred(open_tensor: T) -> None:
    tensors = [T("x", (3, 4), "float32"), open_tensor, T("y", (3, 4), "float32")]
    graph = read(build(Model(tensors, [O("RELU", [0], [1]), O("RELU", [1], [2])], [0], [2])), "m")
    assert graph.tensors[1].shape == (3, 4)


def test_float16_weights_are_widened() -> None:
    weights = np.array([[0.5, -2.0]], np.float16)
    tensors = [
        T("x", (1, 2), "float32"), T("h", (1, 2), "float16", data=weights), T("w", (1, 2), "float32"),
        T("y", (1, 1), "float32"),
    ]  # fmt: skip
    operators = [O("DEQUANTIZE", [1], [2]), O("FULLY_CONNECTED", [0, 2], [3])]
    graph = read(build(Model(tensors, operators, [0], [3])), "m")
    (node,) = graph.nodes
    w = graph.tensors[node.inputs[1]]
    assert (w.name, w.dtype, w.data.tolist()) == ("w", DType.F32, [[0.5, -2.0]])


def test_int4_weights_are_unpacked_low_nibble_first() -> None:
    tensors = [
        T("x", (1, 3), scale=1.0), T("w", (1, 3), "int4", scale=1.0, data=b"\x8f\x07"), T("y", (1, 1), scale=1.0),
    ]  # fmt: skip
    graph = read(build(Model(tensors, [O("FULLY_CONNECTED", [0, 1], [2])], [0], [2])), "m")
    assert (graph.tensors[1].dtype, graph.tensors[1].data.tolist()) == (DType.S8, [[-1, -8, 7]])


def test_int16_activations_are_kept() -> None:
    tensors = [
        T("x", (1, 2), "int16", scale=1.0), T("w", (1, 2), scale=1.0, data=np.ones((1, 2), np.int8)),
        T("b", (1,), "int64", scale=1.0, data=np.array([5])), T("y", (1, 1), "int16", scale=1.0),
    ]  # fmt: skip
    graph = read(build(Model(tensors, [O("FULLY_CONNECTED", [0, 1, 2], [3])], [0], [3])), "m")
    assert [tensor.dtype for tensor in graph.tensors] == [DType.S16, DType.S8, DType.S64, DType.S16]


def legacy(*operators: O) -> Graph:
    tensors = [
        T("x", (1, 2), "uint8", scale=0.5, zero=100),
        T("w", (2, 2), "uint8", scale=1.0, zero=128, data=np.array([[0, 255], [128, 1]], np.uint8)),
        T("t", (1, 2), "uint8", scale=1.0, zero=3),
        T("y", (1, 2), "uint8", scale=0.25, zero=0),
    ]
    return read(build(Model(tensors, operators, [0], [3])), "m")


def test_legacy_uint8_becomes_int8_between_uint8_ends() -> None:
    graph = legacy(O("FULLY_CONNECTED", [0, 1], [2]), O("RELU", [2], [3]))
    assert [(node.op.name, node.name) for node in graph.nodes] == [
        ("quantize", "x/int8"), ("fully_connected", "t"), ("relu", "y/int8"), ("quantize", "y"),
    ]  # fmt: skip
    tensors = {tensor.name: tensor for tensor in graph.tensors}
    assert tensors["w"].data.tolist() == [[-128, 127], [0, -127]]
    assert tensors["w"].quant == QuantParams.of(1.0, 0)
    assert (tensors["x"].dtype, tensors["x"].quant) == (DType.U8, QuantParams.of(0.5, 100))
    assert (tensors["x/int8"].dtype, tensors["x/int8"].quant) == (DType.S8, QuantParams.of(0.5, -28))
    assert tensors["t"].quant == QuantParams.of(1.0, -125)
    ports = [(port.name, graph.tensors[port.tensor].name, port.dtype) for port in (*graph.inputs, *graph.outputs)]
    assert ports == [("x", "x", DType.U8), ("y", "y", DType.U8)]


def test_quantize_at_a_uint8_end_reads_it_directly() -> None:
    graph = legacy(O("QUANTIZE", [0], [2]), O("QUANTIZE", [2], [3]))
    assert [node.name for node in graph.nodes] == ["t", "y"]
    assert [tensor.dtype for tensor in graph.tensors] == [DType.U8, DType.S8, DType.U8]


def test_ports_are_named_by_the_signature() -> None:
    tensors = [T("serving_x:0", (1,), "float32"), T("call:0", (1,), "float32")]
    model = Model(tensors, [O("RELU", [0], [1])], [0], [1], signature=({"x": 0}, {"y": 1}))
    graph = read(build(model), "m")
    assert (graph.inputs[0].name, graph.outputs[0].name) == ("x", "y")
    assert [tensor.name for tensor in graph.tensors] == ["serving_x:0", "call:0"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "tensor_1"),
        (b"caf\xe9", r"caf\xe9"),
        ("a\nb", r"a\nb"),
        ("größe", "größe"),
        ("x", "x_2"),
    ],
)
def test_names_are_made_readable_and_unique(name: str | bytes, expected: str) -> None:
    tensors = [T("x", (1,), "float32"), T(name, (1,), "float32")]
    graph = read(build(Model(tensors, [O("RELU", [0], [1])], [0], [1])), "m")
    assert graph.tensors[1].name == expected
    assert graph.outputs[0].name == expected


def test_a_name_of_ten_kilobytes_is_shortened() -> None:
    tensors = [T("x", (1,), "float32"), T("a" * 10_000 + "/Relu", (1,), "float32")]
    graph = read(build(Model(tensors, [O("RELU", [0], [1])], [0], [1])), "m")
    assert len(graph.tensors[1].name) == 1024
    assert graph.tensors[1].name.endswith("aaa/Relu")


def test_hybrid_nodes_are_refused_by_name() -> None:
    tensors = [
        T("x", (1, 2), "float32"), T("w", (2, 2), scale=1.0, data=np.ones((2, 2), np.int8)),
        T("t", (1, 2), "float32"), T("y", (1, 2), "float32"),
    ]  # fmt: skip
    operators = [O("FULLY_CONNECTED", [0, 1], [2], version=3), O("FULLY_CONNECTED", [2, 1], [3], version=3)]
    with pytest.raises(UnsupportedError, match="hybrid") as caught:
        read(build(Model(tensors, operators, [0], [3])), "m")
    assert [reason[:2] for reason in caught.value.reasons] == [("t", "fully_connected"), ("y", "fully_connected")]
    assert all("calibration data" in hint for *_, hint in caught.value.reasons)


def test_every_unsupported_operator_is_listed() -> None:
    tensors = [T(name, (2,), "float32") for name in "xabcy"]
    operators = [
        O("RELU", [0], [1]),
        O("LOG_SOFTMAX", [1], [2]),
        O("CUSTOM", [2], [3], custom="Mine"),
        O("IF", [3], [4]),
    ]
    with pytest.raises(UnsupportedError) as caught:
        read(build(Model(tensors, operators, [0], [4])), "m")
    reasons = caught.value.reasons
    assert [(node, op) for node, op, *_ in reasons] == [("b", "LOG_SOFTMAX"), ("c", "Mine"), ("y", "IF")]
    assert "operator 1" in reasons[0][2]
    assert reasons[0][3] == "the nearest that is: SOFTMAX"
    assert "built-in" in reasons[1][3]


def test_what_an_unsupported_operator_breaks_is_not_reported() -> None:
    tensors = [T("x", (2,), "float32"), T("a", (), "float32"), T("y", (2,), "float32")]
    with pytest.raises(UnsupportedError) as caught:
        read(build(Model(tensors, [O("SIGN", [0], [1]), O("SOFTMAX", [1], [2])], [0], [2])), "m")
    assert [reason[:2] for reason in caught.value.reasons] == [("a", "SIGN")]


def test_a_model_is_recognised_by_suffix_or_content(tmp_path: Path) -> None:
    data = conv_model()
    for name in ("modèle 1.tflite", "MODEL.TFLITE", "model.lite", "model"):
        (tmp_path / name).write_bytes(data)
        assert read_model(tmp_path / name).name == Path(name).stem
    (tmp_path / "notes.txt").write_text("not a model")
    with pytest.raises(BadInputError, match=r"notes\.txt' is not a model .*\.tflite"):
        read_model(tmp_path / "notes.txt")
    (tmp_path / "text.tflite").write_text("not a model either")
    with pytest.raises(BadInputError, match=r"text\.tflite.*not a \.tflite file"):
        read_model(tmp_path / "text.tflite")


def test_a_model_under_another_formats_suffix_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = SimpleNamespace(SUFFIXES=(".other",), read=lambda data, name: None)
    monkeypatch.setattr(registry, "frontends", lambda: (other, tflite))
    (tmp_path / "model.other").write_bytes(conv_model())
    with pytest.raises(BadInputError, match=r"rename it to end in \.tflite"):
        read_model(tmp_path / "model.other")
    with pytest.raises(StorageError, match="cannot read"):
        read_model(tmp_path / "missing.tflite")

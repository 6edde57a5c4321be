# SPDX-License-Identifier: Apache-2.0
"""Files that contradict themselves, one fault each: the exception class, and what its message names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from frontends.tflite_builder import Model, O, T, build

from edgeq.errors import BadInputError, EdgeqError, GraphError, InvalidValueError, UnsupportedError
from edgeq.frontends.tflite import read

WEIGHTS = np.arange(6, dtype=np.int8).reshape(3, 2)


def model(**changes: Any) -> Model:
    """x (1, 2) -> FULLY_CONNECTED "t" (1, 3) -> RELU "y", int8."""
    tensors = [
        T("x", (1, 2), scale=0.5, zero=3),
        T("w", (3, 2), scale=[0.25, 0.5, 1.0], data=WEIGHTS),
        T("b", (3,), "int32", scale=[0.125, 0.25, 0.5], data=np.array([1, 2, 3], np.int32)),
        T("t", (1, 3), scale=2.0, zero=-5),
        T("y", (1, 3), scale=2.0, zero=-5),
    ]
    operators = [O("FULLY_CONNECTED", [0, 1, 2], [3]), O("RELU", [3], [4])]
    return replace(Model(tensors, operators, [0], [4]), **changes)


def tensor(index: int, **changes: Any) -> Callable[[], bytes]:
    def make() -> bytes:
        tensors = list(model().tensors)
        tensors[index] = replace(tensors[index], **changes)
        return build(model(tensors=tensors))

    return make


def operator(index: int, **changes: Any) -> Callable[[], bytes]:
    def make() -> bytes:
        operators = list(model().operators)
        operators[index] = replace(operators[index], **changes)
        return build(model(operators=operators))

    return make


def whole(**changes: Any) -> Callable[[], bytes]:
    return lambda: build(model(**changes))


def relu(x: T, y: T) -> Callable[[], bytes]:
    return lambda: build(Model([x, y], [O("RELU", [0], [1])], [0], [1]))


def float_layer(weights: np.ndarray, dtype: str = "float32") -> Callable[[], bytes]:
    tensors = [T("x", (1, 2), "float32"), T("w", weights.shape, dtype, data=weights), T("y", (1, 1), "float32")]
    return lambda: build(Model(tensors, [O("FULLY_CONNECTED", [0, 1], [2])], [0], [2]))


def window(**options: int) -> Callable[[], bytes]:
    fields = {"FilterHeight": 2, "FilterWidth": 2, "StrideH": 1, "StrideW": 1, **options}
    tensors = [T("x", (1, 4, 4, 1), "float32"), T("y", (1, 4, 4, 1), "float32")]
    return lambda: build(Model(tensors, [O("MAX_POOL_2D", [0], [1], ("Pool2DOptions", fields))], [0], [1]))


def scale(value: float) -> Callable[[], bytes]:
    return tensor(0, scale=value)


LARGE = np.array([[1.0, np.inf]], np.float32)
CASES: dict[str, tuple[Callable[[], bytes], type[EdgeqError], str]] = {
    # the file
    "empty": (lambda: b"", BadInputError, "the file is empty"),
    "text": (lambda: b"# my model\nlayers:\n", BadInputError, "not a .tflite file: bytes 4 to 7 are b' mod'"),
    "wrong magic": (whole(identifier=b"TFL2"), BadInputError, "b'TFL2', b'TFL3' expected"),
    "head alone": (lambda: build(model())[:8], BadInputError, "the file is damaged"),
    "half": (lambda: build(model())[: len(build(model())) // 2], BadInputError, "the file is damaged"),
    "schema": (whole(schema=4), UnsupportedError, "schema version 4"),
    "no subgraph": (whole(subgraphs=0), BadInputError, "no subgraph"),
    "no output": (whole(outputs=[]), GraphError, "no output"),
    # shapes
    "open input": (tensor(0, signature=(1, -1)), GraphError, 'input "x" has shape [1, -1]'),
    "open batch of two": (tensor(0, shape=(2, 2), signature=(-1, 2)), GraphError, "shape [-1, 2]"),
    "negative input": (tensor(0, shape=(1, -1)), GraphError, 'input "x" has shape [1, -1]'),
    "negative size": (tensor(3, shape=(1, -3)), GraphError, 'tensor "t" has shape [1, -3]'),
    "size zero": (tensor(3, shape=(1, 0)), GraphError, 'tensor "t" has shape [1, 0]'),
    "rank 7": (relu(T("x", (1,) * 7), T("y", (1,) * 7)), GraphError, "7 dimensions, 6 are the most"),
    "too large": (tensor(3, shape=(65536, 32768)), GraphError, "more than 2147483647 elements"),
    "far too large": (tensor(3, shape=(2**31 - 1,) * 6), GraphError, "more than 2147483647 elements"),
    "wrong shape": (tensor(4, shape=(3, 1)), GraphError, 'output "y" should have shape [1, 3], [3, 1] is stated'),
    "wrong weights": (tensor(1, shape=(2, 3), scale=1.0), GraphError, "no rows of 3"),
    # indices
    "tensor index": (operator(0, inputs=[0, 99, 2]), GraphError, "operator 0 (FULLY_CONNECTED) names tensor 99"),
    "negative index": (operator(1, inputs=[-2]), GraphError, "names tensor -2"),
    "negative output": (operator(1, outputs=[-1]), GraphError, "names tensor -1"),
    "input index": (whole(inputs=[77]), GraphError, "an input of the model names tensor 77"),
    "output index": (whole(outputs=[-1]), GraphError, "an output of the model names tensor -1"),
    "buffer index": (tensor(0, buffer=44), BadInputError, "tensor 0 names buffer 44"),
    "missing input": (operator(1, inputs=[-1]), GraphError, "input (input 0) is missing"),
    "no inputs": (operator(1, inputs=[]), GraphError, "is missing"),
    "no result": (operator(1, outputs=[]), GraphError, "it writes no tensor"),
    "too many results": (operator(1, inputs=[0], outputs=[3, 4]), GraphError, "tensor \"t\" is written by"),
    # the graph
    "cycle": (operator(0, inputs=[4, 1, 2]), GraphError, "no rows of 2"),
    "true cycle": (
        lambda: build(Model([T(n, (2,), scale=1.0) for n in "xty"],
                            [O("ADD", [0, 2], [1]), O("RELU", [1], [2])], [0], [2])),
        GraphError, "the graph has a cycle",
    ),
    "wrong order": (
        lambda: build(Model([T(n, (2,), scale=1.0) for n in "xty"],
                            [O("RELU", [1], [2]), O("RELU", [0], [1])], [0], [2])),
        GraphError, 'before relu "t" has written it',
    ),
    "dangling": (operator(0, inputs=[0, 1, 2], outputs=[4]), GraphError, 'tensor "y" is written by'),
    "dangling input": (whole(inputs=[]), GraphError, '"x", which no node writes'),
    "two producers": (operator(1, inputs=[0], outputs=[3]), GraphError, 'tensor "t" is written by operator 1'),
    "writes an input": (operator(1, outputs=[0]), GraphError, "but also by an input of the model"),
    "writes a constant": (operator(1, outputs=[2]), GraphError, "but also by a buffer of the file"),
    "result shares a buffer": (tensor(3, buffer=1), GraphError, "but also by a buffer of the file"),
    "constant input": (whole(inputs=[0, 2]), GraphError, 'input "b" is a constant'),
    "input twice": (whole(inputs=[0, 0]), GraphError, "the same tensor as another input"),
    # storage
    "short buffer": (tensor(1, data=b"12345"), BadInputError, 'tensor "w" of shape [3, 2] needs 6 bytes'),
    "long buffer": (tensor(2, data=b"1" * 16), BadInputError, 'needs 12 bytes, its buffer has 16'),
    "float64": (float_layer(np.ones((1, 2)), "float64"), UnsupportedError, 'tensor "w" is float64'),
    "int64 weights": (tensor(1, dtype="int64", scale=None, data=np.ones((3, 2), np.int64)), UnsupportedError, "int64"),
    "float16 activation": (relu(T("x", (2,), "float16"), T("y", (2,), "float16")), UnsupportedError, "float16"),
    "strings": (relu(T("x", (2,), "string"), T("y", (2,), "string")), UnsupportedError, "string"),
    "unknown type": (tensor(0, dtype=99), UnsupportedError, 'tensor "x" is type 99'),
    "state": (tensor(0, variable=True), UnsupportedError, "keeps its value between inferences"),
    "NaN": (float_layer(np.array([[1, np.nan]], np.float32)), InvalidValueError, '"w" has nan at flat index 1'),
    "infinity": (float_layer(LARGE), InvalidValueError, '"w" has inf at flat index 1'),
    "float16 infinity": (float_layer(LARGE.astype(np.float16), "float16"), InvalidValueError, "has inf at flat"),
    # scales
    "scale 0": (scale(0.0), InvalidValueError, 'tensor "x": scale 0.0'),
    "scale negative": (scale(-1.0), InvalidValueError, "scale -1.0"),
    "scale NaN": (scale(float("nan")), InvalidValueError, "scale nan"),
    "scale infinite": (scale(float("inf")), InvalidValueError, "scale inf"),
    "scale denormal": (scale(1e-40), InvalidValueError, "not a normal positive float32"),
    "no scale": (tensor(0, scale=None), InvalidValueError, "int8 tensor 'x' has no quantization parameters"),
    "zero points": (tensor(0, scale=[1.0], zero=[1, 2]), InvalidValueError, "1 scales and 2 zero points"),
    "zero point": (tensor(0, zero=128), InvalidValueError, "zero point 128 at index 0, -128 to 127"),
    "zero point of int16": (
        relu(T("x", (2,), "int16", scale=1.0, zero=1), T("y", (2,), "int16", scale=1.0)), InvalidValueError,
        "zero point 1, 0 to 0 expected",
    ),
    "scale count": (
        tensor(1, scale=[1.0, 2.0]), InvalidValueError,
        "per-channel scales have 2 entries, dimension 0 of shape [3, 2] has 3 channels",
    ),
    "channel axis": (tensor(1, scale=[1.0, 2.0], axis=1), InvalidValueError, "output channels along dimension 0"),
    "axis out of range": (tensor(1, axis=5), InvalidValueError, "belong to number 5"),
    "weight zero points": (tensor(1, zero=[0, 1, 0]), InvalidValueError, "a zero point per channel"),
    "per-channel activation": (
        tensor(3, scale=[1.0, 1.0, 1.0], axis=1), InvalidValueError, "has 3 scales, 1 expected",
    ),
    "bias scale": (tensor(2, scale=7.0), InvalidValueError, "input times weights give"),
    "bias zero point": (tensor(2, zero=1), InvalidValueError, "zero point other than 0"),
    "ratio": (tensor(3, scale=1e-12), InvalidValueError, "more than 2^30"),
    # operators
    "unknown operator": (operator(1, kind="SIGN"), UnsupportedError, 'SIGN "y": the operator is not supported'),
    "no operator": (operator(1, kind=5000), UnsupportedError, "operator code 5000"),
    "custom": (operator(1, kind="CUSTOM", custom="Mine"), UnsupportedError, "custom operators are not supported"),
    "control flow": (operator(1, kind="WHILE"), UnsupportedError, "control flow is not supported"),
    "version": (operator(1, version=90), UnsupportedError, "version 90 is newer than 3"),
    "options of another": (
        operator(1, kind="SOFTMAX", options=("Pool2DOptions", {})), BadInputError,
        "carries Pool2DOptions, SoftmaxOptions expected",
    ),
    "padding mode": (window(Padding=2), BadInputError, "padding mode 2 is not known"),
    "activation": (window(FusedActivationFunction=9), BadInputError, "fused activation 9 is not known"),
    "tanh": (window(FusedActivationFunction=4), UnsupportedError, "fused activation TANH"),
    "stride 0": (window(StrideH=0), BadInputError, "stride [0, 1] must be at least 1"),
    "kernel 0": (window(FilterWidth=0), GraphError, "must be at least 1"),
    "shuffled": (
        operator(0, options=("FullyConnectedOptions", {"WeightsFormat": 1})), UnsupportedError, "shuffled weights",
    ),
    "run-time shape": (
        lambda: build(Model([T("x", (2, 3), "float32"), T("s", (2,), "int32"), T("y", (3, 2), "float32")],
                            [O("RESHAPE", [0, 1], [2])], [0, 1], [2])),
        UnsupportedError, "the new shape is computed at run time",
    ),
    "constant result": (
        lambda: build(Model([T("x", (2, 3), "float32"), T("s", (2,), "int32")],
                            [O("SHAPE", [0], [1])], [0], [1])),
        UnsupportedError, "does not depend on the model's inputs",
    ),
}  # fmt: skip


def test_the_model_without_a_fault_is_read() -> None:
    assert len(read(build(model()), "m").nodes) == 2


@pytest.mark.parametrize("case", CASES)
def test_a_fault_is_refused_by_name(case: str) -> None:
    make, error, message = CASES[case]
    with pytest.raises(EdgeqError) as caught:
        read(make(), "m")
    assert message in str(caught.value)
    assert type(caught.value) is error
    assert caught.value.exit_code == (2 if error is UnsupportedError else 8)

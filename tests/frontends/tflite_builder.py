# SPDX-License-Identifier: Apache-2.0
"""Build small .tflite files for tests, with the schema's own field names and nothing checked.

build(Model([T("x", (1, 4), scale=0.1), T("y", (1, 4), scale=0.1)], [O("RELU", [0], [1])], [0], [1]))
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import tflite

TYPES = {
    "float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "string": 5, "bool": 6, "int16": 7, "int8": 9,
    "float64": 10, "int4": 17,
}  # fmt: skip


@dataclass
class T:
    """A tensor. ``scale`` and ``zero`` may be lists; ``data`` is an array, or bytes to say exactly what is stored."""

    name: str | bytes
    shape: Sequence[int]
    dtype: str | int = "int8"
    scale: float | Sequence[float] | None = None
    zero: int | Sequence[int] = 0
    axis: int = 0
    data: np.ndarray | bytes | None = None
    signature: Sequence[int] | None = None
    variable: bool = False
    buffer: int | None = None  # another tensor's buffer, by number


@dataclass
class O:  # noqa: E742 - reads as the twin of T
    """An operator: options as (table, {field: value})."""

    kind: str | int
    inputs: Sequence[int]
    outputs: Sequence[int]
    options: tuple[str, Mapping[str, Any]] | None = None
    version: int = 1
    custom: str | None = None


@dataclass
class Model:
    tensors: Sequence[T]
    operators: Sequence[O]
    inputs: Sequence[int]
    outputs: Sequence[int]
    schema: int = 3
    subgraphs: int = 1
    signature: tuple[Mapping[str, int], Mapping[str, int]] | None = None
    identifier: bytes = field(default=b"TFL3")


def build(model: Model) -> bytes:
    """Return the file."""
    builder = flatbuffers.Builder(1024)
    buffers = [b""]
    numbers = []
    for tensor in model.tensors:
        data = tensor.data if isinstance(tensor.data, bytes) else None
        if isinstance(tensor.data, np.ndarray):
            data = np.ascontiguousarray(tensor.data).tobytes()
        if tensor.buffer is not None or data is None:
            numbers.append(tensor.buffer or 0)
        else:
            numbers.append(len(buffers))
            buffers.append(data)
    packed_buffers = [_table(builder, "Buffer", Data=_bytes(builder, data)) for data in buffers]
    tensors = [_tensor(builder, tensor, number) for tensor, number in zip(model.tensors, numbers, strict=True)]
    codes = [_operator_code(builder, operator) for operator in model.operators]
    operators = [_operator(builder, operator, index) for index, operator in enumerate(model.operators)]
    subgraph = _table(
        builder,
        "SubGraph",
        Tensors=_offsets(builder, tensors),
        Inputs=_numbers(builder, model.inputs, np.int32),
        Outputs=_numbers(builder, model.outputs, np.int32),
        Operators=_offsets(builder, operators),
    )
    root = _table(
        builder,
        "Model",
        Version=model.schema,
        OperatorCodes=_offsets(builder, codes),
        Subgraphs=_offsets(builder, [subgraph] * model.subgraphs),
        Buffers=_offsets(builder, packed_buffers),
        SignatureDefs=_signature(builder, model.signature),
    )
    builder.Finish(root, file_identifier=model.identifier)
    return bytes(builder.Output())


def _table(builder: flatbuffers.Builder, kind: str, **fields: Any) -> int:
    module = importlib.import_module(f"tflite.{kind}")
    getattr(module, f"{kind}Start")(builder)
    for name, value in fields.items():
        if value is not None:
            getattr(module, f"{kind}Add{name}")(builder, value)
    return getattr(module, f"{kind}End")(builder)


def _numbers(builder: flatbuffers.Builder, values: Sequence | np.ndarray | None, dtype: type) -> int | None:
    return None if values is None else builder.CreateNumpyVector(np.asarray(values, dtype).reshape(-1))


def _bytes(builder: flatbuffers.Builder, data: bytes) -> int | None:
    if not data:
        return None
    # buffers are 16-byte aligned in real files
    builder.StartVector(1, len(data), 16)
    builder.head = builder.Head() - len(data)
    builder.Bytes[builder.Head() : builder.Head() + len(data)] = data
    return builder.EndVector()


def _offsets(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _tensor(builder: flatbuffers.Builder, tensor: T, number: int) -> int:
    quantization = None
    if tensor.scale is not None:
        scales = np.atleast_1d(np.asarray(tensor.scale, np.float32))
        zeros = np.atleast_1d(np.asarray(tensor.zero, np.int64))
        zeros = np.broadcast_to(zeros, scales.shape) if zeros.size == 1 else zeros
        quantization = _table(
            builder,
            "QuantizationParameters",
            Scale=_numbers(builder, scales, np.float32),
            ZeroPoint=_numbers(builder, zeros, np.int64),
            QuantizedDimension=tensor.axis,
        )
    return _table(
        builder,
        "Tensor",
        Shape=_numbers(builder, tensor.shape, np.int32),
        Type=TYPES[tensor.dtype] if isinstance(tensor.dtype, str) else tensor.dtype,
        Buffer=number,
        Name=builder.CreateString(tensor.name),
        Quantization=quantization,
        IsVariable=tensor.variable,
        ShapeSignature=_numbers(builder, tensor.signature, np.int32),
    )


def _operator_code(builder: flatbuffers.Builder, operator: O) -> int:
    code = getattr(tflite.BuiltinOperator, operator.kind) if isinstance(operator.kind, str) else operator.kind
    return _table(
        builder,
        "OperatorCode",
        DeprecatedBuiltinCode=min(code, 127),
        CustomCode=None if operator.custom is None else builder.CreateString(operator.custom),
        Version=operator.version,
        BuiltinCode=code,
    )


def _operator(builder: flatbuffers.Builder, operator: O, index: int) -> int:
    kind, options = None, None
    if operator.options is not None:
        name, values = operator.options
        kind = getattr(tflite.BuiltinOptions, name)
        lists = {key: value for key, value in values.items() if isinstance(value, (list, tuple))}
        packed = {key: _numbers(builder, value, np.int32) for key, value in lists.items()}
        options = _table(builder, name, **{**values, **packed})
    return _table(
        builder,
        "Operator",
        OpcodeIndex=index,
        Inputs=_numbers(builder, operator.inputs, np.int32),
        Outputs=_numbers(builder, operator.outputs, np.int32),
        BuiltinOptionsType=kind,
        BuiltinOptions=options,
    )


def _signature(builder: flatbuffers.Builder, names: tuple[Mapping[str, int], Mapping[str, int]] | None) -> int | None:
    if names is None:
        return None
    maps = [
        _offsets(
            builder,
            [
                _table(builder, "TensorMap", Name=builder.CreateString(name), TensorIndex=index)
                for name, index in entries.items()
            ],
        )
        for entries in names
    ]
    key = builder.CreateString("serving_default")
    return _offsets(builder, [_table(builder, "SignatureDef", Inputs=maps[0], Outputs=maps[1], SignatureKey=key)])

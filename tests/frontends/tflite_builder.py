# SPDX-License-Identifier: Apache-2.0
"""Build small .tflite files for tests, with the schema's own field names and nothing checked.

build(Model([T("x", (1, 4), scale=0.1), T("y", (1, 4), scale=0.1)], [O("RELU", [0], [1])], [0], [1]))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import tflite

from edgeq.emit.flatbuffer import (
    pack_buffer,
    pack_numbers,
    pack_offsets,
    pack_operator,
    pack_operator_code,
    pack_quantization,
    pack_signature,
    pack_subgraph,
    pack_table,
)

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
    packed_buffers = [pack_buffer(builder, data) for data in buffers]
    tensors = [_tensor(builder, tensor, number) for tensor, number in zip(model.tensors, numbers, strict=True)]
    codes = [_operator_code(builder, operator) for operator in model.operators]
    operators = [
        pack_operator(builder, index, operator.inputs, operator.outputs, operator.options)
        for index, operator in enumerate(model.operators)
    ]
    subgraph = pack_subgraph(builder, tensors=tensors, operators=operators, inputs=model.inputs, outputs=model.outputs)
    signature = model.signature and [list(names.items()) for names in model.signature]
    fields = {
        "Version": model.schema,
        "OperatorCodes": pack_offsets(builder, codes),
        "Subgraphs": pack_offsets(builder, [subgraph] * model.subgraphs),
        "Buffers": pack_offsets(builder, packed_buffers),
        "SignatureDefs": pack_signature(builder, *signature) if signature else None,
    }
    builder.Finish(pack_table(builder, "Model", fields), file_identifier=model.identifier)
    return bytes(builder.Output())


def _tensor(builder: flatbuffers.Builder, tensor: T, number: int) -> int:
    quantization = None
    if tensor.scale is not None:
        scales = np.atleast_1d(np.asarray(tensor.scale, np.float32))
        zeros = np.atleast_1d(np.asarray(tensor.zero, np.int64))
        zeros = np.broadcast_to(zeros, scales.shape) if zeros.size == 1 else zeros
        quantization = pack_quantization(builder, scales, zeros, tensor.axis)
    signature = None if tensor.signature is None else pack_numbers(builder, tensor.signature, np.int32)
    fields = {
        "Shape": pack_numbers(builder, tensor.shape, np.int32),
        "Type": TYPES[tensor.dtype] if isinstance(tensor.dtype, str) else tensor.dtype,
        "Buffer": number,
        "Name": builder.CreateString(tensor.name),
        "Quantization": quantization,
        "IsVariable": tensor.variable,
        "ShapeSignature": signature,
    }
    return pack_table(builder, "Tensor", fields)


def _operator_code(builder: flatbuffers.Builder, operator: O) -> int:
    code = getattr(tflite.BuiltinOperator, operator.kind) if isinstance(operator.kind, str) else operator.kind
    if operator.custom is None:
        return pack_operator_code(builder, code, operator.version)
    name, codes = builder.CreateString(operator.custom), {"DeprecatedBuiltinCode": code, "BuiltinCode": code}
    return pack_table(builder, "OperatorCode", {**codes, "CustomCode": name, "Version": operator.version})

# SPDX-License-Identifier: Apache-2.0
"""Pack the tables, lists and buffers of a .tflite flatbuffer, by the schema's own field names."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
from tflite.BuiltinOptions import BuiltinOptions

ALIGNMENT = 16  # of the contents of buffers, which interpreters read in place

Fields = Mapping[str, Any]


def pack_table(builder: flatbuffers.Builder, kind: str, fields: Fields) -> int:
    """Add a table and return its offset; a field that is None is left out.

    Lists, texts and tables inside it are offsets, packed before.
    """
    module = importlib.import_module(f"tflite.{kind}")
    getattr(module, f"{kind}Start")(builder)
    for name, value in fields.items():
        if value is not None:
            getattr(module, f"{kind}Add{name}")(builder, value)
    return int(getattr(module, f"{kind}End")(builder))


def pack_numbers(builder: flatbuffers.Builder, values: Sequence[float] | np.ndarray, dtype: type[np.number]) -> int:
    """Add a list of numbers and return its offset."""
    return int(builder.CreateNumpyVector(np.asarray(values, dtype).reshape(-1)))


def pack_offsets(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    """Add a list of tables and return its offset."""
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def pack_buffer(builder: flatbuffers.Builder, data: bytes) -> int:
    """Add a Buffer and return its offset; one of no bytes has no list at all, by which readers know it."""
    if not data:
        return pack_table(builder, "Buffer", {})
    builder.StartVector(1, len(data), ALIGNMENT)
    builder.head = builder.Head() - len(data)
    builder.Bytes[builder.Head() : builder.Head() + len(data)] = data
    return pack_table(builder, "Buffer", {"Data": builder.EndVector()})


def pack_quantization(
    builder: flatbuffers.Builder,
    scales: Sequence[float] | np.ndarray,
    zero_points: Sequence[int] | np.ndarray,
    axis: int,
) -> int:
    """Add the parameters of a tensor and return their offset."""
    fields = {
        "Scale": pack_numbers(builder, scales, np.float32),
        "ZeroPoint": pack_numbers(builder, zero_points, np.int64),
        "QuantizedDimension": axis,
    }
    return pack_table(builder, "QuantizationParameters", fields)


def pack_operator_code(builder: flatbuffers.Builder, code: int, version: int) -> int:
    """Add an operator's kind, also in the one-byte field of older readers, and return its offset."""
    fields = {"DeprecatedBuiltinCode": min(code, 127), "Version": version, "BuiltinCode": code}
    return pack_table(builder, "OperatorCode", fields)


def pack_operator(
    builder: flatbuffers.Builder,
    code_index: int,
    inputs: Sequence[int],
    outputs: Sequence[int],
    options: tuple[str, Fields] | None,
) -> int:
    """Add an operator with its attributes, (table, fields), and return its offset."""
    fields: dict[str, Any] = {
        "OpcodeIndex": code_index,
        "Inputs": pack_numbers(builder, inputs, np.int32),
        "Outputs": pack_numbers(builder, outputs, np.int32),
    }
    if options is not None:
        kind, values = options
        lists = {
            name: pack_numbers(builder, value, np.int32)
            for name, value in values.items()
            if isinstance(value, tuple | list)
        }
        fields["BuiltinOptionsType"] = getattr(BuiltinOptions, kind)
        fields["BuiltinOptions"] = pack_table(builder, kind, {**values, **lists})
    return pack_table(builder, "Operator", fields)


def pack_subgraph(
    builder: flatbuffers.Builder,
    *,
    tensors: Sequence[int],
    operators: Sequence[int],
    inputs: Sequence[int],
    outputs: Sequence[int],
) -> int:
    """Add a graph and return its offset; inputs and outputs are numbers of tensors."""
    fields = {
        "Tensors": pack_offsets(builder, tensors),
        "Inputs": pack_numbers(builder, inputs, np.int32),
        "Outputs": pack_numbers(builder, outputs, np.int32),
        "Operators": pack_offsets(builder, operators),
    }
    return pack_table(builder, "SubGraph", fields)


def pack_signature(
    builder: flatbuffers.Builder, inputs: Sequence[tuple[str, int]], outputs: Sequence[tuple[str, int]]
) -> int:
    """Add the names of a model's inputs and outputs, with their tensors, and return the offset of the list of one."""
    maps = [
        pack_offsets(
            builder,
            [
                pack_table(builder, "TensorMap", {"Name": builder.CreateString(name), "TensorIndex": index})
                for name, index in entries
            ],
        )
        for entries in (inputs, outputs)
    ]
    key = builder.CreateString("serving_default")
    fields = {"Inputs": maps[0], "Outputs": maps[1], "SignatureKey": key}
    return pack_offsets(builder, [pack_table(builder, "SignatureDef", fields)])

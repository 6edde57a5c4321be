# SPDX-License-Identifier: Apache-2.0
"""The bytes of a .eqm file back to a Plan, for the twin and the tools; bad bytes give one clear error."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import numpy as np

from edgeq.compile.plan import NamedTensor, Plan, PlannedStep, PlanPort, Value
from edgeq.errors import EdgeqError, ModelFormatError
from edgeq.format import layout
from edgeq.format.params import unpack_step
from edgeq.ir.dtypes import DType
from edgeq.ir.qparams import QuantParams
from edgeq.ops import step_of_code
from edgeq.ops.base import Shape


def is_model(data: bytes) -> bool:
    """Say whether the bytes start like a model file."""
    return data[:4] == layout.MAGIC.to_bytes(4, "little")


def read_model(data: bytes) -> Plan:
    """Rebuild the plan. Raises ModelFormatError for damaged, truncated or newer files."""
    header = _checked_header(data)
    try:
        return _read(data, header)
    except EdgeqError:
        raise
    except (struct.error, KeyError, IndexError, ValueError, TypeError, UnicodeDecodeError, OverflowError) as error:
        raise ModelFormatError(f"the model file contradicts itself: {error!r}") from None


def _checked_header(data: bytes) -> dict[str, Any]:
    if not is_model(data):
        raise ModelFormatError("not a model file: it does not start with EQM1", hint="convert the source model first")
    if len(data) < layout.HEADER.size_bytes:
        raise ModelFormatError(f"the model file is cut short: {len(data)} bytes, its header alone has more")
    header = layout.HEADER.unpack(data, 0)
    if header["major"] != layout.MAJOR or header["kernel_abi"] != layout.KERNEL_ABI:
        raise ModelFormatError(
            f"model format {header['major']}, kernel ABI {header['kernel_abi']}; this edgeq reads format {layout.MAJOR}, "
            f"ABI {layout.KERNEL_ABI}",
            hint="convert the model again with this version",
        )
    if header["file_bytes"] != len(data):
        raise ModelFormatError(f"the model file should have {header['file_bytes']} bytes, it has {len(data)}")
    if zlib.crc32(data[: layout.HEADER.size_bytes - 4]) != header["header_crc"]:
        raise ModelFormatError("the header of the model file is damaged (CRC)")
    if zlib.crc32(data[header["header_bytes"] :]) != header["payload_crc"]:
        raise ModelFormatError("the contents of the model file are damaged (CRC)")
    if header["flags"] & ~layout.KNOWN_FLAGS or header["layout"] != layout.LAYOUT_PORTABLE:
        raise ModelFormatError(f"flags {header['flags']:#x}, layout {header['layout']}: made by a newer edgeq")
    return header


def _read(data: bytes, header: dict[str, Any]) -> Plan:
    def section(name: str) -> bytes:
        start = header[f"{name}_offset"]
        return data[start : start + header[f"{name}_size"]]

    metadata = json.loads(section("metadata"))
    constants, params = section("constants"), section("params")
    locations = np.frombuffer(section("locations"), "<u4")
    values = []
    for location, (name, shape, dtype_name, quant) in zip(locations.tolist(), metadata["values"], strict=True):
        dtype = DType[dtype_name]
        stored = None
        if location & layout.CONSTANT_BIT:
            start = location & ~layout.CONSTANT_BIT
            count = int(np.prod(shape, dtype=np.int64))
            stored = np.frombuffer(constants, dtype.numpy, count, start).reshape(shape)
        quantized = None if quant is None else QuantParams(tuple(quant[0]), tuple(quant[1]), quant[2])
        offset = 0 if stored is not None else location
        values.append(Value(name, _shape(shape), dtype, quantized, offset, stored))

    operands = np.frombuffer(section("operands"), "<u2").tolist()
    raw_steps = section("steps")
    steps = []
    for index, (name, op) in enumerate(metadata["steps"]):
        record = layout.STEP.unpack(raw_steps, index * layout.STEP.size_bytes)
        step = unpack_step(step_of_code(record["code"]), params[record["params_offset"] :], constants)
        first, middle = record["first_operand"], record["first_operand"] + record["input_count"]
        outputs = operands[middle : middle + record["output_count"]]
        steps.append(
            PlannedStep(step, name, op, tuple(operands[first:middle]), tuple(outputs), record["scratch_offset"])
        )

    raw_ports = section("ports")
    ports = []
    for index, (name, shape) in enumerate(metadata["ports"]):
        record = layout.PORT.unpack(raw_ports, index * layout.PORT.size_bytes)
        ports.append(PlanPort(name, record["tensor"], DType.of_code(record["declared_dtype"]), _shape(shape)))
    return Plan(
        name=metadata["name"],
        rounding=metadata["rounding"],
        values=tuple(values),
        steps=tuple(steps),
        inputs=tuple(ports[: header["input_count"]]),
        outputs=tuple(ports[header["input_count"] :]),
        tensors=tuple(NamedTensor(name, value, _shape(shape)) for name, value, shape in metadata["tensors"]),
        arena_bytes=header["arena_bytes"],
        lower_bound_bytes=metadata["lower_bound_bytes"],
        keeps_tensors=bool(header["flags"] & layout.FLAG_KEEPS_TENSORS),
    )


def _shape(sizes: list[int]) -> Shape:
    return tuple(int(size) for size in sizes)

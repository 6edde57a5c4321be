# SPDX-License-Identifier: Apache-2.0
"""The bytes of a .eqm file back to a Plan, for the twin and the tools; bad bytes give one clear error."""

from __future__ import annotations

import bz2
import dataclasses
import json
import math
import struct
import zlib
from typing import Any

import numpy as np

from edgeq.compile.plan import ALIGNMENT, NamedTensor, Plan, PlannedStep, PlanPort, Value
from edgeq.errors import EdgeqError, ModelFormatError
from edgeq.format import layout
from edgeq.format.params import unpack_step
from edgeq.ir.dtypes import DType
from edgeq.ir.qparams import QuantParams
from edgeq.ops import step_of_code
from edgeq.ops.base import Shape
from edgeq.ops.packing import LAYOUT_NAMES

MAX_METADATA_BYTES = 1 << 28  # after decompression: 65535 steps and tensors with scales for every channel have less


def is_model(data: bytes) -> bool:
    """Say whether the bytes start like a model file."""
    return data[:4] == layout.MAGIC.to_bytes(4, "little")


def read_model(data: bytes) -> Plan:
    """Rebuild the plan. Raises ModelFormatError for damaged, truncated or newer files."""
    header = checked_header(data)
    try:
        return _read(data, header)
    except EdgeqError:
        raise
    except (
        struct.error, KeyError, IndexError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError,
        OSError,
    ) as error:  # fmt: skip
        raise ModelFormatError(f"the model file contradicts itself: {error!r}") from None


def checked_header(data: bytes) -> dict[str, Any]:
    """Return the header of a model file whose version and CRCs are right. Raises ModelFormatError for any other."""
    if not is_model(data):
        raise ModelFormatError("not a model file: it does not start with EQM1", hint="convert the source model first")
    if len(data) < layout.HEADER.size_bytes:
        raise ModelFormatError(f"the model file is cut short: {len(data)} bytes, its header alone has more")
    header = layout.HEADER.unpack(data, 0)
    if header["major"] != layout.MAJOR or header["kernel_abi"] != layout.KERNEL_ABI:
        raise ModelFormatError(
            f"model format {header['major']}, kernel ABI {header['kernel_abi']}; "
            f"this edgeq reads format {layout.MAJOR}, ABI {layout.KERNEL_ABI}",
            hint="convert the model again with this version",
        )
    if header["file_bytes"] != len(data):
        raise ModelFormatError(f"the model file should have {header['file_bytes']} bytes, it has {len(data)}")
    if zlib.crc32(data[: layout.HEADER.size_bytes - 4]) != header["header_crc"]:
        raise ModelFormatError("the header of the model file is damaged (CRC)")
    if zlib.crc32(data[header["header_bytes"] :]) != header["payload_crc"]:
        raise ModelFormatError("the contents of the model file are damaged (CRC)")
    if header["flags"] & ~layout.KNOWN_FLAGS or header["layout"] not in LAYOUT_NAMES:
        raise ModelFormatError(f"flags {header['flags']:#x}, layout {header['layout']}: made by a newer edgeq")
    return header


def _check_sections(data: bytes, header: dict[str, Any]) -> None:
    end = header["header_bytes"]
    for name, _ in layout.SECTIONS:
        start, size = header[f"{name}_offset"], header[f"{name}_size"]
        _expect(start % ALIGNMENT == 0 and end <= start, f"section {name} begins at {start}")
        end = start + size
        _expect(end <= len(data), f"section {name} ends at {end}, the file at {len(data)}")


def _read(data: bytes, header: dict[str, Any]) -> Plan:
    _check_sections(data, header)
    sections = {name: data[header[f"{name}_offset"] :][: header[f"{name}_size"]] for name, _ in layout.SECTIONS}
    metadata = parse_metadata(sections["metadata"])
    values = _values(sections, metadata["values"])
    ports = _ports(sections, metadata["ports"], values)
    _expect(len(metadata["steps"]) == header["step_count"], "another number of steps in the metadata")
    _expect(len(ports) == header["input_count"] + header["output_count"], "another number of ports in the metadata")
    named = [NamedTensor(str(name), int(value), _shape(shape)) for name, value, shape in metadata["tensors"]]
    for tensor in named:
        _expect(0 <= tensor.value < len(values), f"{tensor.name!r} names tensor {tensor.value}")
    return Plan(
        name=str(metadata["name"]),
        rounding=str(metadata["rounding"]),
        values=values,
        steps=_steps(sections, metadata["steps"], values, header["layout"]),
        inputs=ports[: header["input_count"]],
        outputs=ports[header["input_count"] :],
        tensors=tuple(named),
        arena_bytes=header["arena_bytes"],
        lower_bound_bytes=int(metadata["lower_bound_bytes"]),
        recomputed_macs=int(metadata.get("recomputed_macs", 0)),
        keeps_tensors=bool(header["flags"] & layout.FLAG_KEEPS_TENSORS),
        layout=header["layout"],
    )


def parse_metadata(section: bytes) -> Any:
    """Return what the metadata section says; bzip2 or, in files of earlier versions, plain JSON.

    Raises ModelFormatError, OSError or ValueError for other bytes.
    """
    if not section.startswith(b"BZh"):
        return json.loads(section)
    reader = bz2.BZ2Decompressor()
    text = reader.decompress(section, MAX_METADATA_BYTES)
    _expect(reader.eof, f"metadata that are cut short or have more than {MAX_METADATA_BYTES} bytes")
    return json.loads(text)


def _values(sections: dict[str, bytes], described: list[Any]) -> tuple[Value, ...]:
    locations = np.frombuffer(sections["locations"], "<u4").tolist()
    sizes = np.frombuffer(sections["tensor_bytes"], "<u4").tolist()
    values = []
    for location, size, (name, sizes_of, dtype_name, quant) in zip(locations, sizes, described, strict=True):
        dtype, shape = DType[dtype_name], _shape(sizes_of)
        _expect(math.prod(shape) * dtype.bytes == size, f"tensor {name!r} of shape {shape} in {size} bytes")
        quantized = None if quant is None else QuantParams(tuple(quant[0]), tuple(quant[1]), quant[2])
        stored = None
        if location & layout.CONSTANT_BIT:
            start = location & ~layout.CONSTANT_BIT
            raw = np.frombuffer(sections["constants"], dtype.numpy.newbyteorder("<"), math.prod(shape), start)
            stored = raw.astype(dtype.numpy).reshape(shape)
        values.append(Value(str(name), shape, dtype, quantized, 0 if stored is not None else location, stored))
    return tuple(values)


def _ports(sections: dict[str, bytes], described: list[Any], values: tuple[Value, ...]) -> tuple[PlanPort, ...]:
    ports = []
    for index, (name, sizes) in enumerate(described):
        record = layout.PORT.unpack(sections["ports"], index * layout.PORT.size_bytes)
        port = PlanPort(str(name), record["tensor"], DType.of_code(record["declared_dtype"]), _shape(sizes))
        value = values[port.value]
        _expect(math.prod(port.shape) * value.dtype.bytes == value.bytes, f"port {name!r} of shape {port.shape}")
        ports.append(port)
    return tuple(ports)


def _steps(
    sections: dict[str, bytes], described: list[Any], values: tuple[Value, ...], packing: int
) -> tuple[PlannedStep, ...]:
    operands = np.frombuffer(sections["operands"], "<u2").tolist()
    steps = []
    for index, (name, op) in enumerate(described):
        record = layout.STEP.unpack(sections["steps"], index * layout.STEP.size_bytes)
        packed = sections["params"][record["params_offset"] :]
        step = unpack_step(step_of_code(record["code"]), packed, sections["constants"]).unpacked(packing)
        first, middle = record["first_operand"], record["first_operand"] + record["input_count"]
        inputs, outputs = operands[first:middle], operands[middle : middle + record["output_count"]]
        whole = len(inputs) + len(outputs) == record["input_count"] + record["output_count"]
        _expect(whole and max([*inputs, *outputs]) < len(values), f"step {index} has operands that are not there")
        _expect(all(values[output].data is None for output in outputs), f"step {index} writes a constant")
        planned = PlannedStep(
            step, str(name), str(op), tuple(inputs), tuple(outputs), record["scratch_offset"], max(record["parts"], 1)
        )
        fast = record["scratch_bytes"] > planned.scratch_bytes
        steps.append(dataclasses.replace(planned, fast=fast))
    return tuple(steps)


def _shape(sizes: list[int]) -> Shape:
    shape = tuple(int(size) for size in sizes)
    _expect(all(size >= 1 for size in shape), f"a shape {shape}")
    return shape


def _expect(holds: bool, found: str) -> None:
    if not holds:
        raise ModelFormatError(f"the model file contradicts itself: {found}")

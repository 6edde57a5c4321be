# SPDX-License-Identifier: Apache-2.0
"""Ask the C loader about bytes, and change fields of model files."""

from __future__ import annotations

import ctypes
import struct
import zlib

import numpy as np
from stepcall import library

from edgeq.format import layout

_MODEL_BYTES = 256  # more than sizeof(eq_model)


def open_status(data: bytes, *, check_payload: bool = True) -> str:
    """Return the name of the status that eq_model_open gives, or eq_model_check_payload after it."""
    lib = library()
    lib.eq_status_name.restype = ctypes.c_char_p
    lib.eq_model_open.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    lib.eq_model_check_payload.argtypes = [ctypes.c_void_p]
    memory = np.zeros(len(data) + 16, np.uint8)
    start = -memory.ctypes.data % 16
    memory[start : start + len(data)] = np.frombuffer(data, np.uint8)
    model = ctypes.create_string_buffer(_MODEL_BYTES)
    status = lib.eq_model_open(model, memory.ctypes.data + start, len(data))
    if status == 0 and check_payload:
        status = lib.eq_model_check_payload(model)
    return str(lib.eq_status_name(status).decode())


def header_offsets() -> dict[str, tuple[int, str]]:
    """Map each single-valued header field to its offset and struct code."""
    codes = {"u16": "<H", "u32": "<I", "u64": "<Q"}
    found, offset = {}, 0
    for field in layout.HEADER.fields:
        if field.count == 1:
            found[field.name] = (offset, codes[field.kind])
        offset += field.size_bytes
    return found


def mended(data: bytes | bytearray) -> bytes:
    """Return the file with both CRCs made right, so that only the structure can refuse it."""
    changed = bytearray(data)
    offsets = header_offsets()
    header_bytes = struct.unpack_from("<I", changed, offsets["header_bytes"][0])[0]
    struct.pack_into("<I", changed, offsets["payload_crc"][0], zlib.crc32(changed[header_bytes:]))
    end = offsets["header_crc"][0]
    struct.pack_into("<I", changed, end, zlib.crc32(changed[:end]))
    return bytes(changed)


def with_longer_header(data: bytes) -> bytes:
    """Return the file as a newer minor version would write it, with 16 bytes appended to the header."""
    size = layout.HEADER.size_bytes
    header = layout.HEADER.unpack(data, 0)
    header.update(minor=header["minor"] + 1, header_bytes=size + 16, file_bytes=len(data) + 16)
    for name, _ in layout.SECTIONS:
        header[f"{name}_offset"] += 16
    return mended(layout.HEADER.pack(**header) + bytes(16) + data[size:])

# SPDX-License-Identifier: Apache-2.0
"""The one definition of the .eqm format: every record, byte by byte.

native/include/edgeq/format.h and native/FORMAT.md are generated from it.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

from edgeq.ops import all_steps
from edgeq.ops.base import step_fields

MAGIC = 0x314D5145  # "EQM1" as little-endian bytes
MAJOR, MINOR = 1, 0
KERNEL_ABI = 1
MAX_RANK = 6
NAME_BYTES = 32
FLAG_KEEPS_TENSORS = 1  # no two tensors share memory
KNOWN_FLAGS = FLAG_KEEPS_TENSORS
CONSTANT_BIT = 0x80000000

_CODES = {"u8": "B", "u16": "H", "u32": "I", "s32": "i", "u64": "Q"}


@dataclass(frozen=True)
class Field:
    """One field of a record: ``count`` values of ``kind`` (u8, u16, u32, s32, u64)."""

    name: str
    kind: str
    doc: str
    count: int = 1

    @property
    def size_bytes(self) -> int:
        return struct.calcsize(_CODES[self.kind]) * self.count


@dataclass(frozen=True)
class Record:
    """A fixed-size little-endian record whose fields are naturally aligned."""

    name: str
    doc: str
    fields: tuple[Field, ...]

    @property
    def size_bytes(self) -> int:
        return sum(field.size_bytes for field in self.fields)

    @property
    def struct(self) -> struct.Struct:
        return struct.Struct("<" + "".join(f"{field.count}{_CODES[field.kind]}" for field in self.fields))

    def pack(self, **values: Any) -> bytes:
        """Pack named values; a field of several values takes a sequence of exactly that many."""
        flat: list[int] = []
        for field in self.fields:
            value = values.pop(field.name)
            flat.extend([value] if field.count == 1 else list(value))
        assert not values, f"{self.name} has no fields {sorted(values)}"
        return self.struct.pack(*flat)

    def unpack(self, data: bytes, offset: int) -> dict[str, Any]:
        """Return the fields at an offset by name; raises struct.error when the data end before."""
        flat = list(self.struct.unpack_from(data, offset))
        values: dict[str, Any] = {}
        for field in self.fields:
            taken = [flat.pop(0) for _ in range(field.count)]
            values[field.name] = taken[0] if field.count == 1 else tuple(taken)
        return values


SECTIONS = (
    ("locations", "one u32 per tensor: byte offset in the arena, or in the constants when the top bit is set"),
    ("tensor_bytes", "one u32 per tensor: its size"),
    ("steps", "step records in execution order"),
    ("operands", "u16 tensor numbers that the steps refer to"),
    ("ports", "port records: the model's inputs, then its outputs"),
    ("params", "the steps' parameter structs (ops.h), each 4-byte aligned; steps may share one"),
    ("constants", "weights, biases, multipliers and tables, each 16-byte aligned"),
    ("metadata", "bzip2 of UTF-8 JSON, or plain, for host tools: names, shapes, scales; the device ignores it"),
    ("golden", "optional: a CRC-32 per step of a self-test run on the golden input, then that input; empty if none"),
    ("signature", "optional: key id (8 bytes) and ed25519 signature (64 bytes) of the header; empty if none"),
)

HEADER = Record(
    "header",
    "The first bytes of the file.",
    (
        Field("magic", "u32", 'the bytes "EQM1"'),
        Field("major", "u16", "format version; a reader refuses another major"),
        Field("minor", "u16", "and ignores what a newer minor appended to the header"),
        Field("header_bytes", "u32", "size of this header; a multiple of 16"),
        Field("file_bytes", "u32", "size of the whole file"),
        Field("flags", "u32", "bit 0: no two tensors share memory; any other bit is refused"),
        Field("kernel_abi", "u32", "what the parameter structs mean; another one is refused"),
        Field("layout", "u32", "the order of weights: 0 portable (row-major), else see kernels/packed.h"),
        Field("board_class", "u32", "the class of boards it was made for; 0 is any"),
        Field("arena_bytes", "u32", "memory for tensors and scratch, a multiple of 16"),
        Field("model_version", "u32", "chosen by the owner; updates may refuse to go back"),
        Field("work_budget", "u64", "multiply-accumulates of one inference"),
        Field("tensor_count", "u32", "tensors"),
        Field("step_count", "u32", "steps"),
        Field("operand_count", "u32", "entries of the operands section"),
        Field("input_count", "u16", "model inputs"),
        Field("output_count", "u16", "model outputs"),
        *(
            field
            for name, doc in SECTIONS
            for field in (
                Field(f"{name}_offset", "u32", f"{doc}"),
                Field(f"{name}_size", "u32", "bytes of that section"),
            )
        ),
        Field("reserved", "u32", "zero", 6),
        Field("payload_crc", "u32", "CRC-32 of everything after the header"),
        Field("header_crc", "u32", "CRC-32 of the header before this field"),
    ),
)

STEP = Record(
    "step",
    "One step of the program.",
    (
        Field("code", "u16", "kind of step, see ops.h"),
        Field("input_count", "u16", "operands that it reads"),
        Field("output_count", "u16", "operands that it writes"),
        Field("parts", "u16", "equal shares that may run at the same time, each with its share of the scratch; 0 is 1"),
        Field("first_operand", "u32", "its first operand, right after those of the step before; inputs, then outputs"),
        Field("params_offset", "u32", "its parameter struct in the params section"),
        Field("scratch_offset", "u32", "its scratch memory in the arena, a multiple of 16"),
        Field("scratch_bytes", "u32", "size of that; may be 0"),
    ),
)

PORT = Record(
    "port",
    "A model input or output.",
    (
        Field("tensor", "u16", "its tensor"),
        Field("dtype", "u8", "dtype code of the elements in memory"),
        Field("declared_dtype", "u8", "dtype code that the source model declares; 6 (float32) when a host converts"),
        Field("rank", "u8", "dimensions used"),
        Field("reserved", "u8", "zero", 3),
        Field("dims", "s32", "shape, unused ones 1", MAX_RANK),
        Field("scale_bits", "u32", "the float32 scale as bits; real = scale * (code - zero_point)"),
        Field("zero_point", "s32", "zero point"),
        Field("name", "u8", "UTF-8 name, cut to fit, zero-padded", NAME_BYTES),
    ),
)

RECORDS = (HEADER, STEP, PORT)


def format_hash() -> int:
    """Return a CRC-32 over every record and every step's fields; it changes when the meaning of bytes does."""
    records = [[(field.name, field.kind, field.count) for field in record.fields] for record in RECORDS]
    steps = [(step.code, step.name, step.in_place, step.divides, step_fields(step)) for step in all_steps()]
    return zlib.crc32(repr((MAJOR, KERNEL_ABI, records, steps)).encode())

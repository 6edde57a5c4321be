# SPDX-License-Identifier: Apache-2.0
"""The one definition of the header of a model slot; native/store/slot_record.h is generated from it.

An update header is the same record as a host sends it: its sequence is 0.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

from edgeq.format.layout import Field, Record

MAGIC = 0x31535145  # "EQS1" as little-endian bytes
VERSION = 1
FLAG_SIGNED = 1
KEY_ID_BYTES = 8
SIGNATURE_BYTES = 64
RESERVED_BYTES = 68

SLOT = Record(
    "slot",
    "The header of a model slot, programmed last.",
    (
        Field("magic", "u32", 'the bytes "EQS1"'),
        Field("header_version", "u16", "version of this record; a reader refuses another"),
        Field("flags", "u16", "bit 0: signed; any other bit is refused"),
        Field("payload_bytes", "u32", "size of the model file"),
        Field("payload_crc", "u32", "CRC-32 of the model file"),
        Field("kernel_abi", "u32", "of the model file, as are the next four"),
        Field("board_class", "u32", "the class of boards it was made for; 0 is any"),
        Field("arena_bytes", "u32", "memory for tensors and scratch"),
        Field("model_version", "u32", "chosen by the owner"),
        Field("work_budget", "u64", "multiply-accumulates of one inference"),
        Field("min_version", "u32", "models of a lower version are refused once this one is confirmed; 0 refuses none"),
        Field("payload_sha512", "u8", "SHA-512 of the model file", 64),
        Field("key_id", "u8", "first bytes of the SHA-512 of the public key; zero when not signed", KEY_ID_BYTES),
        Field("reserved", "u8", "zero", RESERVED_BYTES),
        Field("sequence", "u32", "one more than the other slot's; the device sets it"),
        Field("signature", "u8", "Ed25519 of all before the sequence; zero when not signed", SIGNATURE_BYTES),
        Field("header_crc", "u32", "CRC-32 of all before"),
    ),
)


def offset_of(name: str) -> int:
    """Return where a field begins."""
    names = [field.name for field in SLOT.fields]
    return sum(field.size_bytes for field in SLOT.fields[: names.index(name)])


SIGNED_BYTES = offset_of("sequence")


def pack_slot(**values: Any) -> bytes:
    """Pack a header with its CRC."""
    header = SLOT.pack(**values, header_crc=0)[:-4]
    return header + zlib.crc32(header).to_bytes(4, "little")


def crc_matches(record: bytes) -> bool:
    """Say whether a header's CRC is right."""
    return zlib.crc32(record[:-4]).to_bytes(4, "little") == record[-4:]


def key_id(public: bytes) -> bytes:
    """Return the short name of a public key, which a signed update carries."""
    return hashlib.sha512(public).digest()[:KEY_ID_BYTES]

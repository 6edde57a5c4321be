# SPDX-License-Identifier: Apache-2.0
"""Read linked firmware and write it in the forms that flashing programs take."""

from __future__ import annotations

import struct
from dataclasses import dataclass

UF2_FAMILIES = {"rp2040": 0xE48BFF56, "rp2350": 0xE48BFF59}  # github.com/microsoft/uf2, utils/uf2families.json
_UF2_PAYLOAD = 256
_UF2_FAMILY_PRESENT = 0x2000
_LOAD, _NO_BITS, _ALLOCATED = 1, 8, 2


@dataclass(frozen=True)
class Section:
    """A section that takes memory; ``offset`` is where its bytes lie in the file, if it has any there."""

    name: str
    address: int
    bytes: int
    offset: int
    stored: bool


def load_image(elf: bytes) -> list[tuple[int, bytes]]:
    """Return the runs of bytes that belong into flash, by address: of every segment that the file holds bytes of."""
    (start,) = struct.unpack_from("<I", elf, 28)
    size, count = struct.unpack_from("<HH", elf, 42)
    found = []
    for index in range(count):
        kind, offset, _, address, stored = struct.unpack_from("<5I", elf, start + index * size)
        if kind == _LOAD and stored:
            found.append((address, elf[offset : offset + stored]))
    return sorted(found)


def sections(elf: bytes) -> dict[str, Section]:
    """Return the sections that take memory, by name."""
    (start,) = struct.unpack_from("<I", elf, 32)
    size, count, names = struct.unpack_from("<HHH", elf, 46)
    headers = [struct.unpack_from("<6I", elf, start + index * size) for index in range(count)]
    strings = headers[names][4]
    found = {}
    for name_at, kind, flags, address, offset, length in headers:
        if flags & _ALLOCATED and length:
            end = elf.index(b"\0", strings + name_at)
            name = elf[strings + name_at : end].decode()
            found[name] = Section(name, address, length, offset, kind != _NO_BITS)
    return found


def binary(image: list[tuple[int, bytes]]) -> bytes:
    """Return the bytes of flash from the first to the last that is used, gaps as they are when erased."""
    whole = bytearray()
    for address, data in image:
        whole += b"\xff" * (address - image[0][0] - len(whole)) + data
    return bytes(whole)


def intel_hex(image: list[tuple[int, bytes]]) -> str:
    """Return Intel hex: sixteen bytes a line, the upper half of the address in lines of its own."""
    lines, upper = [], -1
    for address, data in image:
        for at in range(0, len(data), 16):
            where = address + at
            if where >> 16 != upper:
                upper = where >> 16
                lines.append(_hex_record(0, 4, upper.to_bytes(2, "big")))
            lines.append(_hex_record(where & 0xFFFF, 0, data[at : at + 16]))
    return "".join((*lines, _hex_record(0, 1, b"")))


def uf2(image: list[tuple[int, bytes]], family: int) -> bytes:
    """Return the image as UF2: blocks of 256 bytes, each saying where it belongs and for which chip."""
    whole, start = binary(image), image[0][0]
    whole += b"\xff" * (-len(whole) % _UF2_PAYLOAD)
    count = len(whole) // _UF2_PAYLOAD
    blocks = []
    for index in range(count):
        at = index * _UF2_PAYLOAD
        head = struct.pack(
            "<8I", 0x0A324655, 0x9E5D5157, _UF2_FAMILY_PRESENT, start + at, _UF2_PAYLOAD, index, count, family
        )
        blocks.append(head + whole[at : at + _UF2_PAYLOAD].ljust(476, b"\0") + struct.pack("<I", 0x0AB16F30))
    return b"".join(blocks)


def _hex_record(address: int, kind: int, data: bytes) -> str:
    record = bytes([len(data), address >> 8, address & 0xFF, kind]) + data
    return f":{record.hex().upper()}{-sum(record) & 0xFF:02X}\n"

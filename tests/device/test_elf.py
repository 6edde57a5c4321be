# SPDX-License-Identifier: Apache-2.0
"""Forms of linked firmware, and the checksum of the RP2040's second boot stage."""

from __future__ import annotations

import struct

import pytest

from edgeq.device.elf import UF2_FAMILIES, binary, intel_hex, load_image, sections, uf2
from edgeq.device.firmware import boot_crc

IMAGE = [(0x1000FFF8, bytes(range(16))), (0x10010010, b"\x55" * 20)]
START = 0x1000FFF8


def elf_file() -> bytes:
    """Return an ELF file with one loaded segment, and sections that are stored, not stored, and take no memory."""
    names = b"\0.text\0.bss\0.comment\0.shstrtab\0"
    code, tables = b"\x01\x02\x03\x04", 52 + 32
    text, strings = tables, tables + 4
    headers_at = strings + len(names)
    header = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIIIIIHHHHHH", 2, 40, 1, 0, 52, headers_at, 0, 52, 32, 1, 40, 5, 4)
    segment = struct.pack("<8I", 1, text, 0x20000000, 0x08000000, 4, 4, 5, 4)
    listed = [
        (0, 0, 0, 0, 0, 0),
        (1, 1, 6, 0x08000000, text, 4),
        (7, 8, 3, 0x20000004, 0, 64),
        (12, 1, 0, 0, text, 4),
        (21, 3, 0, 0, strings, len(names)),
    ]
    return header + segment + code + names + b"".join(struct.pack("<10I", *entry, 0, 0, 0, 0) for entry in listed)


def test_an_elf_file_tells_what_belongs_into_flash_and_what_takes_memory() -> None:
    elf = elf_file()
    assert load_image(elf) == [(0x08000000, b"\x01\x02\x03\x04")]
    found = {name: (section.address, section.bytes, section.stored) for name, section in sections(elf).items()}
    assert found == {".text": (0x08000000, 4, True), ".bss": (0x20000004, 64, False)}


def test_gaps_of_the_binary_are_as_erased_flash() -> None:
    assert binary(IMAGE) == bytes(range(16)) + b"\xff" * 8 + b"\x55" * 20


def test_intel_hex_can_be_read_back() -> None:
    memory, upper, ended = {}, 0, False
    for line in intel_hex(IMAGE).splitlines():
        record = bytes.fromhex(line.removeprefix(":"))
        assert sum(record) & 0xFF == 0
        assert not ended
        count, address, kind, data = record[0], record[1] << 8 | record[2], record[3], record[4:-1]
        assert count == len(data)
        if kind == 4:
            upper = int.from_bytes(data, "big") << 16
        elif kind == 0:
            memory |= {upper + address + index: byte for index, byte in enumerate(data)}
        ended = kind == 1
    assert ended
    assert memory == {start + index: byte for start, data in IMAGE for index, byte in enumerate(data)}


@pytest.mark.parametrize("chip", sorted(UF2_FAMILIES))
def test_uf2_blocks_cover_the_image_and_name_the_chip(chip: str) -> None:
    data = uf2(IMAGE, UF2_FAMILIES[chip])
    assert len(data) % 512 == 0
    blocks = [data[at : at + 512] for at in range(0, len(data), 512)]
    whole = b""
    for index, block in enumerate(blocks):
        head = struct.unpack_from("<8I", block)
        assert head == (
            0x0A324655,
            0x9E5D5157,
            0x2000,
            START + 256 * index,
            256,
            index,
            len(blocks),
            UF2_FAMILIES[chip],
        )
        assert block[-4:] == struct.pack("<I", 0x0AB16F30)
        whole += block[32 : 32 + 256]
    assert whole.startswith(binary(IMAGE))
    assert set(whole[len(binary(IMAGE)) :]) <= {0xFF}


def test_the_boot_checksum_is_crc32_mpeg2() -> None:
    assert boot_crc(b"123456789") == 0x0376E6E7  # the check value in the CRC catalogue of Greg Cook

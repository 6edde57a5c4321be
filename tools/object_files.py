# SPDX-License-Identifier: Apache-2.0
"""Read relocatable object files for ARM (ELF32): sections, what they define and refer to, what their code calls."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_ALLOCATED, _PROGRAM, _NO_BITS = 2, 1, 8
_SYMBOLS, _RELOCATIONS, _RELOCATIONS_ADDEND = 2, 9, 4
_SECTION_SYMBOL = 3
_CALLS = {10}  # R_ARM_THM_CALL: BL
_JUMPS = {30, 51, 102}  # R_ARM_THM_JUMP24, _JUMP19, _JUMP11: branches, which leave nothing of the caller on the stack
_INSTRUCTION = re.compile(r"^\s+[0-9a-f]+:\t(\S+)\s*([^@;\n]*)", re.MULTILINE)
_HEADING = re.compile(r"^Disassembly of section (\S+):$", re.MULTILINE)
_FILE = re.compile(r"^(\S.*):     file format \S+$", re.MULTILINE)


@dataclass
class ObjectSection:
    """A section that takes memory, with the functions and global symbols in it.

    ``calls``, ``jumps`` and ``refers`` name symbols of other objects, or number sections of this one.
    """

    name: str
    size: int
    align: int
    defines: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    calls: set[str | int] = field(default_factory=set)
    jumps: set[str | int] = field(default_factory=set)
    refers: set[str | int] = field(default_factory=set)


def read_object(data: bytes) -> list[ObjectSection]:
    """Return the sections of an object that take memory, in order; references are numbered by place in this list."""
    (start,) = struct.unpack_from("<I", data, 32)
    size, count, names = struct.unpack_from("<HHH", data, 46)
    headers = [struct.unpack_from("<10I", data, start + index * size) for index in range(count)]
    strings = headers[names][4]
    places = [i for i, h in enumerate(headers) if h[1] in (_PROGRAM, _NO_BITS) and h[2] & _ALLOCATED and h[5]]
    number = {place: index for index, place in enumerate(places)}
    found = [
        ObjectSection(_string(data, strings + headers[i][0]), headers[i][5], max(headers[i][8], 1)) for i in places
    ]
    symbols = _read_symbols(data, headers)
    for name, kind, is_global, place in symbols:
        if place in number and name:
            if is_global:
                found[number[place]].defines.append(name)
            if kind == "function":
                found[number[place]].functions.append(name)
    for header in headers:
        if header[1] not in (_RELOCATIONS, _RELOCATIONS_ADDEND) or header[7] not in number:
            continue
        section = found[number[header[7]]]
        step = 8 if header[1] == _RELOCATIONS else 12
        for at in range(header[4], header[4] + header[5], step):
            (info,) = struct.unpack_from("<I", data, at + 4)
            name, _, _, place = symbols[info >> 8]
            if place and place not in number:
                continue  # of a section that takes no memory
            target: str | int = number[place] if place else name
            kind = info & 0xFF
            (section.calls if kind in _CALLS else section.jumps if kind in _JUMPS else section.refers).add(target)
    return found


def _read_symbols(data: bytes, headers: Sequence[tuple[int, ...]]) -> list[tuple[str, str, bool, int]]:
    """Return each symbol's name, kind, whether other objects see it, and section, 0 for one that is elsewhere."""
    table = next((header for header in headers if header[1] == _SYMBOLS), None)
    if table is None:
        return []
    strings = headers[table[6]][4]
    found = []
    for at in range(table[4], table[4] + table[5], 16):
        name, _, _, info, _, place = struct.unpack_from("<IIIBBH", data, at)
        kind = "section" if info & 15 == _SECTION_SYMBOL else "function" if info & 15 == 2 else ""
        found.append((_string(data, strings + name), kind, info >> 4 != 0, place if place < 0xFF00 else 0))
    return found


def _string(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode()


def read_code(objdump: str, paths: Sequence[Path]) -> dict[Path, dict[str, tuple[str, int]]]:
    """Return for each object and section whether its code calls, or jumps, through registers, and the bytes it pushes.

    All pushes of a section are added up.
    """
    text = subprocess.run(
        [objdump, "-d", "--no-show-raw-insn", *paths], check=True, capture_output=True, text=True
    ).stdout
    found: dict[Path, dict[str, tuple[str, int]]] = {}
    files = _FILE.split(text)
    for path, listing in zip(files[1::2], files[2::2], strict=True):
        parts = _HEADING.split(listing)
        found[Path(path)] = {name: _code(body) for name, body in zip(parts[1::2], parts[2::2], strict=True)}
    return found


def _code(listing: str) -> tuple[str, int]:
    indirect, pushed = "", 0
    for name, operands in _INSTRUCTION.findall(listing):
        if name == "blx" and not operands.startswith("0x"):
            indirect = "call"
        elif name == "bx" and operands.strip() != "lr":
            indirect = indirect or "jump"
        pushed += _pushed(name, operands)
    return indirect, pushed


def _pushed(name: str, operands: str) -> int:
    """Return by how many bytes an instruction lowers the stack pointer."""
    base = name.split(".")[0]
    if base in ("push", "stmdb") and (base == "push" or operands.startswith("sp!")):
        return 4 * _registers(operands[operands.index("{") + 1 : operands.index("}")])
    if base == "vpush":
        return 8 * _registers(operands.strip("{} "))
    if base in ("sub", "subw") and operands.startswith("sp,"):
        amount = re.search(r"#(\d+)", operands)
        return int(amount[1]) if amount else 0
    lowered = re.search(r"\[sp, #-(\d+)\]!", operands)
    return int(lowered[1]) if lowered else 0


def _registers(text: str) -> int:
    """Count the registers of a list such as "r4, r5, lr" or "d8-d15"."""
    total = 0
    for part in text.split(","):
        ends = [int(number) for number in re.findall(r"\d+", part)]
        total += ends[1] - ends[0] + 1 if "-" in part and len(ends) == 2 else 1
    return total

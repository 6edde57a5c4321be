# SPDX-License-Identifier: Apache-2.0
"""Find floating-point arithmetic in object code: on a device there must be none between input and output."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeq.errors import ToolchainError, UsageError

_ARM_CALL = r"__aeabi_(?:[fd]\w+|h2f|[iul]+2[fd]\w*)"
_LIBGCC_CALL = r"__(?:add|sub|mul|div|neg|cmp|unord|eq|ne|lt|le|gt|ge|pow)[shdtx]f\w*|__(?:float|fix|extend|trunc)\w+"
_CALL = re.compile(rf"\b(?:{_ARM_CALL}|{_LIBGCC_CALL})\b")


@dataclass(frozen=True)
class _Isa:
    """Where floating point shows: mnemonics of arithmetic, less those that only move bits."""

    file_format: str
    disassemblers: tuple[str, ...]
    package: str
    arithmetic: re.Pattern[str]
    moves: re.Pattern[str]


_LLVM = ("llvm-objdump", *(f"llvm-objdump-{version}" for version in range(22, 13, -1)))
_A32 = _Isa(
    "elf32-littlearm",
    ("arm-linux-gnueabihf-objdump", "arm-none-eabi-objdump", *_LLVM),
    "binutils-arm-linux-gnueabihf",
    re.compile(r"v\w+\.(?:\w+\.)?(?:f16|f32|f64|bf16)(?:\.\w+)?|v\w+\.\w+\.f(?:16|32|64)"),
    re.compile(r"v(?:mov|ldr|str|ldm\w*|stm\w*|push|pop)\w*\.f(?:16|32|64)"),
)
_ISAS = {
    "aarch64": _Isa(
        "elf64-littleaarch64",
        ("aarch64-linux-gnu-objdump", *_LLVM),
        "binutils-aarch64-linux-gnu",
        re.compile(r"f\w+|[su]cvtf\w*|bf(?:dot|cvt|mla|mmla)\w*"),
        re.compile(r"fmov"),
    ),
    "armv7": _A32,
    "armv6": _A32,
    "x86-64": _Isa(
        "elf64-x86-64",
        ("objdump", *_LLVM),
        "binutils",
        re.compile(
            r"v?(?:(?:add|sub|mul|div|min|max|sqrt|rcp|rsqrt|round|hadd|hsub|addsub|dp|cmp\w*)[sp][sd]|u?comis[sd]|cvt\w+|"
            r"fn?m(?:add|sub)\w+)|f(?:i?add|i?sub|i?mul|i?div|sqrt|i?ld|i?st|u?com|x)\w*"
        ),
        re.compile(r"fxch"),
    ),
}
_LINE = re.compile(r"^\s*[0-9a-f]+:\s+(?P<mnemonic>[a-z][\w.]*)(?P<rest>.*)$")
_SYMBOL = re.compile(r"^[0-9a-f]+ <(?P<name>[^>]+)>:$")


@dataclass(frozen=True)
class Finding:
    """One instruction or call that computes with floating point."""

    file: str
    function: str
    instruction: str

    def __str__(self) -> str:
        return f"{self.file}: {self.function}: {self.instruction}"


def find_float(objects: Sequence[Path], isa: str) -> list[Finding]:
    """List the floating-point arithmetic in object files compiled for an ISA; moves and loads are fine.

    Raises ToolchainError when no disassembler is there or it cannot read a file, UsageError for an unknown ISA.
    """
    if isa not in _ISAS:
        raise UsageError(f"no floating-point check for {isa!r}", hint=f"there is one for {', '.join(_ISAS)}")
    texts = {path.name: _disassembly(path, _ISAS[isa]) for path in objects}
    if not any("Disassembly of section" in text for text in texts.values()):
        raise ToolchainError(f"there is no code in the {len(objects)} files to be checked")
    return [finding for name, text in texts.items() for finding in _findings(name, text, _ISAS[isa])]


def _disassembly(path: Path, isa: _Isa) -> str:
    program = next((name for name in isa.disassemblers if shutil.which(name)), None)
    if program is None:
        raise ToolchainError(f"no disassembler ({isa.disassemblers[0]})", hint=f"apt install {isa.package}")
    command = [program, "-d", "-r", "--no-show-raw-insn", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0 or f"file format {isa.file_format}" not in done.stdout:
        raise ToolchainError(f"{program} does not read {path.name} as {isa.file_format}: {done.stderr.strip()}")
    return done.stdout


def _findings(file: str, text: str, isa: _Isa) -> list[Finding]:
    found, function = [], "?"
    for line in text.splitlines():
        if symbol := _SYMBOL.match(line):
            function = symbol["name"]
            continue
        instruction = _LINE.match(line)
        mnemonic = "" if instruction is None else instruction["mnemonic"]
        computes = isa.arithmetic.fullmatch(mnemonic) and not isa.moves.fullmatch(mnemonic)
        if computes or _CALL.search(line):
            found.append(Finding(file, function, " ".join(line.split())))
    return found

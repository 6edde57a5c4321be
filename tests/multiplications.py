# SPDX-License-Identifier: Apache-2.0
"""Compile C for an ISA and list the instructions that multiply in each of its functions."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from needs import needs_program

TARGETS = {  # compiler, disassembler, instructions that multiply
    "x86-64": (("gcc",), "objdump", r"v?pmul|v?pmadd|i?mul|v?mul[ps]"),
    "aarch64": (
        ("aarch64-linux-gnu-gcc", "-static"),
        "aarch64-linux-gnu-objdump",
        r"f?[su]?m(ul|add|sub|neg|la|ls)|sq\w*mul",
    ),
    "armv6": (
        ("arm-linux-gnueabihf-gcc", "-static", "-marm"),
        "arm-linux-gnueabihf-objdump",
        r"v?[su]?m(ul|la|ls)|sm[lmu]|um[alu]|vq\w*mul",
    ),
}


def compile_for(target: str, sources: Sequence[Path], output: Path, *flags: str) -> dict[str, list[str]]:
    """Compile and map every function of the result to its instructions that multiply."""
    command, objdump, multiplication = TARGETS[target]
    needs_program(command[0])
    needs_program(objdump)
    subprocess.run([*command, "-std=c11", *flags, *map(str, sources), "-o", str(output)], check=True)
    text = subprocess.run(
        [objdump, "-d", "--no-show-raw-insn", str(output)], check=True, capture_output=True, text=True
    )
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.stdout.splitlines():
        if header := re.match(r"^[0-9a-f]+ <([^>]+)>:$", line):
            name = header[1]
            found[name] = []
        elif (instruction := re.match(r"^\s+[0-9a-f]+:\s+(\S+)", line)) and re.match(multiplication, instruction[1]):
            found[name].append(instruction[1])
    return found

# SPDX-License-Identifier: Apache-2.0
"""Ternary weights and weights of powers of two cost no multiplication: seen in the disassembly of their inner loops."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from needs import needs_program

from edgeq.paths import native_dir

SOURCE = native_dir() / "kernels/scalar/coded_gemm_s8_scalar.c"
WITHOUT = ("sum_ternary", "sum_terms32", "sum_terms64")
WITH = "sum_products"  # which shows that a multiplication would be found
TARGETS = {  # compiler, disassembler, instructions that multiply
    "x86-64": (("gcc",), "objdump", r"v?pmul|v?pmadd|i?mul|v?mul[ps]"),
    "aarch64": (("aarch64-linux-gnu-gcc",), "aarch64-linux-gnu-objdump", r"f?[su]?m(ul|add|sub|neg|la|ls)"),
    "armv6": (
        ("arm-linux-gnueabihf-gcc", "-marm"),
        "arm-linux-gnueabihf-objdump",
        r"v?[su]?m(ul|la|ls)|sm[lmu]|um[alu]",
    ),
}


@pytest.mark.parametrize("level", ["-O2", "-O3"])
@pytest.mark.parametrize("target", TARGETS)
def test_sums_of_shifts_and_signs_take_no_multiplication(target: str, level: str, tmp_path: Path) -> None:
    command, objdump, multiplication = TARGETS[target]
    needs_program(command[0])
    needs_program(objdump)
    root, built = native_dir(), tmp_path / "kernel.o"
    flags = ["-std=c11", level, "-fno-inline", f"-I{root}/include", f"-I{root}"]
    subprocess.run([*command, *flags, "-c", str(SOURCE), "-o", str(built)], check=True)
    text = subprocess.run([objdump, "-d", "--no-show-raw-insn", str(built)], check=True, capture_output=True, text=True)
    found = _multiplications(text.stdout, multiplication)
    assert found[WITH], f"no multiplication where there must be one: {sorted(found)}"
    assert {name: found[name] for name in WITHOUT} == {name: [] for name in WITHOUT}


def _multiplications(text: str, pattern: str) -> dict[str, list[str]]:
    """Map every function to its instructions that multiply."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if header := re.match(r"^[0-9a-f]+ <([^>]+)>:$", line):
            name = header[1]
            found[name] = []
        elif (instruction := re.match(r"^\s+[0-9a-f]+:\s+(\S+)", line)) and re.match(pattern, instruction[1]):
            found[name].append(instruction[1])
    return found

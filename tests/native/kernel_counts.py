# SPDX-License-Identifier: Apache-2.0
"""Count the instructions of every kernel's bench shapes in emulation, and keep them in kernel_counts.json.

python tests/native/kernel_counts.py          count and write the file
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeq.board import Board, load_board
from edgeq.device.counter import parse_report
from edgeq.device.machine import LocalMachine
from edgeq.device.toolchain import (
    Compiler,
    compile_sources,
    find_compiler,
    link_executable,
    native_includes,
    native_sources,
)
from edgeq.errors import DeviceError

FOLDER = Path(__file__).parent
FILE = FOLDER / "kernel_counts.json"
COMMAND = "python tests/native/kernel_counts.py"

# (table, board whose compiler and emulator count it, CPU that is emulated); QEMU has no AVX-512
TARGETS = [
    ("neon", "raspberry-pi-4", "cortex-a72"),
    ("dotprod", "raspberry-pi-5", "cortex-a76"),
    ("i8mm", "raspberry-pi-5", "max"),
    ("neon32", "raspberry-pi-2", "cortex-a7"),
    ("v6", "raspberry-pi-zero", "arm1176"),
    ("avx2", "host", "max"),
]


@dataclass(frozen=True)
class Counts:
    """Instructions of each shape of one table, and the compiler that made them."""

    compiler: str
    shapes: Mapping[str, int]  # "kernel: shape"


def emulated(board_name: str, cpu: str) -> Board:
    """Return a board that runs in emulation only."""
    board = load_board(board_name)
    return dataclasses.replace(board, emulator=board.emulator or "qemu-x86_64", emulator_cpu=cpu)


def build(compiler: Compiler, native: Path | None = None) -> Path:
    """Link the harness and its checks with the library's sources, or with a copy of them in another folder."""
    sources, includes = native_sources(), native_includes()
    if native is not None:
        sources = sorted([*native.glob("runtime/*.c"), *native.glob("ops/*.c"), *native.glob("kernels/**/*.c")])
        includes = (native / "include", native)
    checks = sorted(FOLDER.glob("check_*.c"))
    objects = compile_sources(compiler, [*sources, *checks], includes=(*includes, FOLDER))
    return link_executable(compiler, objects, "check_kernels")


def count(isa: str, board: Board) -> Counts:
    """Run the bench of one table under the instruction counter. Raises DeviceError when it does not finish."""
    compiler = find_compiler(board)
    machine = LocalMachine(board)
    try:
        program = machine.store(build(compiler).read_bytes(), executable=True)
        arguments = [program, "--bench", "--count", "--isa", isa, "--json", "bench.json"]
        ended, report = machine.count(arguments, seconds=600)
        if ended.code != 0 or not ended.stdout.endswith("CHECK DONE\n"):
            raise DeviceError(f"the bench of {isa} did not finish: {ended.reason}\n{ended.last_lines}")
        shapes = json.loads(machine.read("bench.json"))
    finally:
        machine.close()
    if not shapes:
        return Counts(compiler.identity, {})
    instructions = parse_report(report, 2 * len(shapes) - 1).instructions[::2]
    names = [f"{shape['kernel']}: {shape['shape']}" for shape in shapes]
    return Counts(compiler.identity, dict(zip(names, instructions, strict=True)))


def kept() -> dict[str, Counts]:
    """Read the file: the counts of each table."""
    return {isa: Counts(**entry) for isa, entry in json.loads(FILE.read_text()).items()}


def main() -> int:
    """Write the file; print what changed."""
    before = kept() if FILE.exists() else {}
    found = {isa: count(isa, emulated(board, cpu)) for isa, board, cpu in TARGETS}
    for isa, counts in found.items():
        old = before[isa].shapes if isa in before else {}
        for name, instructions in counts.shapes.items():
            if old.get(name) != instructions:
                print(f"{isa:8} {name:44} {old.get(name, 0):10} -> {instructions:10}")
    FILE.write_text(json.dumps({isa: dataclasses.asdict(counts) for isa, counts in found.items()}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

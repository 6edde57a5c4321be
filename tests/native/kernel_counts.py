# SPDX-License-Identifier: Apache-2.0
"""Count the instructions of every kernel's bench shapes in emulation, and keep them in kernel_counts.json.

PYTHONPATH=tests python tests/native/kernel_counts.py          count and write the file
PYTHONPATH=tests python tests/native/kernel_counts.py ISA...   only these tables
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bare import Core, bare_compiler, build_bare, count_bare, find_core

from edgeq.board import Board, load_board
from edgeq.device.counter import parse_report
from edgeq.device.machine import Ended, LocalMachine
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
COMMAND = "PYTHONPATH=tests python tests/native/kernel_counts.py"
SECONDS = 600

# (table, board whose compiler and emulator count it, CPU that is emulated); QEMU has no AVX-512
TARGETS = [
    ("neon", "raspberry-pi-4", "cortex-a72"),
    ("dotprod", "raspberry-pi-5", "cortex-a76"),
    ("i8mm", "raspberry-pi-5", "max"),
    ("neon32", "raspberry-pi-2", "cortex-a7"),
    ("v6", "raspberry-pi-zero", "arm1176"),
    ("avx2", "host", "max"),
]
# (table, core without an operating system)
BARE_TARGETS = [("dsp", "cortex-m4"), ("thumb", "cortex-m0"), ("thumb2", "cortex-m3"), ("mve", "cortex-m55")]


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
    harness = [*sorted(FOLDER.glob("check_*.c")), FOLDER / "environment_linux.c"]
    objects = compile_sources(compiler, [*sources, *harness], includes=(*includes, FOLDER))
    return link_executable(compiler, objects, "check_kernels")


def count(isa: str, board: Board) -> Counts:
    """Run the bench of one table under the instruction counter. Raises DeviceError when it does not finish."""
    compiler = find_compiler(board)
    machine = LocalMachine(board)
    try:
        program = machine.store(build(compiler).read_bytes(), executable=True)
        ended, report = machine.count([program, *_bench(isa)], seconds=SECONDS)
        shapes = machine.read("bench.json").decode() if ended.code == 0 else ""
        return _counts(isa, compiler, ended, report, shapes)
    finally:
        machine.close()


def count_on(isa: str, core: Core) -> Counts:
    """Do the same on a core without an operating system."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ended, report = count_bare(core, build_bare(core), _bench(isa), folder, seconds=SECONDS)
        shapes = (folder / "bench.json").read_text() if ended.code == 0 else ""
    return _counts(isa, bare_compiler(core), ended, report, shapes)


def _bench(isa: str) -> list[str]:
    return ["--bench", "--count", "--isa", isa, "--json", "bench.json"]


def _counts(isa: str, compiler: Compiler, ended: Ended, report: str, shapes: str) -> Counts:
    """Give each shape of bench.json its instructions."""
    if ended.code != 0 or not ended.stdout.endswith("CHECK DONE\n"):
        raise DeviceError(f"the bench of {isa} did not finish: {ended.reason}\n{ended.last_lines}")
    names = [f"{shape['kernel']}: {shape['shape']}" for shape in json.loads(shapes)]
    if not names:
        return Counts(compiler.identity, {})
    instructions = parse_report(report, 2 * len(names) - 1).instructions[::2]
    return Counts(compiler.identity, dict(zip(names, instructions, strict=True)))


def kept() -> dict[str, Counts]:
    """Read the file: the counts of each table."""
    return {isa: Counts(**entry) for isa, entry in json.loads(FILE.read_text()).items()}


def _asked(isa: str) -> bool:
    return isa in sys.argv[1:] or len(sys.argv) == 1


def main() -> int:
    """Write the file; print what changed."""
    before = kept() if FILE.exists() else {}
    found = dict(before)
    found |= {isa: count(isa, emulated(board, cpu)) for isa, board, cpu in TARGETS if _asked(isa)}
    found |= {isa: count_on(isa, find_core(cpu)) for isa, cpu in BARE_TARGETS if _asked(isa)}
    for isa, counts in found.items():
        old = before[isa].shapes if isa in before else {}
        for name, instructions in counts.shapes.items():
            if old.get(name) != instructions:
                print(f"{isa:8} {name:44} {old.get(name, 0):10} -> {instructions:10}")
    FILE.write_text(json.dumps({isa: dataclasses.asdict(counts) for isa, counts in found.items()}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

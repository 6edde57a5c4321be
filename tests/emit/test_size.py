# SPDX-License-Identifier: Apache-2.0
"""How large the library is, and a program of one model's operators that is built for one ISA."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from needs import needs_module, needs_program
from shared_files import shared

from edgeq.board import load_board
from edgeq.compile.plan import Plan
from edgeq.device.build import build_library
from edgeq.emit.folder import write_c_folder
from edgeq.paths import demo_dir
from edgeq.pipeline import convert_graph, read_source
from edgeq.quantize.recipe import Recipe

LIBRARY_LIMIT = 400_000
PROGRAM_LIMIT = 64_000
DEMO_LIMIT = 80_000  # the demo model has more kinds of operators
FLAGS = ("-std=c11", "-Os", "-DNDEBUG", "-Wall", "-Wextra", "-Werror", "-ffunction-sections", "-fdata-sections")


def test_the_stripped_library_is_small() -> None:
    needs_module("ziglang")
    assert build_library(load_board("raspberry-pi-4"), toolchain="zig").stat().st_size <= LIBRARY_LIMIT


def _program_bytes(plan: Plan, isa: str, folder: Path) -> int:
    """Compile emitted C for aarch64 and return the size of its code and read-only data without the model's constants.

    The program begins at net_run and is linked without the C library.
    """
    gcc = needs_program("aarch64-linux-gnu-gcc")
    write_c_folder(plan, folder / isa, prefix="net")
    sources = sorted((folder / isa / "src").rglob("*.c"))
    program = folder / f"{isa}.elf"
    link = ["-nostdlib", "-static", "-Wl,-e,net_run,--gc-sections,--unresolved-symbols=ignore-all", "-o", str(program)]
    subprocess.run([gcc, *FLAGS, f"-DEQ_ONLY_ISA={isa}", *map(str, sources), *link], check=True)
    size, symbols = (
        subprocess.run([f"aarch64-linux-gnu-{tool}", program], check=True, capture_output=True, text=True).stdout
        for tool in ("size", "nm")
    )
    others = {"neon", "dotprod", "i8mm"} - {isa, "neon"}
    assert not re.findall(rf"_(?:{'|'.join(others)})$", symbols, re.MULTILINE)
    (constants,) = re.findall(r"^\w+ (\w+) r net_constants$", _sized(program), re.MULTILINE)
    return int(size.splitlines()[1].split()[0]) - int(constants, 16)


def _sized(program: Path) -> str:
    command = ["aarch64-linux-gnu-nm", "-S", str(program)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("isa", ["neon", "dotprod"])
def test_a_program_cut_to_the_demo_model_is_small(isa: str, tmp_path: Path) -> None:
    plan = convert_graph(read_source(demo_dir() / "digits_int8.tflite"), recipe=Recipe()).plan
    assert _program_bytes(plan, isa, tmp_path) <= DEMO_LIMIT


@pytest.mark.parametrize("isa", ["neon", "dotprod"])
def test_a_program_cut_to_a_real_model_is_small(isa: str, tmp_path: Path) -> None:
    plan = convert_graph(read_source(shared("models/kws_ref_int8.tflite")), recipe=Recipe()).plan
    assert _program_bytes(plan, isa, tmp_path) <= PROGRAM_LIMIT

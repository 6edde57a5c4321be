# SPDX-License-Identifier: Apache-2.0
"""The C folder of a microcontroller: alone, without warnings, one core's kernels, and the twin's integers."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from bare import QEMU, bare_compiler, find_core
from needs import needs_program
from shared_files import shared

from edgeq.board import Board, load_board
from edgeq.compile.plan import Plan
from edgeq.device.toolchain import compile_sources
from edgeq.emit.c_source import model_source
from edgeq.emit.folder import emit_c, write_c_folder
from edgeq.emit.kernel_tables import core_table, kernel_table
from edgeq.emit.manifests import core_flags
from edgeq.paths import demo_dir
from edgeq.pipeline import convert_graph, read_source
from edgeq.quantize.recipe import Recipe
from edgeq.runtime.reference import run_reference

BOARDS = {  # one of each core
    "cortex-m0": "microbit",
    "cortex-m3": "stm32vldiscovery",
    "cortex-m4": "nucleo-f446re",
    "cortex-m7": "nucleo-h743zi",
    "cortex-m33": "pico-2",
    "cortex-m55": "mps3-an547",
}
STRICT = ("-Wall", "-Wextra", "-Wundef", "-Werror")
START = Path(__file__).with_name("bare_start.c")
each_core = pytest.mark.parametrize("cpu", BOARDS)


def _board(cpu: str) -> Board:
    """A board with the core, and as much RAM as the emulator has."""
    return dataclasses.replace(load_board(BOARDS[cpu]), ram_bytes=None)


@cache
def _plan(cpu: str, path: Path) -> Plan:
    return convert_graph(read_source(path), recipe=Recipe(), board=_board(cpu)).plan


def _run(plan: Plan, cpu: str, folder: Path) -> bytes:
    """Compile the folder alone as for the core, with no warnings; return what its main.c prints in emulation."""
    board, core = _board(cpu), find_core(cpu)
    write_c_folder(plan, folder / "c", prefix="net", board=board)
    bare = bare_compiler(core)
    strict = dataclasses.replace(bare, compile_flags=(*bare.compile_flags, *STRICT, *core_flags(board)))
    sources = [folder / "c/main.c", *sorted((folder / "c/src").rglob("*.c")), START]
    objects = compile_sources(strict, sources, includes=[folder / "c/src"])
    program = folder / "program"
    subprocess.run([*bare.command, *bare.executable_flags, *map(str, objects), "-o", program], check=True)
    command = [QEMU, "-machine", *core.machine, "-display", "none", "-monitor", "none", "-serial", "none"]
    command += ["-semihosting-config", "enable=on,target=native", "-kernel", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    return bytes.fromhex("".join(done.stdout.split()))


def _twin(plan: Plan) -> bytes:
    zeros = [np.zeros(port.shape, plan.values[port.value].dtype.numpy) for port in plan.inputs]
    return run_reference(plan, zeros).outputs[0].tobytes()


@each_core
def test_the_demo_model_equals_the_twin_on_every_core(cpu: str, tmp_path: Path) -> None:
    plan = _plan(cpu, demo_dir() / "digits_int8.tflite")
    assert _run(plan, cpu, tmp_path) == _twin(plan)


@pytest.mark.slow
@each_core
@pytest.mark.parametrize("name", ["kws_ref_int8", "resnet8_int8", "ad01_int8", "vww_96_int8"])
def test_real_models_equal_the_twin_on_every_core(name: str, cpu: str, tmp_path: Path) -> None:
    plan = _plan(cpu, shared(f"models/{name}.tflite"))
    assert _run(plan, cpu, tmp_path) == _twin(plan)


@each_core
def test_only_the_kernels_of_the_core_are_there(cpu: str) -> None:
    board = _board(cpu)
    table = core_table(board)
    files = emit_c(_plan(cpu, demo_dir() / "digits_int8.tflite"), prefix="net", board=board)
    isas = {name.rsplit("_", 1)[1] for name in files if re.fullmatch(r"src/kernels/\w+_[a-z]+\w*\.c", name)}
    assert not {isa.removesuffix(".c") for isa in isas} & {"neon", "neon32", "dotprod", "avx2", "vnni", "i8mm"}
    assert not [name for name in files if name.endswith(("select.c", "cpu.c", ".inc"))]
    assert f".layout = {table.layout}," in files["src/net.c"]
    assert "eq_kernels_select" not in files["src/net.c"]


def test_another_cpu_is_refused_by_the_compiler(tmp_path: Path) -> None:
    plan = _plan("cortex-m4", demo_dir() / "digits_int8.tflite")
    write_c_folder(plan, tmp_path / "c", prefix="net")
    source = tmp_path / "c/src/net.c"
    source.write_text(model_source(plan, "net", kernel_table("v6")))
    done = subprocess.run(
        [needs_program("arm-none-eabi-gcc"), "-mcpu=cortex-m0", "-mthumb", "-fsyntax-only", source],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    assert "made for kernels called" in done.stderr


def test_arduino_finds_everything_in_src(tmp_path: Path) -> None:
    write_c_folder(_plan("cortex-m4", demo_dir() / "digits_int8.tflite"), tmp_path / "c", prefix="net")
    lines = (tmp_path / "c/library.properties").read_text().splitlines()
    properties = dict(line.split("=", 1) for line in lines)
    assert properties["name"] == "net"
    assert {"version", "author", "maintainer", "sentence", "paragraph", "category", "url"} <= set(properties)
    for source in (tmp_path / "c/src").rglob("*.c"):  # Arduino compiles all of them with src/ as the one include path
        command = [needs_program("arm-none-eabi-gcc"), "-mcpu=cortex-m4", "-mthumb", "-std=gnu11", "-fsyntax-only"]
        command += ["-Wall", "-Wextra", "-Werror", "-I", tmp_path / "c/src", source]
        subprocess.run(command, check=True, cwd=tmp_path)
    core = tmp_path / "Arduino.h"
    core.write_text(
        '#include <stddef.h>\n#include <stdint.h>\nextern "C" unsigned long micros(void);\n'
        "void delay(unsigned long);\nstruct Port { void begin(long); template <class T> void print(T); "
        "template <class T> void println(T); };\nextern Port Serial;\n"
    )
    sketch = tmp_path / "c/examples/net_example/net_example.ino"
    subprocess.run(
        [needs_program("g++"), "-x", "c++", "-Wall", "-Wextra", "-Werror", "-include", core, "-I", tmp_path / "c/src",
         "-fsyntax-only", sketch],
        check=True,
    )  # fmt: skip


def test_platformio_names_files_that_exist(tmp_path: Path) -> None:
    write_c_folder(_plan("cortex-m4", demo_dir() / "digits_int8.tflite"), tmp_path / "c", prefix="net")
    manifest = json.loads((tmp_path / "c/library.json").read_text())
    assert (tmp_path / "c" / manifest["build"]["srcDir"] / manifest["headers"]).is_file()
    assert list((tmp_path / "c").glob(manifest["examples"][0]))


def test_the_cmake_file_of_a_core_builds_for_it(tmp_path: Path) -> None:
    cmake = needs_program("cmake")
    needs_program("ninja")
    needs_program("arm-none-eabi-gcc")
    plan = _plan("cortex-m55", demo_dir() / "digits_int8.tflite")
    write_c_folder(plan, tmp_path / "c", prefix="net", board=load_board("mps3-an547"))
    subprocess.run([cmake, "-G", "Ninja", "-S", tmp_path / "c", "-B", tmp_path / "b"], check=True, capture_output=True)
    subprocess.run([cmake, "--build", tmp_path / "b"], check=True, capture_output=True)
    assert (tmp_path / "b/net_example").is_file()

# SPDX-License-Identifier: Apache-2.0
"""No floating point in the library's object code, and a check that would find it."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from device.plans import program
from needs import needs_program

from edgeq.board import Board, load_board
from edgeq.device.build import library_objects
from edgeq.device.integer_check import find_float
from edgeq.device.toolchain import compile_sources, find_compiler
from edgeq.emit.folder import write_c_folder
from edgeq.errors import ToolchainError, UsageError

BOARDS = ("raspberry-pi-4", "raspberry-pi-2", "raspberry-pi-zero")
PLANTED = """
int scaled(int x, float y) { return (int)((float)x * y); }
double halved(double x) { return x / 2; }
int kept(int x) { return 3 * x; }
"""


def _needs_disassembler(board: Board) -> None:
    needs_program("aarch64-linux-gnu-objdump" if board.isa == "aarch64" else "arm-linux-gnueabihf-objdump")


@pytest.mark.parametrize("name", BOARDS)
def test_the_library_computes_on_integers_only(name: str) -> None:
    board = load_board(name)
    _needs_disassembler(board)
    assert find_float(library_objects(find_compiler(board, toolchain="zig")), board.isa) == []


@pytest.mark.parametrize("name", BOARDS)
def test_emitted_c_computes_on_integers_only(name: str, tmp_path: Path) -> None:
    board = load_board(name)
    _needs_disassembler(board)
    write_c_folder(program().plan, tmp_path / "c", prefix="small")
    sources = [tmp_path / "c/main.c", *sorted((tmp_path / "c/src").rglob("*.c"))]
    assert any(path.name == "conv2d.c" for path in sources)
    compiler = find_compiler(board, toolchain="zig")
    objects = compile_sources(compiler, sources, includes=[tmp_path / "c/src"])
    assert find_float(objects, board.isa) == []


def test_the_library_computes_on_integers_only_on_this_machine() -> None:
    if platform.machine() != "x86_64":
        pytest.skip(f"this machine is {platform.machine()}; its ISA is checked in the cross builds")
    needs_program("objdump")
    assert find_float(library_objects(find_compiler(load_board("host"))), "x86-64") == []


def test_a_planted_float_file_is_found_on_this_machine(tmp_path: Path) -> None:
    if platform.machine() != "x86_64":
        pytest.skip(f"this machine is {platform.machine()}; its ISA is checked in the cross builds")
    needs_program("objdump")
    planted = tmp_path / "planted.c"
    planted.write_text(PLANTED)
    found = find_float(compile_sources(find_compiler(load_board("host")), [planted], includes=()), "x86-64")
    assert {finding.function for finding in found} == {"scaled", "halved"}


@pytest.mark.parametrize("name", BOARDS)
def test_a_planted_float_file_is_found(name: str, tmp_path: Path) -> None:
    board = load_board(name)
    _needs_disassembler(board)
    planted = tmp_path / "planted.c"
    planted.write_text(PLANTED)
    compiler = find_compiler(board, toolchain="zig")
    found = find_float(compile_sources(compiler, [planted], includes=()), board.isa)
    assert {finding.function for finding in found} == {"scaled", "halved"}


def test_soft_float_calls_are_found(tmp_path: Path) -> None:
    board = load_board("raspberry-pi-2")
    _needs_disassembler(board)
    planted = tmp_path / "calls.c"
    planted.write_text("int __aeabi_dmul(int); int twice(int x) { return __aeabi_dmul(x) + 1; }")
    objects = compile_sources(find_compiler(board, toolchain="zig"), [planted], includes=())
    assert any("__aeabi_dmul" in finding.instruction for finding in find_float(objects, board.isa))


def test_moves_of_floating_point_registers_are_fine(tmp_path: Path) -> None:
    board = load_board("raspberry-pi-4")
    _needs_disassembler(board)
    planted = tmp_path / "moves.c"
    planted.write_text("float passed(float x, float y) { return y; }")
    objects = compile_sources(find_compiler(board, toolchain="zig"), [planted], includes=())
    assert find_float(objects, board.isa) == []


def test_a_file_of_another_isa_or_none_is_an_error(tmp_path: Path) -> None:
    _needs_disassembler(load_board("raspberry-pi-4"))
    text = tmp_path / "text.o"
    text.write_text("not an object")
    with pytest.raises(ToolchainError, match=r"does not read text\.o"):
        find_float([text], "aarch64")
    with pytest.raises(ToolchainError, match="no code in the 0 files"):
        find_float([], "aarch64")
    with pytest.raises(UsageError, match="no floating-point check for 'z80'"):
        find_float([], "z80")

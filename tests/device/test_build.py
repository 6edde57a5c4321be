# SPDX-License-Identifier: Apache-2.0
"""Folders built for a board, the library in a glibc process, and compilers that are missing."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import subprocess
from pathlib import Path

import pytest
from device.plans import program
from needs import needs_program

from edgeq.board import load_board
from edgeq.device import toolchain as toolchain_module
from edgeq.device.build import MANIFEST, build_board, build_eqrun, build_library
from edgeq.device.toolchain import compile_sources, find_compiler
from edgeq.errors import StorageError, ToolchainError, UsageError

CALLER = """
#include <stdio.h>
#include "edgeq/edgeq.h"
int main(void) {
  printf("%08x %d\\n", (unsigned)eq_crc32(0, "123456789", 9), eq_format_hash() == EQ_FORMAT_HASH);
  return 0;
}
"""


def test_a_built_folder_holds_what_a_board_needs(tmp_path: Path) -> None:
    small = program()
    folder = tmp_path / "out"
    built = build_board("small", small.model, load_board("host"), folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["schema"] == "edgeq.build/1"
    assert manifest["board"] == "host"
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert set(manifest["files"]) | {MANIFEST} == names
    assert {"eqrun", "libedgeq.so", "model.eqm", "README.md", "include/edgeq/edgeq.h"} <= names
    for name, about in manifest["files"].items():
        data = (folder / name).read_bytes()
        assert about == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        assert built.files[name] == len(data)
    done = subprocess.run(["./eqrun", "model.eqm"], cwd=folder, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"EQRUN ISA \w+\nEQRUN DONE crc=[0-9a-f]{8}\n", done.stdout)
    assert [path.name for path in folder.parent.iterdir()] == ["out"]


def test_an_earlier_build_is_replaced_and_a_foreign_folder_is_not(tmp_path: Path) -> None:
    small, board = program(), load_board("host")
    build_board("small", small.model, board, tmp_path / "out")
    (tmp_path / "out/model.eqm").write_bytes(b"old")
    build_board("small", small.model, board, tmp_path / "out")
    assert (tmp_path / "out/model.eqm").read_bytes() == small.model
    foreign = tmp_path / "home"
    foreign.mkdir()
    (foreign / "diary.txt").write_text("dear")
    with pytest.raises(StorageError, match="was not made by edgeq; choose another folder"):
        build_board("small", small.model, board, foreign)
    assert [path.name for path in foreign.iterdir()] == ["diary.txt"]
    with pytest.raises(StorageError, match=r"there is no folder .*absent"):
        build_board("small", small.model, board, tmp_path / "absent" / "out")


def test_a_second_build_is_the_same_file_from_the_cache() -> None:
    first = build_eqrun(load_board("host"))
    changed = first.stat().st_mtime_ns
    assert build_eqrun(load_board("host")) == first
    assert first.stat().st_mtime_ns == changed


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 1, "no model given"),
        (["missing.eqm"], 9, "cannot open 'missing.eqm': No such file"),
        (["."], 9, "not a regular file"),
        (["empty"], 8, "'empty' is empty"),
        (["junk"], 8, "EQ_ERR_"),
        (["model.eqm", "--input", "junk"], 8, "'junk' has 200 bytes, not a multiple of the 360 bytes of a sample"),
        (["model.eqm", "--output", "no/such/folder"], 9, "cannot write 'no/such/folder'"),
        (["model.eqm", "--repeat", "0"], 1, "--repeat takes a number from 1 to 1000000, not '0'"),
        (["model.eqm", "--threads", "many"], 1, "--threads takes a number from 1 to 4, not 'many'"),
        (["model.eqm", "--isa", "abacus"], 1, "no kernels called 'abacus'"),
        (["model.eqm", "--speed", "9"], 1, "there is no option '--speed'"),
        (["model.eqm", "--input"], 1, "lacks its value"),
        (["model.eqm", "model.eqm"], 1, "one model expected"),
        (["model.eqm", "--output", "/dev/full"], 9, "cannot write '/dev/full'"),
    ],
)
def test_eqrun_says_what_is_wrong(tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    (tmp_path / "model.eqm").write_bytes(program().model)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "junk").write_bytes(bytes(range(200)))
    eqrun = build_eqrun(load_board("host"))
    done = subprocess.run([str(eqrun), *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert message in done.stderr
    assert "EQRUN DONE" not in done.stdout


def test_the_shared_library_loads_into_a_glibc_process(tmp_path: Path) -> None:
    board = load_board("raspberry-pi-4")
    qemu, gcc = needs_program(board.emulator), needs_program("aarch64-linux-gnu-gcc")
    library = tmp_path / "libedgeq.so"
    library.write_bytes(build_library(board, toolchain="zig").read_bytes())
    (tmp_path / "caller.c").write_text(CALLER)
    include = toolchain_module.native_includes()[0]
    command = [gcc, f"-I{include}", "caller.c", "-L.", "-ledgeq", "-Wl,-rpath,$ORIGIN", "-o", "caller"]
    subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run(
        [qemu, "-L", "/usr/aarch64-linux-gnu", "./caller"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "cbf43926 1\n"


def test_a_missing_compiler_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolchain_module, "has_zig", lambda: False)
    board = load_board("raspberry-pi-4")
    with pytest.raises(ToolchainError, match="pip install ziglang"):
        find_compiler(board)
    with pytest.raises(ToolchainError, match="apt install gcc-aarch64-linux-gnu"):
        find_compiler(board, toolchain="gcc")
    with pytest.raises(ToolchainError, match="no C compiler to build programs with; apt install gcc"):
        find_compiler(load_board("host"))
    with pytest.raises(ToolchainError, match="needs ARMv7; use zig"):
        find_compiler(load_board("raspberry-pi-zero"), toolchain="gcc")
    with pytest.raises(UsageError, match="no toolchain 'tcc'"):
        find_compiler(board, toolchain="tcc")


def test_a_compiler_that_fails_is_quoted(tmp_path: Path) -> None:
    broken = tmp_path / "broken.c"
    broken.write_text("int main(void) { return missing; }\n")
    with pytest.raises(ToolchainError, match=r"fails on broken.c \(exit code 1\):\n(.|\n)*missing"):
        compile_sources(find_compiler(load_board("host")), [broken], includes=())


def test_an_executable_for_this_machine_runs_here() -> None:
    done = subprocess.run([str(build_eqrun(load_board("host"))), "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: eqrun MODEL.eqm"), platform.machine()

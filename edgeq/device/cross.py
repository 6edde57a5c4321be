# SPDX-License-Identifier: Apache-2.0
"""The compiler for microcontrollers: GNU's for bare ARM where it is installed, else zig, which pip installs."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from edgeq.board import Board
from edgeq.device.toolchain import TOOLCHAINS, Compiler, has_zig, version_of
from edgeq.errors import ToolchainError, UsageError
from edgeq.paths import native_dir

GCC = "arm-none-eabi-gcc"
COMPILE_FLAGS = (
    "-std=c11", "-O2", "-ffreestanding", "-ffunction-sections", "-fdata-sections", "-fno-tree-loop-distribute-patterns",
    "-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-fno-merge-constants", "-DNDEBUG", "-mthumb",
)  # fmt: skip
_ZIG_IGNORES = "-fno-tree-loop-distribute-patterns"
_SMALL_FOLDERS = {"runtime", "link", "firmware", "port"}  # of native/: no loop in them takes a part of an inference,
_COPIES = "memory.c"  # but for memcpy and memset


def find_cross_compiler(board: Board, *, toolchain: str | None = None) -> Compiler:
    """Choose the compiler for a firmware board; ``toolchain`` is "gcc", "zig", or None for whichever is installed.

    Raises ToolchainError with the command that installs what is missing.
    """
    if toolchain is not None and toolchain not in TOOLCHAINS:
        raise UsageError(f"there is no toolchain {toolchain!r}", hint=f"toolchains are {', '.join(TOOLCHAINS)}")
    if toolchain is None:
        toolchain = "gcc" if shutil.which(GCC) or not has_zig() else "zig"
    return _gcc(board) if toolchain == "gcc" else _zig(board)


def defining(compiler: Compiler, definitions: Sequence[str]) -> Compiler:
    """Return the compiler with macros defined."""
    return dataclasses.replace(
        compiler, compile_flags=(*compiler.compile_flags, *(f"-D{text}" for text in definitions))
    )


def compiler_of(compiler: Compiler, source: Path) -> Compiler:
    """Return the compiler as one of firmware's sources is compiled: to small code where little time is spent."""
    if source.name == _COPIES or _SMALL_FOLDERS.isdisjoint(source.relative_to(native_dir()).parts):
        return compiler
    flags = tuple("-Os" if flag == "-O2" else flag for flag in compiler.compile_flags)
    return dataclasses.replace(compiler, compile_flags=flags)


def _gcc(board: Board) -> Compiler:
    if shutil.which(GCC) is None:
        raise ToolchainError(f"{GCC} is not installed", hint="apt install gcc-arm-none-eabi, or pip install ziglang")
    core = (f"-mcpu={board.cpu}", f"-mfloat-abi={'hard' if _has_vectors(board) else 'soft'}")
    return Compiler(
        name="gcc",
        identity=version_of((GCC, "--version")),
        command=(GCC,),
        compile_flags=(*COMPILE_FLAGS, *core),
        executable_flags=(*core, "-mthumb", "-nostdlib", "-Wl,--fatal-warnings", "-Wl,--no-warn-rwx-segments"),
        library_flags=(),
    )


def _zig(board: Board) -> Compiler:
    if not has_zig():
        raise ToolchainError("no compiler for microcontrollers is installed", hint="pip install ziglang")
    command = (sys.executable, "-m", "ziglang")
    abi = "eabihf" if _has_vectors(board) else "eabi"
    cpu = board.cpu.replace("-", "_") + ("" if _has_vectors(board) else _WITHOUT_FLOAT.get(board.cpu, ""))
    core = ("-target", f"thumb-freestanding-{abi}", f"-mcpu={cpu}")
    return Compiler(
        name="zig",
        identity=f"zig {version_of((*command, 'version'))}",
        command=(*command, "cc"),
        compile_flags=(*(flag for flag in COMPILE_FLAGS if flag != _ZIG_IGNORES), "-fno-sanitize=undefined", *core),
        executable_flags=core,  # what is freestanding has no libc, and compiler-rt is wanted
        library_flags=(),
    )


# Registers of a floating-point unit that is never switched on must not be used, to copy with for example.
_WITHOUT_FLOAT = {
    "cortex-m4": "-vfp2sp-vfp3d16sp-vfp4d16sp-fpregs",
    "cortex-m7": "-vfp2sp-vfp3d16sp-vfp4d16sp-fp_armv8d16sp-fp_armv8d16-fpregs",
    "cortex-m33": "-vfp2sp-vfp3d16sp-vfp4d16sp-fp_armv8d16sp-fpregs",
}


def _has_vectors(board: Board) -> bool:
    """Say whether the core's integer kernels use vector registers, which firmware then switches on."""
    return board.isa == "armv8.1-m.main"

# SPDX-License-Identifier: Apache-2.0
"""Compile the C library for a board: find a compiler, compile each file once per content, link."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edgeq.board import Board
from edgeq.errors import StorageError, ToolchainError, UsageError
from edgeq.paths import cache_dir, native_dir

TOOLCHAINS = ("zig", "gcc")
# The same for every file and target; what is faster on some CPUs guards itself and is chosen at run time.
COMPILE_FLAGS = ("-std=c11", "-O3", "-fPIC", "-ffunction-sections", "-fdata-sections", "-DNDEBUG")
LINK_FLAGS = ("-O3", "-s", "-Wl,--gc-sections", "-pthread")
GLIBC = "2.28"  # the shared library loads into any process with this C library or a newer one
MESSAGE_LINES = 12

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Family:
    """How to compile for all boards of one ISA."""

    zig_target: str
    zig_abi: str  # appended to "musl" or "gnu"
    zig_flags: tuple[str, ...]
    gcc: str
    gcc_flags: tuple[str, ...]
    gcc_package: str = ""  # empty where distributions' C library does not run on the CPU


FAMILIES = {
    "aarch64": Family("aarch64-linux", "", (), "aarch64-linux-gnu-gcc", (), "gcc-aarch64-linux-gnu"),
    "armv7": Family(
        "arm-linux", "eabihf", ("-mcpu=cortex_a7",),
        "arm-linux-gnueabihf-gcc", ("-mcpu=cortex-a7", "-mfpu=neon-vfpv4"), "gcc-arm-linux-gnueabihf",
    ),
    "armv6": Family("arm-linux", "eabihf", ("-mcpu=arm1176jzf_s",), "", ()),
}  # fmt: skip


@dataclass(frozen=True)
class Compiler:
    """A compiler for one target. ``identity`` says which one it is, down to the version."""

    name: str
    identity: str
    command: tuple[str, ...]
    compile_flags: tuple[str, ...]
    executable_flags: tuple[str, ...]
    library_flags: tuple[str, ...]


def find_compiler(board: Board, *, toolchain: str | None = None) -> Compiler:
    """Choose the compiler for a board; ``toolchain`` is one of TOOLCHAINS, or None for whichever is installed.

    A host is compiled for with its own cc. Raises ToolchainError with the command that installs what is missing.
    """
    if toolchain is not None and toolchain not in TOOLCHAINS:
        raise UsageError(f"there is no toolchain {toolchain!r}", hint=f"toolchains are {', '.join(TOOLCHAINS)}")
    if board.kind == "host":
        if toolchain == "zig":
            raise UsageError(f"board {board.name} is compiled for with this machine's own compiler, not with zig")
        return _host_compiler("build programs with")
    family = FAMILIES[board.isa]
    if toolchain is None:
        toolchain = "gcc" if not has_zig() and shutil.which(family.gcc or "-") else "zig"
    return _zig(family) if toolchain == "zig" else _gcc(family, board)


def native_sources() -> list[Path]:
    """List the C files of the library itself, without any port."""
    root = native_dir()
    patterns = ("runtime/*.c", "ops/*.c", "kernels/*.c", "kernels/*/*.c")
    return sorted(path for pattern in patterns for path in root.glob(pattern))


def native_includes() -> tuple[Path, ...]:
    """List the folders that the library's includes start from."""
    return native_dir() / "include", native_dir()


def compile_sources(compiler: Compiler, sources: Sequence[Path], *, includes: Sequence[Path]) -> list[Path]:
    """Compile C files to objects in the cache and return them in order; what was compiled before is not again.

    Raises ToolchainError with the compiler's message.
    """
    common = hashlib.sha256(repr((compiler.identity, compiler.command, compiler.compile_flags)).encode())
    headers = {path for folder in includes for pattern in ("*.h", "*.inc") for path in folder.rglob(pattern)}
    for path in sorted(headers):
        common.update(path.name.encode() + b"\0" + path.read_bytes())
    arguments = [*compiler.compile_flags, *(f"-I{folder}" for folder in includes)]

    def compile_one(source: Path) -> Path:
        key = common.copy()
        key.update(source.name.encode() + b"\0" + source.read_bytes())
        target = _cache_folder("objects") / f"{source.stem}-{key.hexdigest()[:32]}.o"
        return _made(
            target, lambda out: call_compiler(compiler, [*arguments, "-c", str(source), "-o", str(out)], source.name)
        )

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(compile_one, sources))


def link_executable(compiler: Compiler, objects: Sequence[Path], name: str) -> Path:
    """Link objects to an executable in the cache: static for a board."""
    return _link(compiler, compiler.executable_flags, objects, name)


def link_library(compiler: Compiler, objects: Sequence[Path], name: str) -> Path:
    """Link objects to a shared library in the cache."""
    return _link(compiler, (*compiler.library_flags, "-shared", f"-Wl,-soname,{name}"), objects, name)


def build_plugin(qemu: str) -> Path:
    """Build the instruction counter for the installed QEMU with this machine's compiler. Raises ToolchainError."""
    major = _qemu_major(qemu)
    host = _host_compiler("build QEMU's instruction counter")
    plugin = Compiler(
        name=host.name,
        identity=host.identity,
        command=host.command,
        compile_flags=("-std=c11", "-O2", "-fPIC", "-fvisibility=hidden", f"-DPLUGIN_VERSION={1 if major < 9 else 2}"),
        executable_flags=(),
        library_flags=(),
    )
    objects = compile_sources(plugin, [native_dir() / "port/qemu/count.c"], includes=())
    return link_library(plugin, objects, "count.so")


def _link(compiler: Compiler, flags: Sequence[str], objects: Sequence[Path], name: str) -> Path:
    key = hashlib.sha256(repr((compiler.command, flags, LINK_FLAGS, [path.name for path in objects])).encode())
    target = _cache_folder("linked") / f"{key.hexdigest()[:32]}-{name}"

    def link(out: Path) -> None:
        seen = _cache_folder("seen") / hashlib.sha256(repr((compiler.identity, flags)).encode()).hexdigest()[:32]
        if compiler.name == "zig" and not seen.exists():
            _log.warning("the first build for %s compiles its C library, about a minute", flags[1])
        call_compiler(compiler, [*flags, *LINK_FLAGS, *map(str, objects), "-o", str(out)], name)
        seen.touch()

    return _made(target, link)


def _made(target: Path, make: Callable[[Path], None]) -> Path:
    """Return a file of the cache, made under another name first if it is not there."""
    if target.exists():
        return target
    handle, name = tempfile.mkstemp(prefix=".", suffix=target.suffix or ".tmp", dir=target.parent)
    os.close(handle)
    made = Path(name)
    try:
        make(made)
        os.replace(made, target)
    finally:
        with contextlib.suppress(OSError):
            made.unlink()
    return target


def _cache_folder(name: str) -> Path:
    folder = cache_dir() / name
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot create the cache folder {folder}: {error.strerror}") from error
    return folder


def call_compiler(compiler: Compiler, arguments: Sequence[str], subject: str) -> None:
    """Run a compiler. Raises ToolchainError with the last lines that it says of ``subject``."""
    try:
        done = subprocess.run([*compiler.command, *arguments], capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise ToolchainError(f"cannot start {compiler.command[0]}: {error.strerror}") from None
    if done.returncode != 0:
        lines = "\n".join(done.stderr.strip().splitlines()[-MESSAGE_LINES:])
        raise ToolchainError(f"{compiler.identity} fails on {subject} (exit code {done.returncode}):\n{lines}")


def has_zig() -> bool:
    """Say whether pip installed zig."""
    return importlib.util.find_spec("ziglang") is not None


def _zig(family: Family) -> Compiler:
    if not has_zig():
        raise ToolchainError("the cross compiler (zig) is not installed", hint="pip install ziglang")
    command = (sys.executable, "-m", "ziglang")
    # zig knows its own headers by libc, so objects are compiled for musl; the library itself includes none of them.
    musl = ("-target", f"{family.zig_target}-musl{family.zig_abi}", *family.zig_flags)
    glibc = ("-target", f"{family.zig_target}-gnu{family.zig_abi}.{GLIBC}", *family.zig_flags)
    return Compiler(
        name="zig",
        identity=f"zig {version_of((*command, 'version'))}",
        command=(*command, "cc"),
        compile_flags=(*COMPILE_FLAGS, *musl),
        executable_flags=(*musl, "-static"),
        library_flags=glibc,
    )


def _gcc(family: Family, board: Board) -> Compiler:
    if not family.gcc_package:
        raise ToolchainError(
            f"distributions' GCC makes no executables for {board.name}: its C library needs ARMv7",
            hint="use zig: pip install ziglang",
        )
    if shutil.which(family.gcc) is None:
        raise ToolchainError(f"{family.gcc} is not installed", hint=f"apt install {family.gcc_package}")
    return Compiler(
        name="gcc",
        identity=version_of((family.gcc, "--version")),
        command=(family.gcc,),
        compile_flags=(*COMPILE_FLAGS, *family.gcc_flags),
        executable_flags=(*family.gcc_flags, "-static"),
        library_flags=family.gcc_flags,
    )


def _host_compiler(purpose: str) -> Compiler:
    program = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    if program is None:
        raise ToolchainError(f"this machine has no C compiler to {purpose}", hint="apt install gcc")
    return Compiler(
        name="cc",
        identity=version_of((program, "--version")),
        command=(program,),
        compile_flags=COMPILE_FLAGS,
        executable_flags=(),
        library_flags=(),
    )


@cache
def version_of(command: tuple[str, ...]) -> str:
    """Return the first line that a program answers. Raises ToolchainError when it fails."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolchainError(f"{' '.join(command)} fails: {error}") from None
    return answer.splitlines()[0].strip() if answer.strip() else ""


def _qemu_major(qemu: str) -> int:
    words = version_of((qemu, "--version")).split("version ")
    digits = words[-1].split(".")[0]
    if len(words) < 2 or not digits.isdigit():
        raise ToolchainError(f"{qemu} does not say its version")
    return int(digits)

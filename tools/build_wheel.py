#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turn a wheel built on this machine into the one for 64-bit ARM Linux: the same files, the binding compiled for it.

The binding uses CPython's limited API and the C library's symbols up to toolchain.GLIBC, so that it loads into every
CPython from 3.11 on and every distribution with that C library or a newer one: cp311-abi3-manylinux_2_28_aarch64.
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import hashlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

from edgeq.board import load_board
from edgeq.device.toolchain import GLIBC, compile_sources, find_compiler, link_library, native_includes, native_sources
from edgeq.errors import EdgeqError, UsageError
from edgeq.paths import native_dir, read_bytes, write_bytes

BOARD = "raspberry-pi-4"  # any 64-bit one: they share compilers and flags
BINDING = "edgeq/_native.abi3.so"
TAG = f"cp311-abi3-manylinux_{GLIBC.replace('.', '_')}_aarch64"
LIMITED_API = "0x030b0000"  # that of Python 3.11
SAME_DATE = (1980, 1, 1, 0, 0, 0)  # of every file, so that the same contents give the same wheel


def build_binding() -> bytes:
    """Compile the library and its cffi binding for aarch64 and return the shared object. Raises ToolchainError."""
    compiler = find_compiler(load_board(BOARD), toolchain="zig")
    flags = [flag for flag in compiler.compile_flags if flag not in compiler.executable_flags]
    python = ("-D_GNU_SOURCE", f"-DPy_LIMITED_API={LIMITED_API}", "-fvisibility=hidden")
    compiler = dataclasses.replace(compiler, compile_flags=(*flags, *compiler.library_flags, *python))
    with tempfile.TemporaryDirectory(prefix="edgeq-") as name:
        folder = Path(name)
        source = folder / "_native.c"
        generator = native_dir() / "python/build_binding.py"
        subprocess.run([sys.executable, str(generator), str(source)], check=True, stdout=subprocess.DEVNULL)
        headers = _python_headers(folder / "python")
        includes = (*native_includes(), native_dir() / "port/linux", headers)
        sources = [*native_sources(), native_dir() / "port/linux/threads.c", source]
        library = link_library(compiler, compile_sources(compiler, sources, includes=includes), "_native.abi3.so")
        return library.read_bytes()


def _python_headers(folder: Path) -> Path:
    """Copy this Python's headers, with the pyconfig.h of this machine itself where a distribution has one that chooses.

    It serves for aarch64 too when this machine is a 64-bit little-endian Linux: what the limited API reads of it, sizes
    of C's types above all, is the same on both.
    """
    if sys.platform != "linux" or sys.byteorder != "little" or sys.maxsize < 1 << 32:
        raise UsageError("the wheel can be built on 64-bit little-endian Linux alone")
    shutil.copytree(sysconfig.get_path("include"), folder)
    shutil.copyfile(sysconfig.get_config_h_filename(), folder / "pyconfig.h")
    return folder


def retagged(wheel: Path, binding: bytes) -> tuple[str, dict[str, bytes]]:
    """Return the name and files of a wheel with another binding in it. Raises UsageError when it has none."""
    with zipfile.ZipFile(wheel) as archive:
        files = {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
    info = next((name.split("/")[0] for name in files if re.fullmatch(r"[^/]+\.dist-info/WHEEL", name)), None)
    if info is None or BINDING not in files:
        raise UsageError(f"{str(wheel)!r} is no wheel of edgeq with {BINDING} in it")
    files[BINDING] = binding
    about = files[f"{info}/WHEEL"].decode()
    files[f"{info}/WHEEL"] = (
        re.sub(r"^(Tag: ).*(\n|$)", "", about, flags=re.MULTILINE).encode() + f"Tag: {TAG}\n".encode()
    )
    del files[f"{info}/RECORD"]
    record = [f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in files.items()]
    files[f"{info}/RECORD"] = "".join([*record, f"{info}/RECORD,,\n"]).encode()
    return f"{info.removesuffix('.dist-info')}-{TAG}.whl", files


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def write_wheel(path: Path, files: dict[str, bytes]) -> None:
    """Write a wheel whole or not at all."""
    with tempfile.TemporaryFile() as scratch:
        with zipfile.ZipFile(scratch, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                info = zipfile.ZipInfo(name, SAME_DATE)
                info.external_attr = (0o755 if name == BINDING else 0o644) << 16
                archive.writestr(info, data, zipfile.ZIP_DEFLATED)
        scratch.seek(0)
        write_bytes(path, scratch.read())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("wheel", type=Path, help="a wheel that pip wheel built on this machine")
    parser.add_argument("-o", "--out", type=Path, default=Path("dist"), help="the folder for the new one")
    arguments = parser.parse_args()
    try:
        read_bytes(arguments.wheel)
        name, files = retagged(arguments.wheel, build_binding())
        arguments.out.mkdir(parents=True, exist_ok=True)
        write_wheel(arguments.out / name, files)
    except EdgeqError as error:
        print(f"build_wheel: {error}", file=sys.stderr)
        return error.exit_code
    print(arguments.out / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())

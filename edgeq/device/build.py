# SPDX-License-Identifier: Apache-2.0
"""Build what a board needs to run a model: the program, the library, its headers and the model file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeq.board import Board
from edgeq.device.toolchain import (
    Compiler,
    compile_sources,
    find_compiler,
    link_executable,
    link_library,
    native_includes,
    native_sources,
)
from edgeq.errors import StorageError
from edgeq.paths import native_dir, write_folder

SCHEMA = "edgeq.build/1"
MANIFEST = "edgeq-build.json"
README = """\
# {name} for {title}

Built by edgeq with {compiler}.

    ./eqrun model.eqm --input in.bin --output out.bin     # samples back to back, raw little-endian codes
    ./eqrun model.eqm --profile profile.json --repeat 50  # nanoseconds of every step
    ./eqrun --help

`eqrun` needs nothing installed. To call the runtime from a program of your own, compile it with
`-Iinclude` and link `libedgeq.so`; `include/edgeq/edgeq.h` is the whole interface.
`{manifest}` lists every file with its size and SHA-256.
"""


@dataclass(frozen=True)
class BuiltFiles:
    """A finished folder: names relative to it, with their sizes in bytes."""

    folder: Path
    compiler: str
    files: dict[str, int]


def build_eqrun(board: Board, *, toolchain: str | None = None) -> Path:
    """Build the program that runs models on a board and return it in the cache."""
    compiler = find_compiler(board, toolchain=toolchain)
    return link_executable(compiler, [*library_objects(compiler), *_port_objects(compiler)], "eqrun")


def build_library(board: Board, *, toolchain: str | None = None) -> Path:
    """Build the shared library for a board and return it in the cache."""
    compiler = find_compiler(board, toolchain=toolchain)
    return link_library(compiler, library_objects(compiler), "libedgeq.so")


def library_objects(compiler: Compiler) -> list[Path]:
    """Compile the library, which any program for the board may link, and return its objects in the cache."""
    return compile_sources(compiler, native_sources(), includes=native_includes())


def build_board(name: str, model: bytes, board: Board, folder: Path, *, toolchain: str | None = None) -> BuiltFiles:
    """Write the files for a board that runs Linux, or for this machine, into ``folder``, all or none.

    A folder that an earlier build made, or an empty one, is replaced. Raises StorageError for any other that exists,
    ToolchainError when a compiler is missing or fails.
    """
    require_replaceable(folder)
    compiler = find_compiler(board, toolchain=toolchain)
    sources = {
        "eqrun": build_eqrun(board, toolchain=toolchain),
        "libedgeq.so": build_library(board, toolchain=toolchain),
    }
    headers = native_dir() / "include"
    contents = {file: path.read_bytes() for file, path in sources.items()}
    contents |= {f"include/{path.relative_to(headers)}": path.read_bytes() for path in sorted(headers.rglob("*.h"))}
    contents["model.eqm"] = model
    about = README.format(name=name, title=board.title, compiler=compiler.identity, manifest=MANIFEST)
    contents["README.md"] = about.encode()
    return write_build(
        folder, contents, model=name, board=board, compiler=compiler.identity, executables={"eqrun", "libedgeq.so"}
    )


def require_replaceable(folder: Path) -> None:
    """Raise StorageError unless a build may be written there: nothing is, or an earlier build."""
    if folder.exists() and not _is_replaceable(folder):
        raise StorageError(f"{str(folder)!r} exists and was not made by edgeq", hint="choose another folder")
    if not folder.parent.is_dir():
        raise StorageError(f"cannot write {str(folder)!r}: there is no folder {str(folder.parent)!r}")


def write_build(
    folder: Path,
    contents: Mapping[str, bytes],
    *,
    model: str,
    board: Board,
    compiler: str,
    executables: Collection[str] = (),
    slots: bool = False,
) -> BuiltFiles:
    """Write a build, with a manifest of every file's size and SHA-256; ``slots``: models are swapped over the link."""
    manifest = {
        "schema": SCHEMA,
        "model": model,
        "board": board.name,
        "compiler": compiler,
        "slots": slots,
        "files": {
            file: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for file, data in contents.items()
        },
    }
    sizes = {file: len(data) for file, data in contents.items()}
    listed = (json.dumps(manifest, indent=2) + "\n").encode()
    write_folder(folder, {**contents, MANIFEST: listed}, executables=executables)
    return BuiltFiles(folder, compiler, sizes)


def _port_objects(compiler: Compiler) -> list[Path]:
    folders = ("port/linux", "link", "store")
    sources = [path for folder in folders for path in native_dir().glob(f"{folder}/*.c")]
    return compile_sources(compiler, sorted(sources), includes=native_includes())


def _is_replaceable(folder: Path) -> bool:
    try:
        return folder.is_dir() and ((folder / MANIFEST).is_file() or not any(folder.iterdir()))
    except OSError as error:
        raise StorageError(f"cannot read {str(folder)!r}: {error.strerror}") from error

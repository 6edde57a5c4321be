# SPDX-License-Identifier: Apache-2.0
"""The folder that edgeq build wrote for a microcontroller, checked before any of it reaches a board."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from edgeq.board import Board, load_board
from edgeq.device.build import MANIFEST, SCHEMA
from edgeq.errors import BadInputError, StorageError, UsageError
from edgeq.paths import read_bytes

_MODEL = "model.eqm"


@dataclass(frozen=True)
class Build:
    """A checked folder: ``files`` are its firmware in the formats that there are, by suffix, e.g. ".hex"."""

    folder: Path
    board: Board
    model: str
    files: dict[str, Path]
    model_file: Path | None = None  # the model that is part of the firmware; None where models are swapped

    def firmware(self, suffix: str) -> Path:
        """Return the firmware in one format. Raises BadInputError when the folder has none."""
        if suffix not in self.files:
            raise BadInputError(
                f"{str(self.folder)!r} has no firmware{suffix}, which board {self.board.name} is flashed with",
                hint="build it again",
            )
        return self.files[suffix]


def read_build(folder: Path, *, board: str | None = None) -> Build:
    """Read a folder of firmware and compare every file with the SHA-256 that was written beside it.

    Raises StorageError for a folder or file that is not there, BadInputError for a changed file or one that is no
    build, UsageError when it was built for another board than ``board`` or for none that is flashed.
    """
    if not folder.is_dir():
        raise StorageError(f"there is no folder {str(folder)!r}", hint="edgeq build M --board B -o DIR makes one")
    if not (folder / MANIFEST).is_file():
        raise BadInputError(f"{str(folder)!r} has no {MANIFEST}: edgeq build did not make it")
    manifest = _parsed(folder / MANIFEST)
    built_for, names = manifest["board"], manifest["files"]
    if board is not None and board != built_for:
        load_board(board)
        raise UsageError(
            f"{str(folder)!r} was built for {built_for}, not for {board}", hint=f"build the model for {board}"
        )
    profile = load_board(built_for)
    if profile.kind != "firmware":
        raise UsageError(
            f"{str(folder)!r} was built for {built_for}, which runs programs and is not flashed",
            hint=f"edgeq run M --board {built_for} --ssh USER@HOST runs the model there",
        )
    for name, expected in names.items():
        found = hashlib.sha256(read_bytes(folder / name)).hexdigest()
        if found != expected:
            raise BadInputError(
                f"{str(folder / name)!r} is not what edgeq build wrote: its SHA-256 begins with {found[:12]}, "
                f"expected {expected[:12]}",
                hint="build it again",
            )
    files = {PurePosixPath(name).suffix: folder / name for name in names if PurePosixPath(name).stem == "firmware"}
    fixed = folder / _MODEL if _MODEL in names and not manifest["slots"] else None
    return Build(folder, profile, manifest["model"], files, fixed)


def _parsed(path: Path) -> dict[str, Any]:
    """Return board, model and the SHA-256 of each file; a name may not lead out of the folder."""
    try:
        manifest = json.loads(read_bytes(path))
        schema = manifest["schema"]
        names = {str(name): str(entry["sha256"]) for name, entry in manifest["files"].items()}
        slots = bool(manifest.get("slots", False))
        found = {"board": str(manifest["board"]), "model": str(manifest["model"]), "slots": slots, "files": names}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInputError(
            f"{str(path)!r} is damaged: {type(error).__name__}: {error}", hint="build it again"
        ) from None
    if schema != SCHEMA:
        raise BadInputError(f"{str(path)!r} has the schema {schema!r}, expected {SCHEMA!r}", hint="build it again")
    outside = [name for name in names if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts]
    if outside:
        raise BadInputError(f"{str(path)!r} names a file outside its folder: {outside[0]!r}")
    return found

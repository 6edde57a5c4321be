# SPDX-License-Identifier: Apache-2.0
"""Checks on the files that a command is told to write, made before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeq.errors import StorageError, UsageError


def recipe_path(output: Path) -> Path:
    """Return where the recipe of a model file goes: m.eqm has m.recipe.toml beside it."""
    return output.with_name((output.stem if output.suffix == ".eqm" else output.name) + ".recipe.toml")


def require_new_file(output: Path, *, inputs: Sequence[Path]) -> None:
    """Refuse an output that is one of the inputs, a directory, or in a folder that does not exist.

    Raises UsageError for the first, StorageError for the others.
    """
    if output.is_dir():
        raise StorageError(f"cannot write {str(output)!r}: it is a directory")
    if not output.parent.is_dir():
        raise StorageError(f"cannot write {str(output)!r}: there is no folder {str(output.parent)!r}")
    for path in inputs:
        if output.exists() and path.exists() and output.samefile(path):
            raise UsageError(f"the output {str(output)!r} is also an input", hint="give the output another name")

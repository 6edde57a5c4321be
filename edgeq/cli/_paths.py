# SPDX-License-Identifier: Apache-2.0
"""The files that a command is given: checks on those it writes, before any work is done, and their names in errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgeq.errors import BadInputError, StorageError, UsageError


def recipe_path(output: Path) -> Path:
    """Return where the recipe of a model file goes: m.eqm has m.recipe.toml beside it."""
    return output.with_name((output.stem if output.suffix == ".eqm" else output.name) + ".recipe.toml")


def require_new_files(outputs: Sequence[Path | str | None], *, inputs: Sequence[Path | None]) -> None:
    """Refuse an output that is one of the inputs or another output, a directory, or in a folder that does not exist.

    None is an option that was not given. "-" is standard output for reports as JSON, which come as text, and refused
    for the rest. Raises UsageError for the first two and for "-", StorageError for the others.
    """
    written = [Path(output) for output in outputs if output is not None and output != "-"]
    for number, output in enumerate(written):
        if str(output) == "-":
            raise UsageError("only --json writes to standard output", hint="give the output a name")
        if output.is_dir():
            raise StorageError(f"cannot write {str(output)!r}: it is a directory")
        if not output.parent.is_dir():
            raise StorageError(f"cannot write {str(output)!r}: there is no folder {str(output.parent)!r}")
        if any(_same(output, path) for path in inputs if path is not None):
            raise UsageError(f"the output {str(output)!r} is also an input", hint="give the output another name")
        if any(_same(output, other) for other in written[:number]):
            raise UsageError(f"two outputs go to {str(output)!r}", hint="give each a name of its own")


@contextmanager
def naming(path: Path | None) -> Iterator[None]:
    """Put the path of a data file in front of errors about what it holds, where it is not in them already."""
    try:
        yield
    except BadInputError as error:
        if path is None or str(path) in str(error):
            raise
        raise type(error)(f"{path}: {error}") from None


def _same(a: Path, b: Path) -> bool:
    """Say whether two paths name one file; devices, which many outputs may share, are never the same."""
    if a.exists() and b.exists():
        return a.is_file() and a.samefile(b)
    return a.resolve() == b.resolve()

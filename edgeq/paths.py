# SPDX-License-Identifier: Apache-2.0
"""Find boards/, native/ and the demo's data in a checkout or a wheel; write files whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from edgeq.errors import InternalError, StorageError

_PACKAGE = Path(__file__).resolve().parent


def _resource(name: str) -> Path:
    for root in (_PACKAGE, _PACKAGE.parent):
        if (root / name).is_dir():
            return root / name
    raise InternalError(f"the folder {name}/ is neither in the installed package nor beside it; reinstall edgeq")


def boards_dir() -> Path:
    """Return the folder of board profiles."""
    return _resource("boards")


def native_dir() -> Path:
    """Return the folder of the C library's sources."""
    return _resource("native")


def demo_dir() -> Path:
    """Return the folder of the demo's models and samples."""
    return _resource("demo_data")


def cache_dir() -> Path:
    """Return the folder for what may be made again at any time (objects, tools); created when missing."""
    root = os.environ.get("EDGEQ_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "edgeq"
    )
    path = Path(root)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot create the cache folder {path}: {error.strerror}") from error
    return path


def read_bytes(path: Path) -> bytes:
    """Return a file's contents.

    Raises StorageError naming the path when it is missing, a directory or unreadable.
    """
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise StorageError(f"cannot read {str(path)!r}: {getattr(error, 'strerror', error)}") from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: to a temporary name beside it, synced, then renamed.

    Raises StorageError naming the path; the old contents, if any, are then untouched and nothing is left behind.
    """
    write_files({path: data})


def write_files(files: Mapping[Path, bytes]) -> None:
    """Write several files that belong together: none is renamed into place before all are written and synced.

    A symbolic link is followed; a device or pipe is written to as it is. Raises StorageError naming the path that
    failed; temporary files are removed.
    """
    temporaries: dict[Path, str] = {}
    targets: dict[Path, Path] = {}
    current = Path()
    try:
        for current, data in files.items():
            targets[current] = current.resolve()
            if current.is_dir():
                raise StorageError(f"cannot write {str(current)!r}: it is a directory")
            if current.exists() and not current.is_file():
                current.write_bytes(data)
                continue
            prefix = os.fsdecode(os.fsencode(current.name)[:64])
            handle, temporaries[current] = tempfile.mkstemp(
                prefix=f".{prefix}.", suffix=".tmp", dir=targets[current].parent
            )
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporaries[current], 0o666 & ~_umask())
        for current in list(temporaries):
            os.replace(temporaries[current], targets[current])
            del temporaries[current]
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise StorageError(f"cannot write {str(current)!r}: {getattr(error, 'strerror', error)}") from error
    finally:
        for temporary in temporaries.values():
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def write_folder(folder: Path, files: Mapping[str, bytes], *, executables: Collection[str] = ()) -> None:
    """Write a folder whole or not at all: under another name beside it, then put in the place of what was there.

    ``files`` are by their paths in the folder, ``executables`` those that may be run. The caller sees to it that an old
    folder may go. Raises StorageError naming the folder; an old one is then as it was, and nothing is left behind.
    """
    scratch: Path | None = None
    try:
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name[:64]}.", suffix=".tmp", dir=folder.parent))
        made, old = scratch / "new", scratch / "old"
        for name, data in files.items():
            path = made / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            if name in executables:
                path.chmod(path.stat().st_mode | 0o111)
        if folder.exists():
            os.replace(folder, old)
        try:
            os.replace(made, folder)
        except OSError:
            if old.exists():
                os.replace(old, folder)
            raise
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise StorageError(f"cannot write {str(folder)!r}: {getattr(error, 'strerror', error)}") from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

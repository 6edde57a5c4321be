# SPDX-License-Identifier: Apache-2.0
"""Files and folders are written whole or not at all, whatever their names."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from edgeq.errors import StorageError
from edgeq.paths import read_bytes, write_bytes, write_files, write_folder


def test_files_that_belong_together_are_all_written(tmp_path: Path) -> None:
    write_files({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == [b"1", b"2"]


def test_when_one_cannot_be_written_the_others_stay_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(StorageError, match="no_folder"):
        write_files({tmp_path / "a": b"new", tmp_path / "no_folder" / "b": b"2"})
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"old")]


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")
    write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


def test_a_device_is_written_to_and_not_replaced() -> None:
    write_bytes(Path("/dev/null"), b"gone")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(StorageError, match="/dev/full"):
        write_bytes(Path("/dev/full"), b"no room")
    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize("name", ["a b", "line\nbreak", "æøå 漢字", "x" * 200, "-o", "[bold]"])
def test_unusual_names_are_names(tmp_path: Path, name: str) -> None:
    write_bytes(tmp_path / name, b"1")
    assert read_bytes(tmp_path / name) == b"1"
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["n\0ul", "x" * 300])
def test_impossible_names_are_errors_that_show_them(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError):
        write_bytes(tmp_path / name, b"1")
    with pytest.raises(StorageError):
        read_bytes(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write_folder(folder, {"old": b"1"})
    write_folder(folder, {"a": b"2", "deep/er/b": b"3"}, executables=["a"])
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {"a", "deep/er/b"}
    assert os.access(folder / "a", os.X_OK)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("failing", ["write_bytes", "replace"])
def test_a_folder_that_cannot_be_replaced_stays(failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "out"
    write_folder(folder, {"a": b"old"})
    replace = os.replace

    def fail(*arguments: object) -> None:
        if failing == "write_bytes" or Path(str(arguments[0])).name == "new":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(*((Path, "write_bytes", fail) if failing == "write_bytes" else (os, "replace", fail)))
    with pytest.raises(StorageError, match="No space left"):
        write_folder(folder, {"a": b"new"})
    assert (folder / "a").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]

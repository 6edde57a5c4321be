# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from edgeq.errors import StorageError
from edgeq.paths import read_bytes, write_bytes, write_files


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

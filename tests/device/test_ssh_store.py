# SPDX-License-Identifier: Apache-2.0
"""The store of a Linux board: its script, under a real sh, killed at every command that it runs."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgeq.device.ssh_store import needed_kib, push_model, push_script
from edgeq.errors import DeviceError, DoesNotFitError

OLD, NEW, THIRD = (np.random.default_rng(seed).bytes(200_000 + seed) for seed in range(3))
COMMANDS = ("mkdir", "flock", "rm", "sha256sum", "df", "dd", "mv", "sync", "readlink", "ln")
KILLED = -signal.SIGKILL

# Stands for a command: counts the calls, and kills the script before one of them, or amid the upload.
_STAND_IN = """#!/bin/sh
count=$(($(cat "$CUT_FOLDER/count") + 1))
echo $count > "$CUT_FOLDER/count"
if [ "$CUT_AT" = {name} ]; then head -c 70000 | {real} "$@"; kill -9 0; fi
[ "$CUT_AT" = $count ] && kill -9 0
exec {real} "$@"
"""


class LocalShell:
    """This machine's sh with a home of its own."""

    title = "pi@board"

    def __init__(self, home: Path, variables: dict[str, str] | None = None) -> None:
        self.home = home
        self.environment = {**os.environ, "HOME": str(home), **(variables or {})}

    def script(self, text: str, data: bytes, seconds: float) -> subprocess.CompletedProcess[bytes]:
        process = subprocess.Popen(
            ["sh", "-c", text], env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        output, errors = process.communicate(data, timeout=seconds)
        return subprocess.CompletedProcess("sh", process.returncode, output, errors)

    def files(self) -> dict[str, bytes]:
        folder = self.home / ".local/share/edgeq"
        names = [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]
        return {str(path.relative_to(folder)): path.read_bytes() for path in names}


def _name(model: bytes) -> str:
    return f"models/{hashlib.sha256(model).hexdigest()}.eqm"


def test_a_pushed_model_is_the_current_one_and_the_one_before_is_kept(tmp_path: Path) -> None:
    shell = LocalShell(tmp_path)
    assert push_model(shell, OLD) == f"~/.local/share/edgeq/{_name(OLD)}"
    assert shell.files() == {_name(OLD): OLD, "current": OLD}
    push_model(shell, NEW)
    assert shell.files() == {_name(OLD): OLD, _name(NEW): NEW, "current": NEW, "previous": OLD}
    push_model(shell, THIRD)
    assert shell.files() == {_name(NEW): NEW, _name(THIRD): THIRD, "current": THIRD, "previous": NEW}
    push_model(shell, NEW)
    assert shell.files() == {_name(NEW): NEW, _name(THIRD): THIRD, "current": NEW, "previous": THIRD}


def test_pushing_the_current_model_again_changes_nothing(tmp_path: Path) -> None:
    shell = LocalShell(tmp_path)
    push_model(shell, OLD)
    push_model(shell, NEW)
    stored = tmp_path / ".local/share/edgeq" / _name(NEW)
    before = stored.stat().st_mtime_ns
    push_model(shell, NEW)
    assert stored.stat().st_mtime_ns == before
    assert shell.files()["previous"] == OLD


def test_a_stored_file_that_was_damaged_is_sent_again(tmp_path: Path) -> None:
    shell = LocalShell(tmp_path)
    push_model(shell, OLD)
    (tmp_path / ".local/share/edgeq" / _name(OLD)).write_bytes(OLD[:-1])
    push_model(shell, OLD)
    assert shell.files() == {_name(OLD): OLD, "current": OLD}


def _push_cut(shell: LocalShell, tools: Path, at: str) -> tuple[int, int]:
    """Push the new model and kill the script at a command; return its exit code and how many commands it ran."""
    programs = tools / "bin"
    if not programs.exists():
        programs.mkdir(parents=True)
        for name in COMMANDS:
            (programs / name).write_text(_STAND_IN.format(real=shutil.which(name), name=name))
            (programs / name).chmod(0o755)
    (tools / "count").write_text("0")
    cut = {"PATH": f"{programs}:{os.environ['PATH']}", "CUT_FOLDER": str(tools), "CUT_AT": at}
    code = LocalShell(shell.home, cut).script(push_script(NEW), NEW, 60).returncode
    return code, int((tools / "count").read_text())


@pytest.mark.parametrize("before", [None, OLD], ids=["empty", "with a model"])
def test_a_push_killed_at_any_command_leaves_the_old_or_the_new_model(tmp_path: Path, before: bytes | None) -> None:
    start = LocalShell(tmp_path / "start")
    start.home.mkdir()
    if before is not None:
        push_model(start, before)
    found = []
    for at in range(1, 100):
        shell = LocalShell(tmp_path / str(at))
        shutil.copytree(start.home, shell.home, symlinks=True)
        code, commands = _push_cut(shell, tmp_path / "tools", str(at))
        files = shell.files()
        found.append(files.get("current"))
        assert found[-1] in (before, NEW)
        assert all(files[name] == model for model in (OLD, NEW) if (name := _name(model)) in files)
        push_model(shell, NEW)
        files = shell.files()
        assert files["current"] == NEW
        assert [name for name in files if name.endswith(".tmp")] == []
        if commands < at:
            assert code == 0
            break
        assert code == KILLED
    first = found.index(NEW)
    assert set(found[first:]) == {NEW}
    assert 9 <= first < len(found) - 1


def test_a_push_killed_amid_the_upload_leaves_the_old_model_and_no_rest_after_the_next(tmp_path: Path) -> None:
    shell = LocalShell(tmp_path)
    push_model(shell, OLD)
    assert _push_cut(shell, tmp_path / "tools", "dd")[0] == KILLED
    assert shell.files() == {_name(OLD): OLD, "current": OLD, f"{_name(NEW)}.tmp": NEW[:70_000]}
    push_model(shell, THIRD)
    assert shell.files() == {_name(OLD): OLD, _name(THIRD): THIRD, "current": THIRD, "previous": OLD}


def test_a_push_whose_connection_breaks_leaves_the_old_model(tmp_path: Path) -> None:
    shell = LocalShell(tmp_path)
    push_model(shell, OLD)
    done = shell.script(push_script(NEW), NEW[:-1], 60)
    assert done.returncode != 0
    assert shell.files() == {_name(OLD): OLD, "current": OLD}


class Saying:
    """A machine whose script ends in a given way."""

    title = "pi@board"

    def __init__(self, code: int, output: bytes = b"", errors: bytes = b"") -> None:
        self.done = subprocess.CompletedProcess("sh", code, output, errors)

    def script(self, text: str, data: bytes, seconds: float) -> subprocess.CompletedProcess[bytes]:
        return self.done


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        (Saying(4), "another push is going on there; try again"),
        (Saying(5), "what arrived is not what was sent; push again"),
        (Saying(1, b"", b"mkdir: Read-only file system\n"), "mkdir: Read-only file system; the old model stays"),
        (Saying(127), "the script ended with 127"),
        (Saying(0, b"something else"), "the script ended with 0"),
        (Saying(3, b"not a number"), "the script ended with 3"),
    ],
)
def test_what_stops_a_push_is_said(machine: Saying, message: str) -> None:
    with pytest.raises(DeviceError, match=f"cannot store 200,000 bytes on pi@board: {message}"):
        push_model(machine, OLD)


def test_a_full_disk_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    headings = "Filesystem 1024-blocks Used Available Capacity Mounted on"
    (tools / "df").write_text(f"#!/bin/sh\necho {headings}\necho /dev/root 5000 4000 1000 80% /\n")
    (tools / "df").chmod(0o755)
    shell = LocalShell(tmp_path, {"PATH": f"{tools}:{os.environ['PATH']}"})
    with pytest.raises(DoesNotFitError, match=r"1,000 KiB are free, 1,239 KiB are asked for; make room"):
        push_model(shell, OLD)
    assert shell.files() == {}
    assert needed_kib(0) == 1024


def test_two_pushes_at_once_do_not_meet(tmp_path: Path) -> None:
    shell = LocalShell(tmp_path)
    folder = tmp_path / ".local/share/edgeq"
    folder.mkdir(parents=True)
    with subprocess.Popen(["flock", str(folder / "lock"), "sh", "-c", "echo held; read answer"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:  # fmt: skip
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(DeviceError, match="another push is going on"):
            push_model(shell, OLD)
        holder.communicate(b"\n")
    push_model(shell, OLD)

# SPDX-License-Identifier: Apache-2.0
"""Whatever fails while a model is written, its file is absent, or the old one, or complete."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_calls import INT8, call, command_line, process_environment, spawn

CALLS = ((tempfile, "mkstemp"), (os, "fdopen"), (os, "fsync"), (os, "chmod"), (os, "replace"))


class _Faults:
    """Fails the n-th call that touches the disk, with the given error number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self.fail_at = 0
        self.error = errno.ENOSPC
        for module, name in CALLS:
            monkeypatch.setattr(module, name, self._wrap(getattr(module, name)))

    def _wrap(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls == self.fail_at:
                raise OSError(self.error, os.strerror(self.error))
            return real(*arguments, **options)

        return wrapped


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("complete")
    assert call("convert", INT8, "-o", folder / "m.eqm", "--quiet") == 0
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("old", [{}, {"m.eqm": b"old model", "m.recipe.toml": b"old recipe"}], ids=["absent", "old"])
def test_the_nth_write_fails(
    old: dict[str, bytes],
    complete: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    faults = _Faults(monkeypatch)
    for n in range(1, 51):
        for name in complete:
            (tmp_path / name).unlink(missing_ok=True)
        for name, data in old.items():
            (tmp_path / name).write_bytes(data)
        faults.calls, faults.fail_at, faults.error = 0, n, (errno.ENOSPC, errno.EIO, errno.EROFS)[n % 3]
        code = call("convert", INT8, "-o", tmp_path / "m.eqm", "--quiet")
        found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        if faults.calls < n:
            assert (code, found) == (0, complete)
            break
        assert code == 9
        assert str(tmp_path / "m.") in capsys.readouterr().err
        assert set(found) <= set(complete), "a temporary file was left"
        assert all(data in (old.get(name), complete[name]) for name, data in found.items())
    else:
        pytest.fail("convert touches the disk more often than was tried")
    assert n > 8


@pytest.mark.parametrize("limit", [0, 100, 4096, 12000])
def test_the_file_size_limit_is_reached(limit: int, tmp_path: Path) -> None:
    done = spawn(
        "convert", INT8, "-o", tmp_path / "m.eqm",
        prepare=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        environment={"PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 9
    assert "m.eqm" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_refused_conversion_leaves_the_old_model(tmp_path: Path) -> None:
    out = tmp_path / "m.eqm"
    out.write_bytes(b"old")
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(INT8.read_bytes()[:5000])
    assert call("convert", bad, "-o", out) == 8
    assert out.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.tflite", "m.eqm"]


@pytest.mark.parametrize("alias", ["same", "hard link", "symbolic link", "detour"])
def test_the_output_cannot_be_the_input(alias: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "m.tflite", tmp_path / "n.tflite"
    source.write_bytes(INT8.read_bytes())
    if alias == "same":
        out = source
    elif alias == "hard link":
        out.hardlink_to(source)
    elif alias == "symbolic link":
        out.symlink_to(source)
    else:
        out = tmp_path / ".." / tmp_path.name / "m.tflite"
    assert call("convert", source, "-o", out) == 1
    assert "also an input" in capsys.readouterr().err
    assert source.read_bytes() == INT8.read_bytes()


@pytest.mark.parametrize("name", ["a b", "line\nbreak", "æøå 漢字", "[bold]x", "%s{0}"])
def test_any_legal_path_works(name: str, complete: dict[str, bytes], tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    source, out = folder / f"{name}.tflite", folder / f"{name}.eqm"
    source.write_bytes(INT8.read_bytes())
    assert call("convert", source, "-o", out) == 0
    assert (folder / f"{name}.recipe.toml").read_bytes() == complete["m.recipe.toml"]
    assert call("verify", out, "--inputs", "1") == 0


@pytest.mark.slow
def test_a_kill_at_any_time_leaves_no_partial_output(complete: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "m.eqm"
    start = time.monotonic()
    assert spawn("convert", INT8, "-o", out).returncode == 0
    whole = time.monotonic() - start
    seed = 20
    moments = random.Random(seed)
    for attempt in range(20):
        out.unlink(missing_ok=True)
        process = subprocess.Popen(
            command_line("convert", INT8, "-o", out),
            env=process_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(whole * (0.5 + 0.6 * moments.random()))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not out.exists() or out.read_bytes() == complete["m.eqm"], f"seed {seed}, attempt {attempt}"


def test_two_conversions_at_once_leave_a_complete_model(complete: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "m.eqm"
    processes = [
        subprocess.Popen(command_line("convert", INT8, "-o", out, "--quiet"), env=process_environment())
        for _ in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == complete

# SPDX-License-Identifier: Apache-2.0
"""The page on microcontrollers: its commands run as written, on emulated boards behind a TCP port and a terminal."""

from __future__ import annotations

import os
import re
import select
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import typer
from needs import needs_program

from edgeq.board import board_names, load_board
from edgeq.cli import application
from edgeq.device.flashers import flasher_names

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "microcontrollers.md").read_text()
BLOCKS = re.findall(r"<!-- (run|board|background) -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
BOARD_URL = "socket://127.0.0.1:5556"  # of the board that stands in for the one on the desk
START_SECONDS = 120


def _environment(folder: Path) -> dict[str, str]:
    """Find the edgeq under test, and a pyocd that says what it would on success."""
    programs = folder / "programs"
    programs.mkdir()
    (programs / "pyocd").write_text("#!/bin/sh\necho programmed 4096 bytes\n")
    (programs / "pyocd").chmod(0o755)
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}


def _run(script: str, folder: Path, environment: dict[str, str]) -> None:
    ended = subprocess.run(
        ["bash", "-eu", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, f"{script}\n{ended.stdout}\n{ended.stderr}"


@contextmanager
def _started(command: str, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """Run a command that stays, from when it has said where the emulated board is."""
    process = subprocess.Popen(
        command.split(), cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    try:
        timer = threading.Timer(START_SECONDS, process.kill)
        timer.start()
        said = process.stdout.readline()
        timer.cancel()
        assert "is at socket://" in said, said + process.stdout.read()
        yield
    finally:
        process.terminate()
        process.communicate()


@contextmanager
def _terminal(url: str) -> Iterator[str]:
    """Give the name of a terminal behind which a TCP port is, as a serial board would be."""
    host, _, port = url.removeprefix("socket://").partition(":")
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    over = threading.Event()

    def pump() -> None:
        with socket.create_connection((host, int(port))) as line:
            while not over.is_set():
                for ready in select.select([line, ours], [], [], 0.01)[0]:
                    if ready is line:
                        os.write(ours, line.recv(4096))
                    else:
                        line.sendall(os.read(ours, 4096))

    thread = threading.Thread(target=pump)
    thread.start()
    try:
        yield os.ttyname(theirs)
    finally:
        over.set()
        thread.join()
        os.close(ours)
        os.close(theirs)


@pytest.mark.slow
def test_the_commands_run_in_order(tmp_path: Path) -> None:
    for program in ("qemu-system-arm", "arm-none-eabi-gcc", "bash"):
        needs_program(program)
    (tmp_path / "edgeq").mkdir()
    (tmp_path / "edgeq" / "demo_data").symlink_to(ROOT / "edgeq" / "demo_data")
    environment = _environment(tmp_path)
    assert [kind for kind, _ in BLOCKS] == ["run", "board", "background", "run", "run", "run"]
    with ExitStack() as stack:
        for kind, code in BLOCKS:
            if kind == "run":
                _run(code, tmp_path, environment)
                continue
            *first, last = code.splitlines() if kind == "background" else (code.splitlines()[0], "")
            _run("\n".join(first), tmp_path, environment)
            if kind == "background":
                stack.enter_context(_started(last, tmp_path, environment))
                continue
            emulated = f"edgeq flash firmware --flasher qemu --port {BOARD_URL}"
            with _started(emulated, tmp_path, environment), _terminal(BOARD_URL) as terminal:
                time.sleep(0.5)
                _run("\n".join(code.splitlines()[1:]).replace("/dev/ttyACM0", terminal), tmp_path, environment)


def test_every_command_and_option_of_the_page_exists() -> None:
    commands = typer.main.get_command(application()).commands  # type: ignore[attr-defined]
    named = re.findall(r"edgeq ([a-z]+)((?: [^\n`|,;]*)?)", PAGE)
    assert len(named) > 30
    for name, rest in named:
        if name not in commands:
            continue  # a sentence that begins a clause with edgeq
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= options, f"edgeq {name}{rest}"
    assert {"flash", "monitor", "push", "slots", "keys", "run", "verify", "profile", "build", "analyze"} <= {
        name for name, _ in named
    }


def test_every_microcontroller_and_way_of_flashing_is_named() -> None:
    boards = [load_board(name) for name in board_names()]
    rows = {board.name: f"| `{board.name}` |" for board in boards if board.kind == "firmware"}
    assert [name for name, row in rows.items() if row not in PAGE] == []
    assert [name for name in flasher_names() if f"| `{name}` |" not in PAGE] == []
    for board in boards:
        if board.kind == "firmware":
            row = PAGE[PAGE.index(rows[board.name]) :].partition("\n")[0].split("|")
            assert (bool(row[4].strip()), bool(row[5].strip())) == (bool(board.emulator), board.store is not None)
            assert row[6].strip() == f"`{board.flasher}`"

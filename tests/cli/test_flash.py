# SPDX-License-Identifier: Apache-2.0
"""edgeq flash: the board is asked whether it runs what was flashed; an emulated one is started."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from cli_calls import INT8, call, command_line, process_environment, report
from device.builds import write_build
from device.fake_device import FIXED_MODEL, SLOTS, FakeDevice, Slot
from needs import needs_program
from small_models import small_model

import edgeq
from edgeq.board import load_board
from edgeq.cli import _link
from edgeq.device import ports
from edgeq.device.firmware import build_firmware

MODEL = small_model()


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the micro:bit, a program that flashes it as pyocd would, and no board by itself."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "pyocd").write_text("#!/bin/sh\necho programmed 4096 bytes\n")
    (programs / "pyocd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(ports.usb_ports, "comports", list)
    monkeypatch.setattr(_link, "START_SECONDS", 0.0)
    return write_build(tmp_path / "firmware", "microbit", {"firmware.hex": b":00000001FF\n", "model.eqm": MODEL})


def _board(folder: Path, **values: object) -> FakeDevice:
    usual = {"board": "microbit", "features": FIXED_MODEL, "fixed_model": MODEL}
    return FakeDevice(folder / "board", **(usual | values))  # type: ignore[arg-type]


def test_the_board_is_asked_after_it_was_flashed(
    build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with _board(tmp_path) as device:
        assert call("flash", build, "--board", "microbit", "--port", device.path) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "pyocd programmed microbit",
        f"microbit answers at {device.path}: firmware 0.1.0 with digits",
    ]


def test_a_board_without_a_known_port_is_not_asked(build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("flash", build) == 0
    assert "microbit was not asked whether it runs: no serial port belongs to" in capsys.readouterr().out
    assert call("flash", build, "--quiet") == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"fixed_model": small_model(seed=1)}, "still runs older firmware: its model is not digits; press reset"),
        ({"fixed_model": b""}, "its model is not digits"),
        ({"features": SLOTS, "slots": [Slot(MODEL, 1, True)], "active": 0}, "its model is not digits"),
        ({"board": "pico"}, "answers as pico, not as microbit"),
    ],
)
def test_a_board_that_runs_something_else_is_a_failure(
    build: Path, tmp_path: Path, values: dict[str, object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with _board(tmp_path, **values) as device:
        assert call("flash", build, "--port", device.path) == 6
    assert said in capsys.readouterr().err


def test_firmware_with_slots_need_not_have_the_model(
    build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"firmware.hex": b":00000001FF\n", "model.eqm": MODEL}
    write_build(build, "microbit", files, slots=True)
    with _board(tmp_path, features=SLOTS) as device:
        assert call("flash", build, "--port", device.path) == 0
    assert "firmware 0.1.0 with slots for models" in capsys.readouterr().out
    with _board(tmp_path) as device:
        assert call("flash", build, "--port", device.path) == 6
    assert "still runs older firmware: it has no slots for models" in capsys.readouterr().err


def test_a_named_port_where_nobody_answers_is_a_failure(
    build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("flash", build, "--port", tmp_path / "gone") == 6
    assert "there is no port" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--board", "pico"], 1),
        (["--board", "no-such-board"], 1),
        (["--flasher", "dfu"], 1),
        (["--flasher", "uf2"], 8),
        (["--port", "/dev/ttyACM0", "--serial-number", "1"], 1),
    ],
)
def test_bad_uses(build: Path, arguments: list[str], code: int) -> None:
    assert call("flash", build, *arguments) == code


def test_a_missing_or_changed_folder(build: Path) -> None:
    assert call("flash", build / "none") == 9
    (build / "firmware.hex").write_bytes(b"changed")
    assert call("flash", build) == 8


def test_an_emulated_board_runs_until_it_is_interrupted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs_program("qemu-system-arm")
    board = load_board("mps2-an385")
    model = edgeq.convert(INT8, board=board.name)
    firmware = build_firmware(board, model.plan, model.data)
    folder = write_build(tmp_path / "fw", board.name, {"firmware.elf": firmware.elf, "model.eqm": model.data})
    process = subprocess.Popen(
        command_line("flash", folder), stdout=subprocess.PIPE, text=True, env=process_environment(),
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        first = process.stdout.readline()
        url = next(word for word in first.split() if word.startswith("socket://"))
        assert first == f"{board.name}, emulated, is at {url} until you press Ctrl-C; in another terminal:\n"
        found = report(capsys, "slots", "--port", url)
        assert (found["board"], found["fixed_model"], found["model"]["bytes"]) == (board.name, True, len(model.data))
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "error: interrupted\n")
    assert call("slots", "--port", url) == 6  # nothing is left running


@pytest.mark.parametrize("port", ["/dev/ttyACM0", "socket://example.org:5555", "socket://127.0.0.1:99999"])
def test_an_emulator_is_at_ports_of_this_machine_only(
    tmp_path: Path, port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_build(tmp_path / "fw", "mps2-an386", {"firmware.elf": b""})
    assert call("flash", folder, "--port", port) == 1
    assert "an emulator cannot be at" in capsys.readouterr().err
    assert call("flash", folder, "--serial-number", "1") == 1

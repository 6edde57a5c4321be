# SPDX-License-Identifier: Apache-2.0
"""Success is believed only from what ran: dead emulators, wrong markers and damaged results are failures."""

from __future__ import annotations

from pathlib import Path

import pytest
from device.plans import Program, program

from edgeq.board import load_board
from edgeq.device.device import connect
from edgeq.device.eqrun import EqrunDevice
from edgeq.device.machine import LocalMachine
from edgeq.device.toolchain import build_plugin, find_compiler
from edgeq.errors import DeviceError, ToolchainError

BOARD = load_board("raspberry-pi-4")
ENDED = "echo EQRUN ISA neon; echo EQRUN DONE crc="


def _emulator(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program in the emulator's place."""
    fake = folder / BOARD.emulator
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.fixture
def small() -> Program:
    return program()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 0", "without its end marker:\n.it printed nothing"),
        ("echo EQRUN DONE", "without its end marker"),
        ("echo 'EQRUN DONE crc=00000000'; echo more", "without its end marker"),
        ("echo 'say EQRUN DONE crc=00000000'", "without its end marker"),
        ("echo 'EQRUN DONE crc=00000000'", "without its end marker"),
        ("echo 'EQRUN ISA '; echo 'EQRUN DONE crc=00000000'", "without its end marker"),
        (f"{ENDED}00000000; exit 1", "exit code 1"),
        ("echo boom >&2; kill -SEGV $$", "killed by SIGSEGV"),
        (f"{ENDED}00000000", "left no file out"),
        (f"printf x > out; {ENDED}00000000", "damaged"),
        (f"printf x > out; {ENDED}8cdc1683", "1 bytes of results, 960 expected"),
    ],
)
def test_a_run_that_proves_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Program, script: str, message: str
) -> None:
    _emulator(tmp_path, monkeypatch, script)
    with EqrunDevice(BOARD, LocalMachine(BOARD), b"an executable") as device:
        device.load(small.plan, small.model)
        with pytest.raises(DeviceError, match=message) as caught:
            device.run(small.samples[0])
    assert caught.value.exit_code == 6
    assert "qemu-aarch64" in str(caught.value)


def test_a_missing_emulator_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match="qemu-aarch64, which is not installed; apt install qemu-user") as caught:
        connect(BOARD)
    assert caught.value.exit_code == 6


def test_a_missing_compiler_is_named_with_what_it_is_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _emulator(tmp_path, monkeypatch, "echo qemu-aarch64 version 7.2.0")
    monkeypatch.setenv("PATH", str(tmp_path))
    message = "no C compiler to build QEMU's instruction counter; apt install gcc"
    with pytest.raises(ToolchainError, match=message):
        build_plugin(str(tmp_path / BOARD.emulator))
    with pytest.raises(ToolchainError, match="no C compiler to build programs with; apt install gcc"):
        find_compiler(load_board("host"))


def test_an_emulator_that_never_ends_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _emulator(tmp_path, monkeypatch, "exec sleep 30")
    machine = LocalMachine(BOARD)
    with pytest.raises(DeviceError, match="did not finish within 0 s"):
        machine.run([machine.store(b"x", executable=True)], seconds=0.2)
    machine.close()


def test_a_damaged_profile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Program) -> None:
    _emulator(tmp_path, monkeypatch, f"echo '[' > profile; {ENDED}00000000")
    monkeypatch.setattr("edgeq.device.machine.build_plugin", lambda qemu: Path("count.so"))
    with EqrunDevice(BOARD, LocalMachine(BOARD), b"an executable") as device:
        device.load(small.plan, small.model)
        with pytest.raises(DeviceError, match="saw 0 markers"):
            device.profile(small.samples[0])

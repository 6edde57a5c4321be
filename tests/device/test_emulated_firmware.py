# SPDX-License-Identifier: Apache-2.0
"""Firmware in QEMU: the twin's integers on every machine, counts that do not vary, a store that outlives it."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from cli_calls import INT8, call
from device.emulators import emulated
from needs import needs_module, needs_program
from shared_files import shared

import edgeq
from edgeq.analysis.compare import random_inputs
from edgeq.board import board_names, load_board
from edgeq.device.cross import GCC
from edgeq.device.device import connect
from edgeq.device.emulated import EmulatedDevice
from edgeq.device.emulator import Emulator
from edgeq.device.firmware import build_firmware
from edgeq.errors import DeviceError, DoesNotFitError, ToolchainError, UsageError

MACHINES = [name for name in board_names() if load_board(name).emulator_machine]
STARTUP_INSTRUCTIONS = 20_000
WRAP = 6  # instructions of the interrupt of a system timer that wraps
INT8_MODELS = ("kws_ref", "vww_96", "resnet8", "ad01", "hello_world", "micro_speech", "person_detect", "str_ww")


def test_all_eight_machines_are_emulated() -> None:
    assert len(MACHINES) == 8


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_computes_the_twins_integers_step_by_step(name: str) -> None:
    model = edgeq.convert(INT8, board=name)
    *_, codes = random_inputs(model.plan, count=3, seed=7)
    expected = model.run_codes(codes, engine="reference", crcs=True)
    with emulated(name) as device:
        device.load(model.plan, model.data)
        found = device.run(codes, crcs=True)
        profile = device.profile(codes)
        again = device.profile(codes)
    assert found.step_crcs == expected.step_crcs
    assert all(np.array_equal(a, b) for a, b in zip(found.outputs, expected.outputs, strict=True))
    assert (profile.unit, profile.emulated, profile.board) == ("instructions", True, name)
    assert all(step.measures["instructions"] > 0 for step in profile.steps)
    for first, second in zip(profile.steps, again.steps, strict=True):
        # a tick of the system timer is at most two instructions, and one of the runs may see it wrap
        assert first.measures["instructions"] == pytest.approx(second.measures["instructions"], abs=2 + WRAP)
    assert 0 < profile.stack_bytes < load_board(name).stack_bytes
    assert profile.code_bytes > 0
    assert profile.runtime_bytes > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["microbit", "mps2-an386", "mps3-an547"])
def test_firmware_that_zig_compiled_computes_the_same(name: str) -> None:
    needs_module("ziglang")
    needs_program("qemu-system-arm")
    model = edgeq.convert(INT8, board=name)
    *_, codes = random_inputs(model.plan, count=3, seed=7)
    expected = model.run_codes(codes, engine="reference", crcs=True)
    with EmulatedDevice(load_board(name), toolchain="zig") as device:
        device.load(model.plan, model.data)
        found = device.run(codes, crcs=True)
    assert found.step_crcs == expected.step_crcs


@pytest.mark.slow
@pytest.mark.parametrize("model_name", INT8_MODELS)
@pytest.mark.parametrize("name", MACHINES)
def test_every_model_that_fits_computes_the_twins_integers(name: str, model_name: str) -> None:
    path = shared(f"models/{model_name}_int8.tflite")
    try:
        model = edgeq.convert(path, board=name)
    except DoesNotFitError:
        assert min(load_board(name).region("ram").bytes, load_board(name).region("flash").bytes) < 600_000
        return
    *_, codes = random_inputs(model.plan, count=3, seed=7)
    expected = model.run_codes(codes, engine="reference", crcs=True)
    with emulated(name) as device:
        device.load(model.plan, model.data)
        found = device.run(codes, crcs=True)
    assert found.step_crcs == expected.step_crcs
    assert all(np.array_equal(a, b) for a, b in zip(found.outputs, expected.outputs, strict=True))


def test_the_start_takes_few_instructions(tmp_path: Path) -> None:
    qemu, _ = needs_program("qemu-system-arm"), needs_program(GCC)
    board = load_board("mps2-an386")
    model = edgeq.convert(INT8, board=board.name)
    kernel, log = tmp_path / "firmware.elf", tmp_path / "log"
    kernel.write_bytes(build_firmware(board, model.plan, model.data).elf)
    command = [qemu, "-machine", board.emulator_machine, "-display", "none", "-monitor", "none", "-serial", "null"]
    command += ["-kernel", str(kernel), "-singlestep", "-d", "exec,nochain", "-D", str(log)]
    with subprocess.Popen(command) as process:
        seen, executed = -1, 0
        while executed == 0 or seen != executed:  # until it sleeps
            time.sleep(0.5)
            seen, executed = executed, log.read_text().count("Trace ") if log.exists() else 0
        process.kill()
    assert 1_000 < executed < STARTUP_INSTRUCTIONS


def test_run_shows_outputs_layers_and_memory_without_any_file(capsys: pytest.CaptureFixture[str]) -> None:
    needs_program(GCC)
    assert call("run", INT8, "--board", "mps2-an386") == 0
    shown = capsys.readouterr().out
    assert "random codes with seed 0" in shown
    assert "mps2-an386, emulated" in shown
    assert re.search(r"output \S+ +-?[\d.]+ ", shown)
    assert re.search(r"instructions +min [\d,]+", shown)
    assert "arena" in shown
    assert "stem" in shown


def _run_until_it_ends(name: str, elf: bytes) -> None:
    """Run firmware whose core locks up, a little before or after QEMU answers first."""
    with Emulator(load_board(name), elf) as emulator:
        for _ in range(1000):
            emulator.check()
            time.sleep(0.01)


def test_an_emulator_ends_with_its_context_and_says_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    needs_program("qemu-system-arm")
    with Emulator(load_board("mps2-an386"), _idle_firmware("mps2-an386"), store=tmp_path / "store") as emulator:
        emulator.check()
        process = emulator._process.pid
        assert emulator.url.startswith("socket://127.0.0.1:")
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    with pytest.raises(DeviceError, match=r"mps2-an386 ended \(exit code -9\)"):
        emulator.check()
    with pytest.raises(DeviceError, match="there is no emulator for pico; connect the board"):
        Emulator(load_board("pico"), b"")
    with pytest.raises(DeviceError, match="mps2-an386 "):
        _run_until_it_ends("mps2-an386", b"")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolchainError, match="qemu-system-arm is not installed; apt install qemu-system-arm"):
        Emulator(load_board("mps2-an386"), b"")


@pytest.mark.parametrize("name", ["mps2-an386", "mps2-an505", "microbit"])
def test_what_the_store_holds_outlives_the_emulator(name: str, tmp_path: Path) -> None:
    needs_program("qemu-system-arm")
    board, store = load_board(name), tmp_path / "store"
    assert board.store is not None
    start = 0 if name == "microbit" else board.store.origin - board.region("backed").origin
    for _ in range(2):  # made, then found
        with Emulator(board, _idle_firmware(name), store=store) as emulator:
            held = tmp_path / "held"
            emulator.call("memsave", val=board.store.origin, size=board.store.bytes, filename=str(held))
        assert held.read_bytes() == store.read_bytes()[start : start + board.store.bytes]
        with store.open("r+b") as file:
            file.seek(start + 5000)
            file.write(b"kept")
    assert held.read_bytes().count(b"kept") == 1
    assert held.read_bytes().count(b"\xff") == board.store.bytes - 4


def test_a_microcontroller_is_reached_by_a_port_and_has_no_ssh() -> None:
    board = load_board("mps2-an386")
    with pytest.raises(UsageError, match="mps2-an386 has no SSH server; name the serial port"):
        connect(board, ssh="pi@nowhere")
    with pytest.raises(UsageError, match="mps2-an386 runs a model on one core; leave out --threads"):
        connect(board, threads=2)
    with pytest.raises(UsageError, match="raspberry-pi-4 is not reached by a serial port; name it with --ssh"):
        connect(load_board("raspberry-pi-4"), port="/dev/ttyACM0")
    with pytest.raises(DeviceError, match=r"there is no emulator for pico; edgeq build M --board pico"):
        connect(load_board("pico"))


def _idle_firmware(name: str) -> bytes:
    """Return an ELF file whose one segment, at the start of flash, is a vector table and a loop that sleeps."""
    start = load_board(name).region("flash").origin
    stack = load_board(name).region("ram").end
    code = struct.pack("<2I2H", stack, start + 9, 0xBF30, 0xE7FD)
    header = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIIIIIHHHHHH", 2, 40, 1, start + 9, 52, 0, 0, 52, 32, 1, 40, 0, 0)
    return header + struct.pack("<8I", 1, 84, start, start, len(code), len(code), 5, 4) + code

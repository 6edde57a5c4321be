# SPDX-License-Identifier: Apache-2.0
"""The board profiles."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgeq import board as board_module
from edgeq.board import board_names, load_board
from edgeq.device.toolchain import FAMILIES
from edgeq.errors import InternalError, UsageError
from edgeq.paths import native_dir

LINUX = [name for name in board_names() if load_board(name).kind == "linux"]
FIRMWARE = [name for name in board_names() if load_board(name).kind == "firmware"]
MICROCONTROLLERS = {
    "microbit": "cortex-m0",
    "pico": "cortex-m0plus",
    "pico-2": "cortex-m33",
    "nrf52840-dk": "cortex-m4",
    "nucleo-f446re": "cortex-m4",
    "nucleo-l4r5zi": "cortex-m4",
    "nucleo-h743zi": "cortex-m7",
    "stm32vldiscovery": "cortex-m3",
    "netduinoplus2": "cortex-m4",
    "mps2-an385": "cortex-m3",
    "mps2-an386": "cortex-m4",
    "mps2-an500": "cortex-m7",
    "mps2-an505": "cortex-m33",
    "mps3-an547": "cortex-m55",
}
ISAS = {
    "cortex-m0": "armv6-m",
    "cortex-m0plus": "armv6-m",
    "cortex-m3": "armv7-m",
    "cortex-m4": "armv7e-m",
    "cortex-m7": "armv7e-m",
    "cortex-m33": "armv8-m.main",
    "cortex-m55": "armv8.1-m.main",
}
DESIGNED = {
    "raspberry-pi-zero": "arm1176",
    "raspberry-pi-2": "cortex-a7",
    "raspberry-pi-zero-2w": "cortex-a53",
    "raspberry-pi-3": "cortex-a53",
    "raspberry-pi-4": "cortex-a72",
    "raspberry-pi-5": "cortex-a76",
}


def test_every_raspberry_pi_is_there_with_its_core() -> None:
    assert {name: load_board(name).emulator_cpu for name in LINUX if name.startswith("raspberry")} == DESIGNED


def test_every_microcontroller_is_there() -> None:
    assert set(FIRMWARE) == set(MICROCONTROLLERS)


@pytest.mark.parametrize("name", LINUX)
def test_a_linux_board_is_complete(name: str) -> None:
    board = load_board(name)
    assert board.isa in FAMILIES
    assert board.emulator == ("qemu-aarch64" if board.isa == "aarch64" else "qemu-arm")
    assert board.title
    assert len(board.source) > 20
    assert board.cores in (1, 4)
    assert board.clock_hz is not None
    assert 700_000_000 <= board.clock_hz <= 2_400_000_000
    assert board.ram_bytes is not None
    assert board.ram_bytes % (512 << 20) == 0
    assert board.board_class > 0
    assert board.peak_macs_per_cycle in ((8, 32) if board.isa == "aarch64" else (None,))


@pytest.mark.parametrize("name", FIRMWARE)
def test_a_firmware_board_is_complete(name: str) -> None:
    board = load_board(name)
    assert board.cpu == MICROCONTROLLERS[name]
    assert board.isa == ISAS[board.cpu]
    assert (native_dir() / "port" / board.port).is_dir()
    assert board.board_class >= 16
    assert board.ram_bytes == board.region("ram").bytes
    assert board.flasher in ("uf2", "pyocd", "stm32loader", "qemu")
    assert bool(board.pyocd_target) == (board.flasher == "pyocd" or board.port == "rp2")
    assert board.emulator == ("qemu-system-arm" if board.emulator_machine else "")
    assert board.emulator_machine or board.flasher != "qemu"
    assert all(re.fullmatch("[0-9a-f]{4}:[0-9a-f]{4}(/[0-9a-f]+)?", known) for known in board.usb)
    assert len(board.source) > 20
    assert board.clock_hz is not None


@pytest.mark.parametrize("name", FIRMWARE)
def test_memories_of_a_firmware_board_do_not_overlap_save_a_store_in_flash(name: str) -> None:
    board = load_board(name)
    flash, ram, store = board.region("flash"), board.region("ram"), board.store
    assert flash.end <= ram.origin or ram.end <= flash.origin
    if store is not None:
        assert ram.end <= store.origin or store.end <= ram.origin
        assert (
            store.end <= flash.origin
            or flash.end <= store.origin
            or flash.origin < store.origin < store.end == flash.end
        )
        assert store.origin % store.page_bytes == 0
        assert store.page_bytes % store.write_bytes == 0
        # two slots, each of a header's page and at least one more
        assert store.bytes % (2 * store.page_bytes) == 0
        assert store.bytes >= 4 * store.page_bytes


def test_a_memory_that_is_not_there_is_named() -> None:
    assert load_board("nucleo-f446re").store is None
    with pytest.raises(InternalError, match=r"board nucleo-f446re has no memory called 'store'"):
        load_board("nucleo-f446re").region("store")


@pytest.mark.parametrize("names", [LINUX, FIRMWARE])
def test_boards_of_one_isa_share_a_class(names: list[str]) -> None:
    classes = {(load_board(name).isa, load_board(name).board_class) for name in names}
    assert len(classes) == len({isa for isa, _ in classes}) == len({code for _, code in classes})


def test_the_host_is_any_class_and_has_no_emulator() -> None:
    host = load_board("host")
    assert (host.kind, host.board_class, host.emulator, host.ram_bytes) == ("host", 0, "", None)


def test_an_unknown_board_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no board 'raspberry-pi-9'.*raspberry-pi-4"):
        load_board("raspberry-pi-9")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('title = "x"\nspeed = 3\n', "keys that nothing reads: speed"),
        ('title = "x"\n', "missing"),
        ('title = "x"\nkind = "toaster"\ncpu = "x"\nisa = "x"\nsource = "x"\n', "kind is 'toaster'"),
    ],
)
def test_a_wrong_profile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str) -> None:
    (tmp_path / "odd.toml").write_text(text)
    monkeypatch.setattr(board_module, "boards_dir", lambda: tmp_path)
    with pytest.raises(InternalError, match=message):
        load_board("odd")

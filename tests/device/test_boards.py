# SPDX-License-Identifier: Apache-2.0
"""The board profiles."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeq import board as board_module
from edgeq.board import board_names, load_board
from edgeq.device.toolchain import FAMILIES
from edgeq.errors import InternalError, UsageError

LINUX = [name for name in board_names() if load_board(name).kind == "linux"]
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


def test_boards_of_one_isa_share_a_class() -> None:
    classes = {(load_board(name).isa, load_board(name).board_class) for name in LINUX}
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

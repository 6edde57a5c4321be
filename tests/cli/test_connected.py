# SPDX-License-Identifier: Apache-2.0
"""edgeq without a command lists what is connected; doctor says what stands between the user and a board."""

from __future__ import annotations

import grp
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from cli_calls import call, report

from edgeq.device import ports
from edgeq.device.flashers import uf2

Plug = Callable[[str, str, str], None]


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Plug:
    """Return a function that makes a port appear: device, USB identity, product."""
    found: list[SimpleNamespace] = []
    monkeypatch.setattr(ports.usb_ports, "comports", lambda: found)

    def add(device: str, usb_id: str, product: str) -> None:
        vid, pid = (int(part, 16) for part in usb_id.split(":"))
        found.append(SimpleNamespace(device=device, vid=vid, pid=pid, serial_number="7", product=product))

    return add


def _shown(capsys: pytest.CaptureFixture[str]) -> str:
    assert call() == 0
    return capsys.readouterr().out


def test_nothing_connected(plug: Plug, capsys: pytest.CaptureFixture[str]) -> None:
    assert _shown(capsys).startswith("No board is connected by USB.\n")


def test_a_connected_board_and_its_next_commands(plug: Plug, capsys: pytest.CaptureFixture[str]) -> None:
    plug("/dev/ttyACM4", "1366:1015", "J-Link")
    shown = _shown(capsys)
    assert "  /dev/ttyACM4 (J-Link, USB 1366:1015, serial number 7): nrf52840-dk\n" in shown
    assert "edgeq build MODEL --board nrf52840-dk -o DIR" in shown
    assert "edgeq run MODEL --port /dev/ttyACM4" in shown


def test_a_probe_of_several_boards_and_an_unknown_device(plug: Plug, capsys: pytest.CaptureFixture[str]) -> None:
    plug("/dev/ttyACM0", "0483:374b", "STM32 STLink")
    plug("/dev/ttyUSB0", "10c4:ea60", "CP2102")
    shown = _shown(capsys)
    assert "nucleo-f446re or nucleo-h743zi or nucleo-l4r5zi\n" in shown
    assert "CP2102, USB 10c4:ea60, serial number 7): no board that edgeq knows" in shown
    assert "edgeq build MODEL --board BOARD -o DIR" in shown


def test_a_board_that_waits_for_firmware(
    plug: Plug, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "INFO_UF2.TXT").write_text("Board-ID: RPI-RP2\r\n")
    (tmp_path / "mounts").write_text(f"/dev/sdz1 {tmp_path} vfat rw 0 0\n")
    monkeypatch.setattr(uf2, "MOUNTS", tmp_path / "mounts")
    shown = _shown(capsys)
    assert f"  {tmp_path} (drive RPI-RP2): a board that waits for firmware\n" in shown
    assert "edgeq flash DIR " in shown


def _check(capsys: pytest.CaptureFixture[str], name: str) -> dict[str, object]:
    return next(check for check in report(capsys, "doctor")["checks"] if check["name"] == name)


def test_doctor_lists_ports_and_the_programs_for_microcontrollers(
    plug: Plug, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (_check(capsys, "serial ports")["found"], _check(capsys, "port access")["found"]) == (False, True)
    plug("/dev/null", "1366:1015", "J-Link")
    assert _check(capsys, "serial ports")["detail"] == "/dev/null (J-Link, USB 1366:1015, serial number 7)"
    names = {check["name"] for check in report(capsys, "doctor")["checks"]}
    assert {"arm-none-eabi-gcc", "qemu-system-arm", "pyocd", "stm32loader"} <= names


def test_doctor_names_the_group_that_is_missing(
    plug: Plug, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plug("/dev/no-such-port", "1366:1015", "J-Link")  # which nobody may open
    monkeypatch.setattr("edgeq.analysis.environment.permission_hint", lambda device: f"what opens {device}")
    access = _check(capsys, "port access")
    assert (access["found"], access["hint"]) == (False, "/dev/no-such-port: what opens /dev/no-such-port")


def test_doctor_looks_for_the_group_before_a_board_is_plugged_in(
    plug: Plug, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    groups = [SimpleNamespace(gr_name="dialout", gr_gid=20), SimpleNamespace(gr_name="users", gr_gid=100)]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(grp, "getgrall", lambda: groups)
    monkeypatch.setattr(os, "getgroups", lambda: [100])
    assert _check(capsys, "port access")["hint"] == "sudo usermod -aG dialout $USER, then log out and in"
    monkeypatch.setattr(os, "getgroups", lambda: [100, 20])
    assert _check(capsys, "port access")["detail"] == "dialout"

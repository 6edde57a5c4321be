# SPDX-License-Identifier: Apache-2.0
"""Which serial port is meant, and what stands in the way of opening it."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import serial
from cli_calls import process_environment
from device.terminals import serial_port

from edgeq.device import ports
from edgeq.device.ports import choose_port, holders, list_ports, open_port, permission_hint
from edgeq.errors import DeviceError, UsageError

Plug = Callable[..., None]


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Plug:
    """Return a function that makes a serial port appear: device, USB identity, serial number, product."""
    found: list[SimpleNamespace] = []
    monkeypatch.setattr(ports.usb_ports, "comports", lambda: found)

    def add(device: str, usb_id: str = "", serial_number: str | None = None, product: str | None = None) -> None:
        vid, pid = (int(part, 16) for part in usb_id.split(":")) if usb_id else (None, None)
        found.append(SimpleNamespace(device=device, vid=vid, pid=pid, serial_number=serial_number, product=product))

    return add


@pytest.fixture
def terminal() -> Iterator[str]:
    with serial_port() as name:
        yield name


def test_the_only_port_of_a_board_is_chosen_and_the_reason_named(plug: Plug) -> None:
    plug("/dev/ttyS0")
    plug("/dev/ttyUSB0", "10c4:ea60", "0001", "CP2102 USB to UART Bridge Controller")
    plug("/dev/ttyACM3", "1366:1015", "000683", "J-Link")
    chosen = choose_port(board="nrf52840-dk")
    assert (chosen.url, chosen.board) == ("/dev/ttyACM3", "nrf52840-dk")
    assert chosen.why == "the only port of a board nrf52840-dk: J-Link, USB 1366:1015, serial number 000683"
    assert choose_port().url == "/dev/ttyACM3"


def test_ports_of_known_boards_come_first(plug: Plug) -> None:
    plug("/dev/ttyS0")
    plug("/dev/ttyUSB0", "10c4:ea60", "0001", "CP2102")
    plug("/dev/ttyACM3", "1366:1015", "000683", "J-Link")
    assert [(port.device, port.boards) for port in list_ports()] == [
        ("/dev/ttyACM3", ("nrf52840-dk",)),
        ("/dev/ttyUSB0", ()),
        ("/dev/ttyS0", ()),
    ]
    assert str(list_ports()[2]) == "/dev/ttyS0 (no USB device)"


def test_two_boards_of_a_kind_are_told_apart_by_serial_number(plug: Plug) -> None:
    plug("/dev/ttyACM0", "1366:1015", "000683", "J-Link")
    plug("/dev/ttyACM1", "1366:1015", "000777", "J-Link")
    with pytest.raises(DeviceError, match=r"2 serial ports may belong .*ttyACM0.*000683.*ttyACM1.*000777.*--serial"):
        choose_port(board="nrf52840-dk")
    assert choose_port(board="nrf52840-dk", serial_number="000777").url == "/dev/ttyACM1"
    with pytest.raises(DeviceError, match=r"serial number 000778; there are .*000683"):
        choose_port(serial_number="000778")


def test_one_debug_probe_of_many_boards_leaves_the_board_open(plug: Plug) -> None:
    plug("/dev/ttyACM0", "0483:374b", "066B", "STM32 STLink")
    chosen = choose_port()
    assert (chosen.url, chosen.board) == ("/dev/ttyACM0", "")
    assert choose_port(board="nucleo-f446re").board == "nucleo-f446re"


def test_two_ports_of_one_device_with_a_named_serial_number_are_still_ambiguous(plug: Plug) -> None:
    plug("/dev/ttyACM0", "1366:1051", "000683", "J-Link")
    plug("/dev/ttyACM1", "1366:1051", "000683", "J-Link")
    with pytest.raises(DeviceError, match=r"ttyACM0.*ttyACM1.*say which with --port$"):
        choose_port(serial_number="000683")


def test_the_second_generation_of_the_microbit_is_no_microbit(plug: Plug) -> None:
    plug("/dev/ttyACM0", "0d28:0204", "9904360254", "BBC micro:bit CMSIS-DAP")
    with pytest.raises(DeviceError, match="no serial port belongs to a board microbit; there are /dev/ttyACM0"):
        choose_port(board="microbit")
    plug("/dev/ttyACM1", "0d28:0204", "9901360254", "BBC micro:bit CMSIS-DAP")
    assert choose_port(board="microbit").url == "/dev/ttyACM1"


def test_nothing_plugged_in_says_what_to_do(plug: Plug) -> None:
    with pytest.raises(DeviceError, match=r"^no serial port belongs to a board pico; plug the board in, or name"):
        choose_port(board="pico")


def test_a_named_port_is_taken_as_it_is(plug: Plug) -> None:
    assert choose_port(port="socket://127.0.0.1:5555", board="microbit").url == "socket://127.0.0.1:5555"
    with pytest.raises(UsageError, match="give one of them"):
        choose_port(port="/dev/ttyACM0", serial_number="1")


def test_texts_of_a_device_cannot_reach_the_terminal(plug: Plug) -> None:
    plug("/dev/ttyACM0", "1366:1015", "1\x1b[31m", "J" * 500 + "\n")
    (port,) = list_ports()
    assert port.serial_number == "1[31m"
    assert port.product == "J" * 60


def test_a_device_that_vanishes_while_ports_are_listed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([TypeError("int() can't convert None"), OSError(errno.ENODEV, "gone"), []])

    def comports() -> list[object]:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(ports.usb_ports, "comports", comports)
    assert list_ports() == []


def test_a_port_is_opened_once_and_the_holder_named(terminal: str) -> None:
    with open_port(terminal):
        code = f"from edgeq.device.ports import open_port; open_port({terminal!r})"
        second = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=process_environment(), check=False
        )
    assert f"DeviceError: {terminal} is in use by" in second.stderr
    assert f"(process {os.getpid()})" in second.stderr
    open_port(terminal).close()


def test_holders_are_processes_that_have_the_device_open(terminal: str) -> None:
    assert holders(terminal) == []
    with Path(terminal).open("rb", buffering=0) as file:
        other = subprocess.Popen(["sleep", "60"], stdin=file)
    try:
        assert holders(terminal) == [f"sleep (process {other.pid})"]
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/dev/no-such-port", r"^there is no port /dev/no-such-port; there are /dev/ttyACM7.*; plug the board in"),
        ("foo://x", "'foo://x' is no port: .*give a device such as"),
        ("/tmp", "^/tmp is not a serial port"),
        ("/dev/null", "^/dev/null is not a serial port"),
        ("socket://127.0.0.1:1", "^cannot open socket://127.0.0.1:1: .*refused"),
    ],
)
def test_what_cannot_be_opened_is_explained(plug: Plug, url: str, said: str) -> None:
    plug("/dev/ttyACM7", "1366:1015")
    with pytest.raises(DeviceError, match=said):
        open_port(url)


def test_a_denied_port_says_whose_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def denied(*_: object, **__: object) -> None:
        raise serial.SerialException(errno.EACCES, "could not open port")

    monkeypatch.setattr(serial, "serial_for_url", denied)
    monkeypatch.setattr(ports, "permission_hint", lambda device: f"whose {device} is")
    with pytest.raises(DeviceError, match=r"^cannot open /dev/ttyACM0: permission denied; whose /dev/ttyACM0 is$"):
        open_port("/dev/ttyACM0")


@pytest.mark.parametrize(
    ("owner", "session", "members", "said"),
    [
        (20, [100], [], r"group dialout, which ann is not in; sudo usermod -aG dialout ann, then log out"),
        (20, [100], ["ann"], "ann is in its group dialout, but this session began before that; log out and in"),
        (20, [100, 20], ["ann"], "its group dialout, which ann is in, may not write to it; sudo chmod g"),
        (0, [100], [], "it belongs to root; sudo chmod"),
        (4711, [100], [], "group number 4711, which has no name here"),
    ],
)
def test_permission_is_mended_by_the_right_command(
    monkeypatch: pytest.MonkeyPatch, owner: int, session: list[int], members: list[str], said: str
) -> None:
    groups = {20: "dialout", 0: "root"}
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_name="ann"))
    monkeypatch.setattr(os, "getgroups", lambda: session)
    monkeypatch.setattr(Path, "stat", lambda path: SimpleNamespace(st_gid=owner))
    monkeypatch.setattr(grp, "getgrgid", lambda gid: SimpleNamespace(gr_name=groups[gid], gr_gid=gid, gr_mem=members))
    hint = permission_hint("/dev/ttyACM0")
    monkeypatch.undo()
    assert re.search(said, hint), hint

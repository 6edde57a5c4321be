# SPDX-License-Identifier: Apache-2.0
"""A port with something else behind it: one clear line within five seconds."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import tty
from collections.abc import Callable

import numpy as np
import pytest
from cli_calls import call
from device.link_peer import Line, Peer

from edgeq.device.link.client import LinkClient
from edgeq.device.link.strangers import describe_stranger
from edgeq.device.link.transport import open_transport
from edgeq.errors import DeviceError

SECONDS = 5


class Chatter(Line):
    """A line on which something arrives all the time, whatever is sent."""

    def __init__(self, speak: Callable[[], bytes]) -> None:
        super().__init__(lambda data: b"")
        self._speak = speak

    def read(self, seconds: float) -> bytes:
        self._now += min(seconds, 0.002)
        return self._speak() if seconds > 0 else b""


def _linux(data: bytes) -> bytes:
    return data.replace(b"\x00", b"^@") + b"\r\n\r\nDebian GNU/Linux 12 raspberrypi ttyS0\r\n\r\nraspberrypi login: "


def _shell(data: bytes) -> bytes:
    return data.replace(b"\x00", b"") + b"\x1b[?2004hpi@raspberrypi:~$ "


def _zephyr(data: bytes) -> bytes:
    return b"\x1b[1;32muart:~$ \x1b[m\x1b[8D\x1b[J" if b"\r" in data else b""


def _modem(data: bytes) -> bytes:
    return b"AT\r\r\nERROR\r\n" if b"\r" in data else b""


def _python(data: bytes) -> bytes:
    return b"\r\n>>> " if b"\r" in data else b""


def _other_speed(data: bytes) -> bytes:
    """What a device's replies look like when each bit is sampled at another time."""
    return bytes(byte << 3 & 0xFF | 0x80 for byte in Peer().feed(data))


CASES: dict[str, tuple[Line, str]] = {
    "silence": (Line(lambda data: b""), "nothing was received; is the board powered"),
    "an echo": (Line(lambda data: data), "only what was sent came back"),
    "a login": (Line(_linux), r'a Linux console: ".*raspberrypi login:"'),
    "a shell": (Line(_shell), "a Linux console"),
    "Zephyr": (Line(_zephyr), r'a Zephyr shell: "uart:~\$'),
    "a modem": (Line(_modem), r'a modem that takes AT commands: "ERROR"'),
    "a Python prompt": (Line(_python), "a Python prompt"),
    "another speed": (Line(_other_speed), "another speed than 115200 bit/s"),
    "random bytes": (Chatter(lambda: np.random.default_rng(1).bytes(64)), "bytes arrived that are no frames"),
    "text without end": (Chatter(lambda: b"temperature 21.5\r\n"), 'some other program sends text: "temperature 21.5'),
    "zeros": (Chatter(lambda: bytes(100)), "nothing was received"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_answers_instead_of_a_device_is_told(name: str) -> None:
    line, expected = CASES[name]
    with pytest.raises(DeviceError, match=f"^no edgeq device answered on the line: .*{expected}") as caught:
        LinkClient(line).hello()
    assert line.now() <= SECONDS
    assert str(caught.value).isprintable()
    assert caught.value.exit_code == 6


def test_a_device_that_speaks_late_is_found() -> None:
    started = False

    def slow(data: bytes) -> bytes:
        nonlocal started
        started = started or b"\r\n" in data
        return peer.feed(data) if started else b"\xf0boot\x00"

    peer = Peer()
    assert LinkClient(Line(slow)).hello().board == "host"


def test_what_was_received_is_shown_short_and_escaped() -> None:
    told = describe_stranger(b"\x1b]0;evil\x07" + b"text " * 1000, b"", speed=None)
    assert told.isprintable()
    assert len(told) < 200


def test_random_bytes_on_a_real_terminal_are_given_up_within_five_seconds() -> None:
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    ended = threading.Event()

    def speak() -> None:
        rng = np.random.default_rng(7)
        os.set_blocking(ours, False)
        while not ended.wait(0.005):
            with contextlib.suppress(BlockingIOError):
                os.write(ours, rng.bytes(50))

    speaker = threading.Thread(target=speak)
    speaker.start()
    transport = open_transport(os.ttyname(theirs))
    try:
        started = time.monotonic()
        with pytest.raises(DeviceError, match=r"no edgeq device answered on /dev/pts/.*no frames"):
            LinkClient(transport).hello()
        assert time.monotonic() - started < SECONDS
    finally:
        transport.close()
        ended.set()
        speaker.join()
        os.close(ours)
        os.close(theirs)


def test_a_command_ends_with_one_line_and_exit_code_six(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        code = call("slots", "--port", f"socket://127.0.0.1:{listener.getsockname()[1]}")
    out, err = capsys.readouterr()
    assert (code, out) == (6, "")
    assert len(err.strip().splitlines()) == 1
    assert "no edgeq device answered on socket://127.0.0.1:" in err

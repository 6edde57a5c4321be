# SPDX-License-Identifier: Apache-2.0
"""Byte streams that the link runs over: whatever pyserial opens, and the pipes of a program such as ssh."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import Protocol

import serial

from edgeq.device.ports import open_port
from edgeq.errors import DeviceError, ToolchainError

READ_BYTES = 4096
BITS_PER_BYTE = 10  # on a serial line, start and stop bits among them
POLL_SECONDS = 0.001  # where waiting for a byte is not possible
WRITE_SECONDS = 10  # after which a line that takes no bytes counts as dead
END_SECONDS = 5  # for a program to end by itself


class Transport(Protocol):
    """A stream of bytes to a device and back, with the clock that its time is measured by."""

    @property
    def name(self) -> str:
        """What a message calls it, e.g. "/dev/ttyACM0"."""

    @property
    def speed(self) -> int | None:
        """Bits per second of the line, None where that means nothing."""

    def now(self) -> float:
        """Return seconds on a clock that never goes back."""

    def write(self, data: bytes) -> None:
        """Send all bytes. Raises DeviceError when the stream has ended."""

    def read(self, seconds: float) -> bytes:
        """Return what has arrived, after waiting at most so long for it, b"" for nothing.

        Raises DeviceError when the stream has ended.
        """

    def close(self) -> None:
        """Let go of the stream; doing it twice is no error."""


class SerialTransport:
    """A port that pyserial has opened: a device, a pseudo terminal, socket:// or rfc2217://."""

    def __init__(self, url: str, port: serial.SerialBase) -> None:
        self.name = url
        self._port = port
        self._selectable = _selectable(port)

    @property
    def speed(self) -> int | None:
        return int(self._port.baudrate) if "://" not in self.name or self.name.startswith("rfc2217:") else None

    def now(self) -> float:
        return time.monotonic()

    def write(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except (serial.SerialException, OSError) as error:
            raise self._gone(error) from None

    def read(self, seconds: float) -> bytes:
        try:
            return self._read(max(seconds, 0))
        except (serial.SerialException, OSError, TypeError) as error:  # a port closed meanwhile gives a TypeError
            raise self._gone(error) from None

    def close(self) -> None:
        with contextlib.suppress(serial.SerialException, OSError):
            self._port.close()

    def _read(self, seconds: float) -> bytes:
        if self._selectable:
            if not select.select([self._port], [], [], seconds)[0]:
                return b""
            return bytes(self._port.read(READ_BYTES))
        deadline = self.now() + seconds
        while not self._port.in_waiting:
            if self.now() >= deadline:
                return b""
            time.sleep(POLL_SECONDS)
        data = bytearray()
        while waiting := self._port.in_waiting:
            data += self._port.read(min(waiting, READ_BYTES))
        return bytes(data)

    def _gone(self, error: Exception) -> DeviceError:
        return DeviceError(f"{self.name} went away: {error}", hint="plug it in again and repeat the command")


class PipeTransport:
    """Standard input and output of a program that ends when its input does."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        """Start the program. Raises ToolchainError when there is none of that name."""
        self.name = name
        self.speed: int | None = None
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the program
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._messages, start_new_session=True
            )
        except OSError as error:
            self._messages.close()
            raise ToolchainError(f"cannot start {command[0]}: {error.strerror}") from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        os.set_blocking(self._to.fileno(), False)

    def now(self) -> float:
        return time.monotonic()

    def write(self, data: bytes) -> None:
        try:
            while data:
                if not select.select([], [self._to], [], WRITE_SECONDS)[1]:
                    raise DeviceError(f"{self.name} takes no bytes")
                data = data[os.write(self._to.fileno(), data) :]
        except (OSError, ValueError):
            raise self._ended() from None

    def read(self, seconds: float) -> bytes:
        try:
            if not select.select([self._from], [], [], max(seconds, 0))[0]:
                return b""
            data = os.read(self._from.fileno(), READ_BYTES)
        except (OSError, ValueError):
            raise self._ended() from None
        if not data:
            raise self._ended()
        return data

    def close(self) -> None:
        if self._messages.closed:
            return
        with contextlib.suppress(OSError):
            self._to.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._from.close()
        self._messages.close()

    def _ended(self) -> DeviceError:
        if self._messages.closed:
            return DeviceError(f"{self.name} is closed")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        self._messages.seek(0)
        said = self._messages.read().decode(errors="replace").strip().splitlines()
        why = said[-1] if said else f"exit code {self._process.returncode}"
        return DeviceError(f"the connection to {self.name} ended: {why}")


def open_transport(url: str) -> Transport:
    """Open a device, a pseudo terminal or a pyserial URL for this process alone.

    Raises DeviceError that says what stands in the way.
    """
    return SerialTransport(url, open_port(url))


def _selectable(port: serial.SerialBase) -> bool:
    """Say whether the system can wait for the port; pyserial reads rfc2217:// in a thread of its own."""
    try:
        return bool(port.fileno() >= 0)
    except (AttributeError, OSError, ValueError):  # io.UnsupportedOperation is both of these
        return False

# SPDX-License-Identifier: Apache-2.0
"""Follow what a device writes: its log, text outside of frames, restarts and faults, over unplugging and replugging."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator

from edgeq.device.fault import stored_fault
from edgeq.device.link.client import LinkClient
from edgeq.device.link.protocol import Command, Flags, Hello, printable
from edgeq.device.link.transport import Transport
from edgeq.errors import DeviceError

LOG_SECONDS = 0.2  # between two questions for new text
HELLO_SECONDS = 1.0  # between two questions for a restart
AGAIN_SECONDS = 0.5  # between two attempts to open a port that is gone
_LINE_CHARACTERS = 400


class Lines:
    """Puts pieces of text together to lines whose control characters are spelled out."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[str]:
        """Return the lines that are whole now, and those too long to wait for their end."""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        while len(self._rest) > _LINE_CHARACTERS:
            whole.append(self._rest[:_LINE_CHARACTERS])
            self._rest = self._rest[_LINE_CHARACTERS:]
        return [shown for line in whole if (shown := printable(line.rstrip(b"\r"), limit=4 * _LINE_CHARACTERS))]


def follow(open_transport: Callable[[], Transport], tell: Callable[[str], None]) -> None:
    """Print until the user interrupts; a port that goes away is waited for.

    ``open_transport`` opens the port, again after each loss. Raises DeviceError when the first attempt fails.
    """
    client = LinkClient(open_transport())
    try:
        hello = client.hello()
    except BaseException:
        client.close()
        raise
    while True:
        try:
            for line in _watched(client, hello):
                tell(line)
        except DeviceError as error:
            tell(f"-- {error}")
            tell("-- waiting for it")
        finally:
            client.close()
        client, hello = _found_again(open_transport)


def _found_again(open_transport: Callable[[], Transport]) -> tuple[LinkClient, Hello]:
    """Wait until a device answers again."""
    while True:
        time.sleep(AGAIN_SECONDS)
        try:
            client = LinkClient(open_transport())
        except DeviceError:
            continue
        try:
            return client, client.hello()
        except DeviceError:
            client.close()


def _watched(client: LinkClient, hello: Hello) -> Iterator[str]:
    """Give line after line; ends only by the DeviceError of a device that went away."""
    log, text, at = Lines(), Lines(), 0
    yield from _introduction(client, hello)
    asked = time.monotonic()
    while True:
        payload = client.line.call(Command.LOG, struct.pack("<I", at))
        start = int.from_bytes(payload[:4], "little")
        if start < at:  # it counts from its start: it restarted
            at = 0
            continue
        if start > at > 0:
            yield f"-- {start - at} bytes of the log were overwritten before they were read"
        at = start + len(payload) - 4
        yield from log.feed(payload[4:])
        yield from text.feed(client.line.take_text())
        if len(payload) > 4:
            continue
        time.sleep(LOG_SECONDS)
        if time.monotonic() - asked > HELLO_SECONDS:
            before, hello, asked = hello, client.hello(), time.monotonic()
            if hello != before:
                yield from _introduction(client, hello)


def _introduction(client: LinkClient, hello: Hello) -> Iterator[str]:
    version = ".".join(map(str, hello.firmware_version))
    ready = bool(hello.flags & Flags.MODEL_READY)
    trial = ", on trial" if hello.flags & Flags.ON_TRIAL else ""
    model = f"model {hello.model_crc:08x} of {hello.model_bytes:,} bytes{trial}" if ready else "no model"
    yield f"-- {client.line.name}: {hello.board}, firmware {version}, {model}"
    if hello.flags & Flags.WATCHDOG_RESET:
        yield "-- the watchdog restarted it: something took too long"
    for line in stored_fault(client) or ():
        yield f"-- fault: {line}"

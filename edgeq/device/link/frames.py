# SPDX-License-Identifier: Apache-2.0
"""Frames of the link: requests to bytes, bytes to replies."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from cobs import cobs

REQUEST = 0x10  # version 1, kind 0
REPLY = 0x11
MAX_PAYLOAD = 1028  # of any device; what claims more is cut to this
MAX_WIRE = 2 * MAX_PAYLOAD  # of a frame, however damaged
KEPT = 4096  # bytes of what is no frame, for a message
_REPLY_BYTES = 4
_CRC_BYTES = 4


@dataclass(frozen=True)
class Reply:
    """A reply as it came, its CRC checked. ``status`` may be one that this version does not know."""

    command: int
    seq: int
    status: int
    payload: bytes


def encode_request(command: int, seq: int, payload: bytes) -> bytes:
    """Return a request as it goes over the line."""
    frame = bytes((REQUEST, command, seq)) + payload
    stuffed: bytes = cobs.encode(frame + zlib.crc32(frame).to_bytes(_CRC_BYTES, "little"))
    return b"\x00" + stuffed + b"\x00"


class FrameReader:
    """Takes bytes as they arrive and gives the replies among them; memory is bounded whatever comes.

    ``strange`` holds the last bytes that were no reply.
    """

    def __init__(self) -> None:
        self._pending = bytearray()
        self.strange = bytearray()

    def feed(self, data: bytes) -> list[Reply]:
        """Return the replies that are complete now."""
        replies = []
        *ended, rest = (bytes(self._pending) + data).split(b"\x00")
        for wire in ended:
            reply = _decode(wire)
            if reply is not None:
                replies.append(reply)
            elif wire:
                self._keep(wire)
        if len(rest) > MAX_WIRE:  # no frame is that long
            self._keep(rest[:-MAX_WIRE])
            rest = rest[-MAX_WIRE:]
        self._pending = bytearray(rest)
        return replies

    @property
    def received(self) -> bytes:
        """The last bytes that were no reply, those of a frame that has not ended among them."""
        return bytes(self.strange + self._pending)

    def take_strange(self) -> bytes:
        """Return the bytes that were no reply and forget them; what may still become one stays."""
        taken = bytes(self.strange)
        self.strange.clear()
        return taken

    def _keep(self, wire: bytes) -> None:
        self.strange += wire
        del self.strange[:-KEPT]


def _decode(wire: bytes) -> Reply | None:
    """Return what a frame holds, None for anything that is not a whole reply."""
    if len(wire) > MAX_WIRE:
        return None
    try:
        frame = cobs.decode(wire)
    except cobs.DecodeError:
        return None
    body, crc = frame[:-_CRC_BYTES], frame[-_CRC_BYTES:]
    if len(body) < _REPLY_BYTES or body[0] != REPLY or not body[1] & 0x80:
        return None
    if zlib.crc32(body) != int.from_bytes(crc, "little"):
        return None
    return Reply(body[1] & 0x7F, body[2], body[3], body[_REPLY_BYTES:])

# SPDX-License-Identifier: Apache-2.0
"""Send a model to the slot that is not active: only what is not there yet, several frames on their way at once."""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from edgeq.device.link.client import SLOW_SECONDS, LinkClient
from edgeq.device.link.frames import Reply
from edgeq.device.link.line import Request
from edgeq.device.link.protocol import Command, Status, explain, first_number
from edgeq.device.link.timing import GIVE_UP_EXPIRIES, GIVE_UP_SECONDS
from edgeq.errors import DeviceError

SMALLEST_CHUNK = 64
ROUNDS = 8  # of an update that the device forgets, or whose bytes it finds to be wrong
LOSSES_TO_HALVE, FRAMES_TO_HALVE, FRAMES_TO_DOUBLE = 2, 8, 32
FUTILE_FRAMES = 1000  # sent and answered without progress
_DAMAGED = -12  # EQ_ERR_PAYLOAD of native/include/edgeq/status.h
_FRAME_BYTES = 12  # of a DATA frame besides its bytes

Progress = Callable[[int, int], None]  # bytes in place, of how many


@dataclass(frozen=True)
class Uploaded:
    """What an upload took: pages that were sent of those there are, and DATA frames with how many were sent again."""

    slot: int
    pages: int
    pages_sent: int
    frames: int
    frames_resent: int


class _Chunk:
    """Bytes in a DATA frame: fewer on a line that loses frames, more on one that does not."""

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self.bytes = largest
        self._clean = 0
        self._lost: deque[bool] = deque(maxlen=FRAMES_TO_HALVE)

    def arrived(self) -> None:
        self._lost.append(False)
        self._clean += 1
        if self._clean >= FRAMES_TO_DOUBLE:
            self.bytes, self._clean = min(2 * self.bytes, self._largest), 0

    def lost(self) -> None:
        self._lost.append(True)
        self._clean = 0
        if sum(self._lost) >= LOSSES_TO_HALVE:
            self.bytes = max(self.bytes // 2, min(SMALLEST_CHUNK, self._largest))
            self._lost.clear()


def upload(
    client: LinkClient, header: bytes, payload: bytes, *, progress: Progress = lambda done, total: None
) -> Uploaded:
    """Bring a model file into a slot and commit it; ``header`` is its update header (edgeq/device/update.py).

    After a reboot the device runs it on trial. What an upload that was cut left in the slot is not sent again.
    Raises DeviceError with the device's reason when it refuses the model, or with the offset it stopped at.
    """
    sender = _Sender(client, payload, progress)
    for _ in range(ROUNDS):
        next_offset = first_number(client.line.call(Command.BEGIN, header, patience=SLOW_SECONDS))
        if next_offset != len(payload) and not sender.send_missing(next_offset or 0):
            continue
        reply = client.line.ask(Request(Command.COMMIT), patience=SLOW_SECONDS)
        if reply.status == Status.OK:
            slot = reply.payload[0] if reply.payload else 0
            return Uploaded(slot, sender.pages, sender.pages_sent, sender.frames, sender.frames_resent)
        if not _may_try_again(reply):
            raise DeviceError(f"{client.line.name} refuses the model: {explain(reply.status, reply.payload)}")
    raise DeviceError(f"{client.line.name}: the model was not whole in the slot after {ROUNDS} attempts")


def _may_try_again(reply: Reply) -> bool:
    if reply.status == Status.REFUSED:
        return len(reply.payload) >= 4 and int.from_bytes(reply.payload[:4], "little", signed=True) == _DAMAGED
    return reply.status in (Status.NO_UPDATE, Status.INCOMPLETE)


class _Sender:
    """Writes ranges of the payload, and counts."""

    def __init__(self, client: LinkClient, payload: bytes, progress: Progress) -> None:
        self._client = client
        self._line = client.line
        self._payload = payload
        self._progress = progress
        self._page = client.device.page_bytes or len(payload)
        self._chunk = _Chunk((client.device.max_payload - 4) // 32 * 32)  # a multiple of every write unit
        self.pages = -(-len(payload) // self._page)
        self.pages_sent = 0
        self.frames = 0
        self.frames_resent = 0

    def send_missing(self, next_offset: int) -> bool:
        """Send what is not in the slot; False when the device forgot the update meanwhile."""
        for start, end in self._missing():
            if start != next_offset and not self._go_to(start):
                return False
            if not self._send(start, end):
                return False
            next_offset = end
        return next_offset == len(self._payload) or self._go_to(len(self._payload))

    def _missing(self) -> list[tuple[int, int]]:
        """Return the ranges of pages that differ from the payload's, as the device's CRCs tell."""
        there = self._client.page_crcs(self.pages)
        ranges: list[tuple[int, int]] = []
        for page in range(self.pages):
            start = page * self._page
            data = self._payload[start : start + self._page]
            if page < len(there) and there[page] == zlib.crc32(data):
                continue
            self.pages_sent += 1
            if ranges and ranges[-1][1] == start:
                ranges[-1] = (ranges[-1][0], start + len(data))
            else:
                ranges.append((start, start + len(data)))
        return ranges

    def _go_to(self, offset: int) -> bool:
        request = Request(Command.DATA, struct.pack("<I", offset), lambda payload: first_number(payload) == offset)
        reply = self._line.ask(request, patience=SLOW_SECONDS)
        return self._known(reply)

    def _known(self, reply: Reply) -> bool:
        """Say whether the device knows of the update. Raises DeviceError when it cannot store it."""
        if reply.status == Status.NO_UPDATE:
            return False
        if reply.status != Status.OK:
            raise DeviceError(f"{self._line.name} stops the upload: {explain(reply.status, reply.payload)}")
        return True

    def _send(self, start: int, end: int) -> bool:
        """Send bytes start to end, in order; what is lost is noticed when the frame after it is refused."""
        under_way: dict[int, tuple[int, float]] = {}  # by seq: where the frame ends, when it was sent
        acked = sent = furthest = start
        best, futile = start, 0
        expiries, since = 0, self._line.transport.now()
        self._line.drain()
        while acked < end:
            while sent < end and len(under_way) < self._line.window:
                piece = self._payload[sent : min(sent + self._chunk.bytes, end)]
                seq = self._line.post(Command.DATA, struct.pack("<I", sent) + piece, again=sent < furthest)
                self.frames += 1
                self.frames_resent += sent < furthest
                sent += len(piece)
                furthest = max(furthest, sent)
                under_way[seq] = (sent, self._line.transport.now())
            timeout = self._line.round_trip.timeout(len(under_way) * (self._chunk.bytes + _FRAME_BYTES))
            reply = self._line.wait(min(at for _, at in under_way.values()) + timeout)
            if reply is None:
                expiries += 1
                waited = self._line.transport.now() - since
                if expiries >= GIVE_UP_EXPIRIES or waited >= GIVE_UP_SECONDS:
                    raise self._line.give_up(f"the piece at offset {acked} of {len(self._payload)}", expiries, since)
                self._line.traffic.expiries += 1
                self._line.round_trip.expired()
                self._chunk.lost()
                under_way.clear()
                sent = acked
                continue
            if reply.command != Command.DATA:
                continue
            frame = under_way.pop(reply.seq, None)
            if frame is not None and not self._known(reply):
                return False
            told = first_number(reply.payload)
            if reply.status != Status.OK or told is None or told > furthest:
                continue
            if frame is not None:
                self._line.round_trip.sample(self._line.transport.now() - frame[1])
            if told > acked:
                acked, sent = told, max(sent, told)
                under_way = {seq: (to, at) for seq, (to, at) in under_way.items() if to > acked}
                self._chunk.arrived()
            elif frame is not None:
                # Refused, and sent after the last time that frames were sent again: those before are not under way.
                acked = sent = max(told, start)
                under_way.clear()
                self._chunk.lost()
            if acked > best:
                best, futile, expiries, since = acked, 0, 0, self._line.transport.now()
                self._progress(acked, len(self._payload))
            else:
                futile += 1
                if futile >= FUTILE_FRAMES:
                    raise self._line.give_up(f"the piece at offset {acked} of {len(self._payload)}", futile, since)
        return True

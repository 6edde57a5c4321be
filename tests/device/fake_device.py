# SPDX-License-Identifier: Apache-2.0
"""A device at the other end of a pseudo terminal that can be unplugged, restarted and made to fail."""

from __future__ import annotations

import os
import select
import struct
import threading
import tty
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from cobs import cobs

from edgeq.format.read import checked_header, is_model

OK, UNKNOWN, REFUSED = 0, 1, 8
SLOTS, SIGNED, FIXED_MODEL = 1, 2, 4
NO_SLOT = 255
_PAGE_BYTES = 1024


@dataclass
class Slot:
    """What a slot of the fake holds."""

    model: bytes = b""
    state: int = 0
    confirmed: bool = False
    signed: bool = False
    trials: int = 0
    sequence: int = 0


@dataclass
class FakeDevice:
    """Answers requests by native/LINK.md; ``path`` is a link to its terminal while it is plugged in."""

    path: Path
    board: str = "mps2-an386"
    features: int = SLOTS
    slots: list[Slot] = field(default_factory=lambda: [Slot(), Slot()])
    active: int = NO_SLOT
    fixed_model: bytes = b""
    log: bytes = b""
    overwritten: int = 0  # bytes of the log that are gone
    fault: bytes = b""
    watchdog: bool = False
    starts_new_models: bool = True
    asked: list[int] = field(default_factory=list)  # commands, in order

    def __post_init__(self) -> None:
        self._update = b""
        self._received = b""
        self._master: int | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> FakeDevice:
        self.plug()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unplug()

    def plug(self) -> None:
        self._master, terminal = os.openpty()
        tty.setraw(terminal)
        self.path.symlink_to(os.ttyname(terminal))
        os.close(terminal)
        self._thread = threading.Thread(target=self._serve, args=(self._master,), daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        master, self._master = self._master, None
        if master is not None and self._thread is not None:
            self._thread.join()
            os.close(master)
            self.path.unlink()

    def say(self, text: bytes) -> None:
        """Send bytes outside of frames."""
        assert self._master is not None
        os.write(self._master, text)

    def _serve(self, master: int) -> None:
        pending = b""
        while self._master == master:
            if not select.select([master], [], [], 0.005)[0]:
                continue
            try:
                pending += os.read(master, 4096)
            except OSError:  # nobody has the other end open
                threading.Event().wait(0.005)
                continue
            *frames, pending = pending.split(b"\x00")
            for frame in filter(None, frames):
                reply = self._reply(cobs.decode(frame)) if frame.strip(b"\r\n") else b""
                os.write(master, reply)

    def _reply(self, frame: bytes) -> bytes:
        command, seq, payload = frame[1], frame[2], frame[3:-4]
        assert zlib.crc32(frame[:-4]) == int.from_bytes(frame[-4:], "little")
        self.asked.append(command)
        status, answer = self._answer(command, payload)
        body = bytes((0x11, command | 0x80, seq, status)) + answer
        return b"\x00" + cobs.encode(body + zlib.crc32(body).to_bytes(4, "little")) + b"\x00"

    def _answer(self, command: int, payload: bytes) -> tuple[int, bytes]:
        if command == 1:
            return OK, self._hello()
        if command == 14:
            return OK, self._read_log(*struct.unpack("<I", payload))
        if command == 15:
            found, self.fault = self.fault, b"" if payload == b"\x01" else self.fault
            return OK, found
        if command == 16:
            self._restart()
            return OK, b""
        if not self.features & SLOTS:
            return UNKNOWN, b""
        return self._slot_command(command, payload)

    def _slot_command(self, command: int, payload: bytes) -> tuple[int, bytes]:
        if command == 2:
            return OK, struct.pack("<I", len(self.slots)) + b"".join(self._record(i) for i in range(len(self.slots)))
        if command == 3:
            if self.features & SIGNED and not payload[6] & 1:
                return REFUSED, struct.pack("<i", -20)
            active = self.slots[self.active].model if self.active != NO_SLOT else b""
            same = active and struct.unpack_from("<II", payload, 8) == (len(active), zlib.crc32(active))
            self._update, self._received = payload, active if same else b""
            return OK, struct.pack("<I", len(self._received))
        if command == 4:
            (offset,) = struct.unpack_from("<I", payload)
            if offset == len(self._received):
                self._received += payload[4:]
            return OK, struct.pack("<I", len(self._received))
        if command == 5:
            return OK, payload[:4]
        if command == 6 and self.active != NO_SLOT and self._received == self.slots[self.active].model:
            return OK, bytes([self.active])
        if command == 6:
            free = 1 - self.active if self.active in (0, 1) else 0
            assert struct.unpack_from("<II", self._update, 8) == (len(self._received), zlib.crc32(self._received))
            newest = max(slot.sequence for slot in self.slots)
            signed = bool(self._update[6] & 1)
            self.slots[free] = Slot(self._received, 1, signed=signed, trials=3, sequence=newest + 1)
            return OK, bytes([free])
        if command == 7:
            self.slots[self.active].confirmed = True
            return OK, bytes([self.active])
        self.slots[self.active].state = 3
        return OK, bytes([self.active])

    def _restart(self) -> None:
        self.log, self.overwritten = b"", 0
        valid = [slot for slot in self.slots if slot.state == 1 and (slot.confirmed or self.starts_new_models)]
        newest = max(valid, key=lambda slot: slot.sequence, default=None)
        self.active = NO_SLOT if newest is None else self.slots.index(newest)

    def _hello(self) -> bytes:
        model = self.fixed_model if self.active == NO_SLOT else self.slots[self.active].model
        on_trial = self.active != NO_SLOT and not self.slots[self.active].confirmed
        flags = bool(model) | on_trial << 1 | bool(self.fault) << 2 | self.watchdog << 3
        return struct.pack(
            "<BBHBBH12IB3B24s8s", 1, 1, 512, 2, self.active, flags, self.features, 0x410FC240, 1, 2, 18,
            1 << 20, _PAGE_BYTES, 65536, len(model), _model_crc(model), 0, 25_000_000, 2, 0, 1, 0,
            self.board.encode(), b"dsp",
        )  # fmt: skip

    def _record(self, index: int) -> bytes:
        slot = self.slots[index]
        flags = (index == self.active) | slot.confirmed << 1 | slot.signed << 2
        head = struct.pack("<4B", slot.state, flags, slot.trials, 0)
        return head + struct.pack("<7I", slot.sequence, len(slot.model), zlib.crc32(slot.model), 0, 18, 2304, 0)

    def _read_log(self, at: int) -> bytes:
        end = self.overwritten + len(self.log)
        at = end if at > end else max(at, self.overwritten)
        return struct.pack("<I", at) + self.log[at - self.overwritten :][:100]


def _model_crc(model: bytes) -> int:
    """Return the payload's CRC in the header of a model file; any number will do for what is none."""
    return int(checked_header(model)["payload_crc"]) if is_model(model) else 0x1234


def fault_record(*, step: int, tensor: int, cfsr: int = 1 << 9 | 1 << 15, bfar: int = 0x30000000) -> bytes:
    """Return what a device stores of a fault."""
    words = (3, step, tensor, 0x1234, 0x5679, 0x21000003, cfsr, 1 << 30, bfar, 1, 2, 3, 4, 12, 0x20001000)
    body = struct.pack("<15I", *words)
    return body + zlib.crc32(body).to_bytes(4, "little")

# SPDX-License-Identifier: Apache-2.0
"""Scripts for tests/native/fuzz_link.c to begin with: every command, text, an upload."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from edgeq.device.link.protocol import Command
from edgeq.device.update import update_header

FIXED, SLOTS = 1, 0  # the device that a script is for
PIECE = 64


def _frame(command: int, payload: bytes = b"", seq: int = 1) -> bytes:
    """Return a piece that is a frame; its length is 3 more than a multiple of 4."""
    body = bytes((0x10, command, seq)) + payload
    body += bytes(-(len(body) - 3) % 4)
    return bytes([128 + (len(body) - 3) // 4]) + body


def _raw(data: bytes) -> bytes:
    return b"".join(bytes([len(data[at : at + 100])]) + data[at : at + 100] for at in range(0, len(data), 100))


def write_link_corpus(folder: Path, model: bytes, inputs: int) -> int:
    """Write scripts for a model with so many bytes of inputs; return how many."""
    folder.mkdir(exist_ok=True)
    scripts = [bytes([kind]) + _frame(command) for command in range(1, 20) for kind in range(4)]
    run = b"".join(_frame(Command.INPUT, struct.pack("<I", at) + bytes(PIECE)) for at in range(0, inputs, PIECE))
    run += _frame(Command.RUN, struct.pack("<4I", 1, 3, zlib.crc32(bytes(inputs)), 0))
    run += _frame(Command.OUTPUT, struct.pack("<IH", 0, 100)) + _frame(Command.STEPS, struct.pack("<IH", 0, 9))
    scripts.append(bytes([FIXED]) + run)
    text = b"name%profile%timestamp%db load 8%db 0011%db aabbccddeeff%db print%infer 2 1%results%infer -1%db zz%"
    scripts.append(bytes([FIXED]) + _raw(text))
    upload = _frame(Command.BEGIN, update_header(model)) + _frame(Command.CRCS, struct.pack("<IH", 0, 30))
    for at in range(0, len(model), 256):
        upload += _frame(Command.DATA, struct.pack("<I", at) + model[at : at + 256])
    upload += _frame(Command.COMMIT) + _frame(Command.STATUS) + _frame(Command.REBOOT) + _frame(Command.CONFIRM)
    scripts.append(bytes([SLOTS]) + upload + run + _frame(Command.REVERT) + _frame(Command.REBOOT))
    scripts.append(bytes([SLOTS]) + _raw(b"\x00\x03\x10\x01\x00\x05\x10\x00garbage\x00\xff%\x00\x00"))
    for number, script in enumerate(scripts):
        (folder / f"{number:03d}").write_bytes(script)
    return len(scripts)

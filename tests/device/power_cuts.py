#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cut the power of emulated boards amid updates over the link: each cut must leave the old or the new model, whole."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from small_models import filled_model

from edgeq.board import Board, load_board
from edgeq.device.emulator import Emulator
from edgeq.device.firmware import build_slots_firmware
from edgeq.device.link.device import LinkDevice, holds_model
from edgeq.device.link.transport import open_transport
from edgeq.errors import DeviceError
from edgeq.format import slot

BOARDS = ("mps2-an386", "mps2-an500", "microbit")
MODEL_BYTES = 6144
UNTOUCHED, WRITING, COMMITTED = "before the first erase", "between first erase and commit", "after the commit"
EARLIEST, LATEST = -0.1, 1.15  # of an upload's bytes, of those in place when the cut is decided; outside 0 .. 1 by time
DELAY_SECONDS = 0.1  # at most, from there to the cut: it falls within frames, erases and the commit
AFTER_SECONDS = 1.0  # the same, when all bytes are in place


@dataclass
class Cuts:
    """What the cuts did: in which phase they fell, and which model ran after them; ``bad`` says what went wrong."""

    phases: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        phases = ", ".join(f"{self.phases[name]} {name}" for name in (UNTOUCHED, WRITING, COMMITTED))
        return f"{self.phases.total()} cuts: {phases}; {dict(self.found)}; {len(self.bad)} bad"


class Rig:
    """A board with its flash in a file."""

    def __init__(self, board: Board, folder: Path) -> None:
        self.board = board
        self.store = folder / "store"
        self._elf = build_slots_firmware(board).elf

    def emulator(self) -> Emulator:
        return Emulator(self.board, self._elf, store=self.store)

    def start(self) -> tuple[Emulator, LinkDevice]:
        emulator = self.emulator()
        return emulator, LinkDevice(self.board, open_transport(emulator.url))

    def keep(self, emulator: Emulator) -> None:
        """Bring the file up to date with the flash of a board whose emulator keeps it in memory."""
        region = self.board.store
        assert region is not None
        emulator.call("memsave", val=region.origin, size=region.bytes, filename=str(self.store))

    def model(self, number: int, *, n_bytes: int = MODEL_BYTES) -> bytes:
        return filled_model(number, n_bytes=n_bytes, board_class=self.board.board_class)

    def push(self, model: bytes) -> None:
        """Put a model on the board and confirm it."""
        emulator, device = self.start()
        with emulator, device:
            device.update(model)
            device.client.confirm()

    def slots(self) -> list[tuple[bytes, bytes]]:
        """Return the bytes of each slot, and those of the model in it that a whole record describes."""
        region = self.board.store
        assert region is not None
        words = 5 * max(16, region.write_bytes or 1)
        start = -(-(slot.SLOT.size_bytes + words) // region.page_bytes) * region.page_bytes
        size, found = region.bytes // 2, []
        with self.store.open("rb") as file:
            for _ in range(2):
                data = file.read(size)
                record = data[: slot.SLOT.size_bytes]
                fields = slot.SLOT.unpack(record, 0)
                whole = fields["magic"] == slot.MAGIC and slot.crc_matches(record)
                found.append((data, data[start:][: fields["payload_bytes"]] if whole else b""))
        return found


def cut_power(board: Board, *, cuts: int, seed: int, folder: Path) -> Cuts:
    """Update a board again and again, each time cutting its power at a moment drawn at random.

    Each start shows what the cut before it left.
    """
    rng = np.random.default_rng(seed)
    rig, count = Rig(board, folder), Cuts()
    for number in range(2):
        rig.push(rig.model(number))
    expected, phase = rig.model(1), ""
    for number in range(cuts + 1):
        emulator, device = rig.start()
        with emulator, device:
            before = rig.slots()
            if phase:
                count.phases[phase] += 1
                count.found["new" if phase == COMMITTED else "old"] += 1
            if not holds_model(device.client.device, expected):
                count.bad.append(f"cut {number} {phase}: another model runs than the one expected")
            if expected not in (model for _, model in before):
                count.bad.append(f"cut {number} {phase}: the model that runs is not in flash byte for byte")
            if number == cuts or count.bad:
                break
            device.client.confirm()
            other = rig.model(2 + number)
            _update_cut(device, other, emulator.cut_power, rng)
        phase = _phase(before, rig.slots(), expected, other)
        expected = other if phase == COMMITTED else expected
    return count


def _phase(before: list[tuple[bytes, bytes]], after: list[tuple[bytes, bytes]], active: bytes, other: bytes) -> str:
    """Say when a cut fell, by the slot that the update was to take."""
    target = 1 if before[0][1] == active else 0
    if after[target][1] == other:
        return COMMITTED
    return UNTOUCHED if after[target][0] == before[target][0] else WRITING


def _update_cut(device: LinkDevice, model: bytes, cut: Callable[[], None], rng: np.random.Generator) -> None:
    """Update until the power goes."""
    share = rng.uniform(EARLIEST, LATEST)
    timer = threading.Timer(rng.uniform(0, AFTER_SECONDS if share > 1 else DELAY_SECONDS), cut)

    started = threading.Event()

    def progress(done: int, total: int) -> None:
        if done >= min(share, 1) * total and not started.is_set():
            started.set()
            timer.start()

    progress(0, len(model))
    with contextlib.suppress(DeviceError):
        device.update(model, progress=progress)
    timer.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("boards", nargs="*", default=BOARDS, help="default: %(default)s")
    parser.add_argument("--cuts", type=int, default=300, help="of each board (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments (default: %(default)s)")
    options = parser.parse_args()
    bad = 0
    for name in options.boards:
        with tempfile.TemporaryDirectory(prefix="edgeq-cuts-") as folder:
            started = time.monotonic()
            count = cut_power(load_board(name), cuts=options.cuts, seed=options.seed, folder=Path(folder))
        print(f"{name}, seed {options.seed}, {time.monotonic() - started:.0f} s: {count}", flush=True)
        print("".join(f"  {line}\n" for line in count.bad), end="", flush=True)
        bad += len(count.bad)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

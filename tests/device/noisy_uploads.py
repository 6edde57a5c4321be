#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Upload models to an emulated board over a line with noise both ways: what is in its flash is always what was sent."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from device.link_peer import Noise
from device.power_cuts import Rig

from edgeq.board import load_board
from edgeq.device.emulator import Emulator
from edgeq.device.link.client import LinkClient
from edgeq.device.link.device import holds_model
from edgeq.device.link.transport import Transport, open_transport
from edgeq.device.link.upload import upload
from edgeq.device.update import update_header

BOARD = "microbit"  # the fastest serial line of the emulated boards
MODEL_BYTES = 14400
RATE = 1e-3
HELLO_SECONDS = 30.0


class NoisyTransport:
    """A transport that damages bytes both ways, each with a probability."""

    speed: int | None = None

    def __init__(self, transport: Transport, rng: np.random.Generator, probability: float) -> None:
        self.name = transport.name
        self._transport = transport
        self._there, self._back = Noise(rng, probability), Noise(rng, probability)

    @property
    def hits(self) -> int:
        return self._there.hits + self._back.hits

    def now(self) -> float:
        return self._transport.now()

    def write(self, data: bytes) -> None:
        for piece, _ in self._there(data):
            self._transport.write(piece)

    def read(self, seconds: float) -> bytes:
        return b"".join(piece for piece, _ in self._back(self._transport.read(seconds)))

    def close(self) -> None:
        self._transport.close()


@dataclass(frozen=True)
class NoisyUpload:
    """Bytes that the noise hit in one upload, frames that were sent again, how long it took, and what broke."""

    hits: int
    resent: int
    seconds: float
    bad: str


def upload_over_noise(*, uploads: int, seed: int, folder: Path, rate: float = RATE) -> list[NoisyUpload]:
    """Upload one model after the other, and start and confirm each over the same noise."""
    rig = Rig(load_board(BOARD), folder)
    done = []
    with rig.emulator() as emulator:
        line = NoisyTransport(open_transport(emulator.url), np.random.default_rng(seed), rate)
        client = LinkClient(line)
        client.hello(seconds=HELLO_SECONDS)
        for number in range(uploads):
            done.append(_upload(rig, emulator, client, line, rig.model(number, n_bytes=MODEL_BYTES)))
        line.close()
    return done


def _upload(rig: Rig, emulator: Emulator, client: LinkClient, line: NoisyTransport, model: bytes) -> NoisyUpload:
    hits, resent, started = line.hits, client.line.traffic.resent, time.monotonic()
    slot = upload(client, update_header(model), model).slot
    hits, resent = line.hits - hits, client.line.traffic.resent - resent
    seconds, bad = time.monotonic() - started, ""
    rig.keep(emulator)
    if rig.slots()[slot][1] != model:
        bad = f"slot {slot} does not hold what was sent"
    elif resent > 3 * hits + 10:
        bad = f"{resent} frames sent again after {hits} hits"
    elif not holds_model(client.reboot(), model):
        bad = "another model starts"
    else:
        client.confirm()
    return NoisyUpload(hits, resent, seconds, bad)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uploads", type=int, default=50, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the noise (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=RATE, help="hits per byte each way (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgeq-noise-") as folder:
        done = upload_over_noise(uploads=options.uploads, seed=options.seed, folder=Path(folder), rate=options.rate)
    hits, resent = sum(one.hits for one in done), sum(one.resent for one in done)
    longest = max(one.seconds for one in done)
    bad = [f"upload {number}: {one.bad}" for number, one in enumerate(done) if one.bad]
    print(
        f"{len(done)} uploads of {MODEL_BYTES} bytes to {BOARD}, seed {options.seed}, {options.rate} per byte each way:"
    )
    print(f"  {hits} hits, {resent} frames sent again, at most {longest:.1f} s; {len(bad)} bad")
    print("".join(f"  {line}\n" for line in bad), end="")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""The device's side of the link in this process, and a line to it that has a clock of its own and fails as asked."""

from __future__ import annotations

import ctypes
import heapq
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np

from edgeq.board import load_board
from edgeq.device.build import library_objects
from edgeq.device.toolchain import compile_sources, find_compiler, link_library, native_includes
from edgeq.errors import DeviceError
from edgeq.paths import native_dir

PAGE_BYTES, SLOT_PAGES = 1024, 24
SLOT_BYTES = PAGE_BYTES * SLOT_PAGES
SPEED = 115200
CHANGED = "EDGEQ_LINK_CHANGED"  # names the folder with mutants of native/link
_REPLY_ROOM = 1 << 20
_SOURCE = Path(__file__).parent.parent / "native/link_peer.c"


@cache
def _library() -> ctypes.CDLL:
    """Build the peer; from files of the folder CHANGED where it has some of the same names."""
    compiler = find_compiler(load_board("host"))
    root = native_dir()
    changed = {path.name: path for path in Path(os.environ.get(CHANGED, "/nonexistent")).glob("*.c")}
    sources = [*root.glob("link/*.c"), *root.glob("store/*.c"), _SOURCE]
    sources = [changed.get(path.name, path) for path in sources]
    objects = [*library_objects(compiler), *compile_sources(compiler, sorted(sources), includes=native_includes())]
    library = ctypes.CDLL(str(link_library(compiler, objects, "link_peer.so")))
    library.peer_new.restype = ctypes.c_void_p
    library.peer_flash.restype = ctypes.POINTER(ctypes.c_uint8)
    return library


class Peer:
    """A device: blank slots, or a model that is part of it."""

    def __init__(self, model: bytes | None = None) -> None:
        self._library = _library()
        self._peer = ctypes.c_void_p(self._library.peer_new())
        self._out = ctypes.create_string_buffer(_REPLY_ROOM)
        if model is not None:
            raw = np.zeros(len(model) + 16, np.uint8)
            start = -raw.ctypes.data % 16
            self._file = raw[start : start + len(model)]
            self._file[:] = np.frombuffer(model, np.uint8)
            assert self._library.peer_install(self._peer, ctypes.c_void_p(self._file.ctypes.data), len(model))

    def __del__(self) -> None:
        self._library.peer_free(self._peer)

    def feed(self, data: bytes) -> bytes:
        """Hand over bytes and return what the device writes."""
        written = self._library.peer_feed(self._peer, data, len(data), self._out, _REPLY_ROOM)
        return ctypes.string_at(self._out, written)

    def restart(self) -> None:
        """Take its power away and give it back."""
        self._library.peer_start(self._peer)

    def flash(self) -> bytes:
        return ctypes.string_at(self._library.peer_flash(self._peer), 2 * SLOT_BYTES)

    def damage(self, offset: int) -> None:
        """Let a bit of the flash fall."""
        self._library.peer_flash(self._peer)[offset] ^= 1

    def runs(self) -> int:
        return int(self._library.peer_runs(self._peer))

    def store_fault(self) -> None:
        self._library.peer_fault(self._peer)


class Line:
    """A serial line with simulated time. ``there`` and ``back`` are what happens to bytes on the way.

    Each takes bytes and yields pieces with the seconds that each comes late.
    """

    name = "the line"
    speed: int | None = SPEED

    def __init__(
        self,
        device: Callable[[bytes], bytes],
        *,
        there: Callable[[bytes], Iterator[tuple[bytes, float]]] | None = None,
        back: Callable[[bytes], Iterator[tuple[bytes, float]]] | None = None,
        echo: bool = False,
    ) -> None:
        self._device = device
        self._there = there or unharmed
        self._back = back or unharmed
        self._echo = echo
        self._now = 0.0
        self._order = 0
        self._arriving: list[tuple[float, int, bytes]] = []
        self.writes = 0
        self.unplugged_after: int | None = None  # writes

    def now(self) -> float:
        return self._now

    def write(self, data: bytes) -> None:
        self._check_plug()
        self.writes += 1
        self._now += len(data) * 10 / SPEED
        if self._echo:
            self._arrive(self._now, data)
        for piece, late in self._there(data):
            for answer, later in self._back(self._device(piece)):
                self._arrive(self._now + late + later + len(answer) * 10 / SPEED, answer)

    def read(self, seconds: float) -> bytes:
        self._check_plug()
        if not self._arriving or self._arriving[0][0] > self._now + seconds:
            self._now += seconds
            return b""
        at, _, data = heapq.heappop(self._arriving)
        self._now = max(self._now, at)
        return data

    def close(self) -> None:
        pass

    def _arrive(self, at: float, data: bytes) -> None:
        if data:
            self._order += 1
            heapq.heappush(self._arriving, (at, self._order, data))

    def _check_plug(self) -> None:
        if self.unplugged_after is not None and self.writes >= self.unplugged_after:
            raise DeviceError("the line went away: unplugged")


def unharmed(data: bytes) -> Iterator[tuple[bytes, float]]:
    yield data, 0.0


class Noise:
    """Bytes flipped, dropped, inserted or replaced by a burst, each with a probability."""

    def __init__(self, rng: np.random.Generator, probability: float) -> None:
        self._rng = rng
        self._probability = probability
        self.hits = 0
        self._ahead = self._gap()

    def __call__(self, data: bytes) -> Iterator[tuple[bytes, float]]:
        damaged = bytearray()
        at = 0
        while at + self._ahead < len(data):
            hit = at + self._ahead
            damaged += data[at:hit]
            damaged += self._damage(data[hit])
            self.hits += 1
            at, self._ahead = hit + 1, self._gap()
        self._ahead -= len(data) - at
        yield bytes(damaged + data[at:]), 0.0

    def _gap(self) -> int:
        return 1 << 60 if self._probability == 0 else int(self._rng.geometric(self._probability)) - 1

    def _damage(self, byte: int) -> bytes:
        kind = self._rng.integers(4)
        if kind == 0:
            return bytes([byte ^ 1 << int(self._rng.integers(8))])
        if kind == 1:
            return b""
        if kind == 2:
            return bytes([byte, int(self._rng.integers(256))])
        return self._rng.bytes(int(self._rng.integers(1, 9)))


class FrameFaults:
    """Whole frames late, lost, twice or in the wrong order, each with its probability; time in between is simulated."""

    def __init__(
        self,
        rng: np.random.Generator,
        *,
        late: float = 0.0,
        seconds: float = 1.0,
        lost: float = 0.0,
        twice: float = 0.0,
        swapped: float = 0.0,
    ) -> None:
        self._rng = rng
        self._late, self._seconds, self._lost, self._twice, self._swapped = late, seconds, lost, twice, swapped
        self._held = b""
        self.hits = 0

    def __call__(self, data: bytes) -> Iterator[tuple[bytes, float]]:
        if not data:
            return
        held, self._held = self._held, b""
        seconds = self._seconds if self._happens(self._late) else 0.0
        if self._happens(self._lost):
            pass
        elif not held and self._happens(self._swapped):
            self._held = data  # comes after the next
        else:
            yield data, seconds
            if self._happens(self._twice):
                yield data, seconds
        if held:
            yield held, 0.0

    def _happens(self, probability: float) -> bool:
        happens = bool(probability and self._rng.random() < probability)
        self.hits += happens
        return happens

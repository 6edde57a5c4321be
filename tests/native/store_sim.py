# SPDX-License-Identifier: Apache-2.0
"""The store on simulated flash: its C, compiled with the simulator and called from Python."""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import tempfile
import zlib
from functools import cache
from pathlib import Path

import numpy as np
from small_models import filled_model
from stepcall import library

from edgeq.device.update import Signer, update_header
from edgeq.format import slot
from edgeq.paths import native_dir

HERE = Path(__file__).resolve().parent
UNITS = (1, 4, 8, 32)
PAGES = (256, 1024, 4096)
NOTHING, HALF, RANDOM, DONE = range(4)
WAS_CUT = 99
BOARD_CLASS = 16
SOURCES = "EDGEQ_STORE_SOURCES"  # names another folder with the store's files, as the mutants do


class _Rules(ctypes.Structure):
    _fields_ = (
        ("slots", ctypes.c_uint32),
        ("board_class", ctypes.c_uint32),
        ("arena_bytes", ctypes.c_uint32),
        ("max_work", ctypes.c_uint64),
        ("key", ctypes.c_char_p),
    )


class Count(ctypes.Structure):
    _fields_ = (
        ("points", ctypes.c_uint64),
        ("bad", ctypes.c_uint64),
        ("kept", ctypes.c_uint64),
        ("taken", ctypes.c_uint64),
        ("first_bad", ctypes.c_char * 200),
    )


class _Update(ctypes.Structure):
    _fields_ = (("header", ctypes.c_char_p), ("payload", ctypes.c_char_p), ("payload_bytes", ctypes.c_uint32))


class Info(ctypes.Structure):
    _fields_ = (
        ("state", ctypes.c_int),
        ("confirmed", ctypes.c_bool),
        ("trials_left", ctypes.c_uint32),
        ("record", ctypes.c_uint64 * (slot.SLOT.size_bytes // 8)),
    )


class Update:
    """A model and its update header."""

    def __init__(self, model: bytes, header: bytes) -> None:
        self.model = model
        self.header = header

    @property
    def c(self) -> _Update:
        return _Update(self.header, self.model, len(self.model))


@cache
def simulator(*, signed: bool = False) -> ctypes.CDLL:
    """Build the store with its simulator once per content, and load it beside the runtime that it calls."""
    root = native_dir()
    folder = Path(os.environ.get(SOURCES, root / "store"))
    sources = [*sorted(folder.glob("*.c")), HERE / "store_sim.c"]
    flags = [
        "-std=c11",
        "-O2",
        "-g",
        "-fPIC",
        "-shared",
        "-Wl,-Bsymbolic",
        "-Wall",
        "-Wextra",
        f"-I{folder.parent}",
    ]
    flags += [f"-I{root}", f"-I{root}/include", "-include", str(HERE / "store_sim.h")]
    if signed:
        flags.append("-DEQ_SIGNED")
        sources.append(root / "store/monocypher/monocypher.c")
    headers = [*sorted(folder.glob("*.h")), *sorted(root.glob("include/edgeq/*.h")), HERE / "store_sim.h"]
    content = b"".join(path.read_bytes() for path in [*sources, *headers]) + repr(flags).encode()
    digest = hashlib.sha256(content).hexdigest()[:16]
    target = Path(tempfile.gettempdir()) / f"edgeq-store-{digest}.so"
    if not target.exists():
        built = target.with_suffix(f".{np.random.default_rng().integers(1 << 30)}")
        subprocess.run(["cc", *flags, *map(str, sources), "-o", str(built)], check=True)
        built.rename(target)
    ctypes.CDLL(library()._name, mode=ctypes.RTLD_GLOBAL)
    loaded = ctypes.CDLL(str(target))
    for name in ("sim_store", "sim_cells", "sim_model"):
        getattr(loaded, name).restype = ctypes.c_void_p
    loaded.sim_violation.restype = ctypes.c_char_p
    return loaded


class Sim:
    """A device with a store. Only one is alive at a time for each build."""

    def __init__(
        self, *, page: int = 256, unit: int = 4, room: int = 2048, slots: int = 2, key: bytes | None = None,
        arena: int = 1 << 16, max_work: int = 1 << 40,
    ) -> None:  # fmt: skip
        self.page, self.unit = page, unit
        header = -(-(slot.SLOT.size_bytes + 5 * max(16, unit)) // page) * page
        self.payload_offset = header
        self.slot_bytes = header + -(-room // page) * page
        self.lib = simulator(signed=key is not None)
        self._rules = _Rules(slots, BOARD_CLASS, arena, max_work, key)
        assert status_name(self.lib.sim_open(page, unit, self.slot_bytes, ctypes.byref(self._rules))) == "EQ_OK"
        self._store = ctypes.c_void_p(self.lib.sim_store())

    @property
    def cells(self) -> np.ndarray:
        """All slots' bytes, to be read and changed."""
        address = ctypes.POINTER(ctypes.c_uint8)
        return np.ctypeslib.as_array(ctypes.cast(self.lib.sim_cells(), address), (2 * self.slot_bytes,))

    @property
    def violation(self) -> bytes | None:
        return self.lib.sim_violation()

    def boot(self) -> int:
        return self.lib.sim_do(0)

    def restart(self) -> int:
        self.lib.sim_reset()
        return self.boot()

    def confirm(self) -> str:
        return status_name(self.lib.sim_do(1))

    def revert(self) -> str:
        return status_name(self.lib.sim_do(2))

    def commit(self) -> str:
        return status_name(self.lib.sim_do(3))

    def cut_after(self, operations: int, mode: int) -> None:
        self.lib.sim_cut_after(operations, mode)

    def begin(self, header: bytes) -> str:
        assert len(header) == slot.SLOT.size_bytes
        return status_name(self.lib.eq_store_begin(self._store, header))

    def write(self, offset: int, data: bytes) -> tuple[str, int]:
        """Return the status and the offset that is expected next."""
        following = ctypes.c_uint32()
        status = self.lib.eq_store_write(self._store, ctypes.byref(following), offset, data, len(data))
        return status_name(status), following.value

    def crcs(self, first: int, count: int) -> list[int]:
        found = (ctypes.c_uint32 * count)()
        return list(found[: self.lib.eq_store_crcs(self._store, found, first, count)])

    def slot(self, index: int) -> Info:
        info = Info()
        self.lib.eq_store_slot(self._store, ctypes.byref(info), index)
        return info

    def on_trial(self) -> bool:
        self.lib.eq_store_on_trial.restype = ctypes.c_bool
        return self.lib.eq_store_on_trial(self._store)

    def send(self, update: Update, *, chunk: int = 64) -> str:
        """Begin, write everything and commit; return the first status that is not EQ_OK, or EQ_OK."""
        status = self.begin(update.header)
        for offset in range(0, len(update.model) if status == "EQ_OK" else 0, chunk):
            status, _ = self.write(offset, update.model[offset : offset + chunk])
            if status != "EQ_OK":
                return status
        return self.commit() if status == "EQ_OK" else status

    def push(self, update: Update) -> None:
        """Put a model on the device, start it and confirm it."""
        assert self.send(update) == "EQ_OK"
        assert self.restart() >= 0
        assert self.running() == update.model
        assert self.confirm() == "EQ_OK"

    def running(self) -> bytes | None:
        """Return the bytes of the model that the last start found, as they lie in flash."""
        pointer = ctypes.cast(self.lib.sim_model(), ctypes.POINTER(ctypes.c_void_p))[0]
        if pointer is None:
            return None
        size = int.from_bytes(ctypes.string_at(pointer + 12, 4), "little")
        return ctypes.string_at(pointer, size)


def status_name(status: int) -> str:
    if status == WAS_CUT:
        return "cut"
    library().eq_status_name.restype = ctypes.c_char_p
    return str(library().eq_status_name(status).decode())


@cache
def sample(
    seed: int, *, n_bytes: int = 480, version: int = 0, min_version: int = 0, board_class: int = BOARD_CLASS,
    signer: Signer | None = None,
) -> Update:  # fmt: skip
    """Return a model file for the simulated board, and its update header."""
    model = filled_model(seed, n_bytes=n_bytes, board_class=board_class, version=version)
    return Update(model, update_header(model, signer=signer, min_version=min_version))


def changed_header(header: bytes, **fields: object) -> bytes:
    """Return an update header with other fields and the CRC made right."""
    values = slot.SLOT.unpack(header, 0)
    del values["header_crc"]
    return slot.pack_slot(**{**values, **fields})


def with_crc(header: bytes) -> bytes:
    """Return a header with its CRC made right."""
    return header[:-4] + zlib.crc32(header[:-4]).to_bytes(4, "little")

# SPDX-License-Identifier: Apache-2.0
"""Board: what a target offers, read from one TOML file of boards/."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgeq.errors import InternalError, UsageError
from edgeq.paths import boards_dir

KINDS = ("host", "linux", "firmware")


@dataclass(frozen=True)
class MemoryRegion:
    """Memory of a board: "flash" and "ram" of any firmware, "store" (maybe a part of flash) where models may be kept.

    A store is erased in pages and programmed in units of ``write_bytes``, each once after an erase.
    """

    name: str
    origin: int
    bytes: int
    page_bytes: int = 0
    write_bytes: int = 0

    @property
    def end(self) -> int:
        return self.origin + self.bytes


@dataclass(frozen=True)
class Board:
    """A target. What is not known of it, or is no limit worth checking (a host's memory), is None or empty."""

    name: str
    title: str
    kind: str  # one of KINDS
    cpu: str  # the core, e.g. "cortex-a72"
    isa: str  # "native" (whatever this machine has), "aarch64", "armv7", "armv6"; of firmware, e.g. "armv7e-m"
    source: str  # where the figures come from
    cores: int | None = None
    clock_hz: int | None = None
    ram_bytes: int | None = None
    peak_macs_per_cycle: int | None = None  # int8, of one core with the fastest instructions that it has
    emulator: str = ""  # the QEMU program that runs the board's executables or firmware, e.g. "qemu-aarch64"
    emulator_cpu: str = ""  # its -cpu value
    emulator_machine: str = ""  # its -machine value, for firmware
    emulator_clock_hz: int | None = None  # of its SysTick, where that is not clock_hz
    weights: str = "portable"  # the order of weights its fastest kernels read: a name of edgeq/ops/packing.py
    board_class: int = 0  # permanent code in model files made for the board; 0 is any
    memory: tuple[MemoryRegion, ...] = ()  # of firmware boards
    stack_bytes: int = 2048  # of the RAM of firmware boards
    port: str = ""  # the folder of native/port with the code for a firmware board's family
    port_values: Mapping[str, int] = field(
        default_factory=dict, hash=False
    )  # registers and numbers: EQ_PORT_<KEY> in that code
    usb: tuple[str, ...] = ()  # "vid:pid" or "vid:pid/beginning of the serial number" of the board or its debug probe
    flasher: str = ""  # what puts firmware on it: "uf2", "pyocd", "stm32loader" or "qemu"
    pyocd_target: str = ""  # what pyocd calls its chip
    baud: int = 115_200

    def region(self, name: str) -> MemoryRegion:
        """Return the memory of this name. Raises InternalError when the board has none."""
        for region in self.memory:
            if region.name == name:
                return region
        raise InternalError(f"board {self.name} has no memory called {name!r}")

    @property
    def store(self) -> MemoryRegion | None:
        """Where models may be kept, None where there is no such memory."""
        return next((region for region in self.memory if region.name == "store"), None)


def board_names() -> tuple[str, ...]:
    """List the boards there are."""
    return tuple(sorted(path.stem for path in boards_dir().glob("*.toml")))


def load_board(name: str) -> Board:
    """Return a board's profile. Raises UsageError when no board has that name."""
    path = boards_dir() / f"{name}.toml"
    if name not in board_names():
        raise UsageError(f"there is no board {name!r}", hint=f"boards are {', '.join(board_names())}")
    values: dict[str, Any] = tomllib.loads(path.read_text())
    known = {field.name for field in dataclasses.fields(Board)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise InternalError(f"boards/{name}.toml has keys that nothing reads: {', '.join(unknown)}")
    try:
        values["memory"] = tuple(MemoryRegion(**region) for region in values.get("memory", ()))
        values["usb"] = tuple(values.get("usb", ()))
        board = Board(name=name, **values)
    except TypeError as error:
        raise InternalError(f"boards/{name}.toml: {error}") from None
    if board.kind not in KINDS:
        raise InternalError(f"boards/{name}.toml: kind is {board.kind!r}, expected one of {', '.join(KINDS)}")
    return board

# SPDX-License-Identifier: Apache-2.0
"""Board: what a target offers, read from one TOML file of boards/."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from typing import Any

from edgeq.errors import InternalError, UsageError
from edgeq.paths import boards_dir

KINDS = ("host", "linux")


@dataclass(frozen=True)
class Board:
    """A target. What is not known of it, or is no limit worth checking (a host's memory), is None or empty."""

    name: str
    title: str
    kind: str  # one of KINDS
    cpu: str  # the core, e.g. "cortex-a72"
    isa: str  # "native" (whatever this machine has), "aarch64", "armv7" or "armv6"
    source: str  # where the figures come from
    cores: int | None = None
    clock_hz: int | None = None
    ram_bytes: int | None = None
    peak_macs_per_cycle: int | None = None  # int8, of one core with the fastest instructions that it has
    emulator: str = ""  # the QEMU program that runs the board's executables, e.g. "qemu-aarch64"
    emulator_cpu: str = ""  # its -cpu value
    weights: str = "portable"  # the order of weights its fastest kernels read: a name of edgeq/ops/packing.py
    board_class: int = 0  # permanent code in model files made for the board; 0 is any


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
        board = Board(name=name, **values)
    except TypeError as error:
        raise InternalError(f"boards/{name}.toml: {error}") from None
    if board.kind not in KINDS:
        raise InternalError(f"boards/{name}.toml: kind is {board.kind!r}, expected one of {', '.join(KINDS)}")
    return board

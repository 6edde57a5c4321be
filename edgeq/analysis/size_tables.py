# SPDX-License-Identifier: Apache-2.0
"""The committed sizes of all pieces of firmware, as tools/measure_sizes.py compiled them for each core and board."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from edgeq.board import Board

SIZES = Path(__file__).with_name("sizes")
ENTRY = "eq_reset"
KEPT = (".boot", ".vectors", ".image_definition")  # what the linker script keeps whether or not anything refers to it


class Section(NamedTuple):
    """A section of an object file, with a function or data of its own.

    ``calls``, ``jumps`` (branches, which leave nothing of the caller on the stack) and ``refers`` name symbols, or
    sections of the same object by names that begin with a dot. ``indirect`` is "call" or "jump" for code that does so
    through a register.
    """

    name: str
    size: int
    align: int
    defines: tuple[str, ...]
    frame: int
    calls: tuple[str, ...]
    jumps: tuple[str, ...]
    refers: tuple[str, ...]
    indirect: str


@dataclass(frozen=True)
class SizeTable:
    """What a board's firmware is linked from, in the order of linking: sections by the name of their object.

    The object "model" is that of another model: its sections are those of any, but for their sizes and what its tables
    refer to.
    """

    compiler: str
    objects: Mapping[str, tuple[Section, ...]]


@cache
def size_table(board: Board) -> SizeTable | None:
    """Return the table of a board, None when it has none."""
    path = SIZES / f"{board.name}.json"
    return load_table(SIZES, board.name) if path.is_file() else None


def load_table(folder: Path, name: str) -> SizeTable:
    """Read the table of a board and that of its core from a folder."""
    own: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    core: dict[str, Any] = json.loads((folder / f"{own['core']}.json").read_text())
    objects = {**core["library"], **own["own"], "model": core["model"]}
    objects |= {member: core["libgcc"][member] for member in own["libgcc"]}
    return SizeTable(core["compiler"], {key: tuple(map(section_of, rows)) for key, rows in objects.items()})


def section_of(row: list[Any]) -> Section:
    """Return a section from its row in a table."""
    return Section._make(tuple(item) if isinstance(item, list) else item for item in row)

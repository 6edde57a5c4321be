# SPDX-License-Identifier: Apache-2.0
"""Whether a model's firmware fits a board, to the byte, before any compiler runs.

The sizes of all pieces are committed (edgeq/analysis/size_tables.py), those of the model follow from its plan. What the
linker keeps is what can be reached from the entry; where it puts that is what the board's linker script says.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from edgeq.analysis.size_tables import ENTRY, KEPT, Section, SizeTable, size_table
from edgeq.analysis.stack import stack_bound
from edgeq.board import Board, board_names, load_board
from edgeq.compile.plan import ALIGNMENT, Plan
from edgeq.device.firmware_source import (
    fixed_image,
    fixed_kernels,
    fixed_ways,
    linker_script,
    rare_depthwise,
    step_runs,
)
from edgeq.errors import DoesNotFitError, InternalError
from edgeq.format.write import write_model
from edgeq.ops.packing import layout_code

Key = tuple[str, str]  # an object's name and a section's
Objects = Mapping[str, Sequence[Section]]
POINTER_BYTES = 4
RESULT_BYTES = 12  # eq_step_result
_OUTPUT = re.compile(r"^  (\.\w+)(?: \(NOLOAD\))? : \{(.*?)\} > (\w+)(?: AT > (\w+))?$", re.MULTILINE | re.DOTALL)
_STATEMENT = re.compile(r"\*\(([^)]*)\)|\. = ALIGN\((\d+)\);|\. \+= (\d+);")


@dataclass(frozen=True)
class Placed:
    """What linking makes: bytes of every output section, and of flash and RAM up to the last that is used."""

    sections: Mapping[str, int]
    flash_bytes: int
    ram_bytes: int


@dataclass(frozen=True)
class Fit:
    """What a model's firmware takes of a board.

    ``model_bytes`` lie in flash with ``code_bytes`` of everything else. In RAM there are the arena, the rest of the
    program's memory in ``runtime_bytes``, and what is reserved for a stack: it is never deeper than ``stack_bytes``, of
    which an interrupt takes ``interrupt_bytes``.
    """

    board: str
    compiler: str
    sections: Mapping[str, int]
    model_bytes: int
    arena_bytes: int
    stack_bytes: int
    interrupt_bytes: int
    stack_reserved: int
    flash_bytes: int
    ram_bytes: int
    flash_capacity: int
    ram_capacity: int

    @property
    def code_bytes(self) -> int:
        return self.flash_bytes - self.model_bytes

    @property
    def runtime_bytes(self) -> int:
        return self.ram_bytes - self.stack_reserved - self.sections.get(".arena", 0)

    @property
    def missing_flash(self) -> int:
        return max(0, self.flash_bytes - self.flash_capacity)

    @property
    def missing_ram(self) -> int:
        return max(0, self.ram_bytes - self.ram_capacity)

    @property
    def missing_stack(self) -> int:
        return max(0, self.stack_bytes - self.stack_reserved)

    @property
    def fits(self) -> bool:
        return not (self.missing_flash or self.missing_ram or self.missing_stack)

    @property
    def shortage(self) -> str:
        """What is missing, in words; empty when it fits."""
        needs = (
            ("flash", self.flash_bytes, self.flash_capacity, self.missing_flash),
            ("RAM", self.ram_bytes, self.ram_capacity, self.missing_ram),
            ("stack", self.stack_bytes, self.stack_reserved, self.missing_stack),
        )
        return ", ".join(
            f"{needed} bytes of {name}, {self.board} has {there}: {missing} are missing"
            for name, needed, there, missing in needs
            if missing
        )


def fit_firmware(plan: Plan, model: bytes, board: Board) -> Fit | None:
    """Find what the firmware of a model takes; None for a board whose sizes were not measured.

    ``model`` is the file written from ``plan``. Raises UsageError when no kernel of the core reads its weights.
    """
    table = size_table(board)
    return None if table is None else fit_of(plan, model, board, table)


def require_fit(plan: Plan, model: bytes, board: Board) -> Fit | None:
    """Find what the firmware of a model takes; None for boards that are no microcontroller or were not measured.

    Raises DoesNotFitError when the board has less, saying what would help.
    """
    fit = fit_firmware(plan, model, board) if board.kind == "firmware" else None
    if fit is not None and not fit.fits:
        smaller = ["try --fit"] if fit.missing_ram else []
        raise DoesNotFitError(
            f"the firmware of {plan.name!r} needs {fit.shortage}", hint="; ".join([*smaller, other_boards(plan)])
        )
    return fit


def other_boards(plan: Plan) -> str:
    """Name the boards whose memory the firmware of a plan fits, in words."""
    found = []
    for board in map(load_board, board_names()):
        if board.kind != "firmware":
            continue
        there = replace(plan, layout=layout_code(board.weights))
        fit = fit_firmware(there, write_model(there), board)
        if fit is not None and fit.fits:
            found.append(board.name)
    return f"it fits {', '.join(found)}" if found else "it fits no board"


def fit_of(plan: Plan, model: bytes, board: Board, table: SizeTable) -> Fit:
    """Find what the firmware of a model takes, by a table of sizes."""
    objects = {**table.objects, "model": model_sections(plan, model, board, table.objects["model"])}
    placed, stack = place(objects, board), stack_bound(objects, plan, board)
    return Fit(
        board=board.name,
        compiler=table.compiler,
        sections=placed.sections,
        model_bytes=len(fixed_image(model)),
        arena_bytes=plan.arena_bytes,
        stack_bytes=stack.bytes,
        interrupt_bytes=stack.interrupt_bytes,
        stack_reserved=board.stack_bytes,
        flash_bytes=placed.flash_bytes,
        ram_bytes=placed.ram_bytes,
        flash_capacity=board.region("flash").bytes,
        ram_capacity=board.region("ram").bytes,
    )


def model_sections(plan: Plan, model: bytes, board: Board, others: Sequence[Section]) -> list[Section]:
    """Return the sections of a model's C source, given those of another model's."""
    runs = step_runs(plan)
    changed = {  # size and what is referred to; the other sections are the same for all models
        ".rodata.eq_fixed_image": (len(fixed_image(model)), ()),
        ".rodata.eq_step_runs": (
            POINTER_BYTES * (max(runs, default=0) + 1),
            [f"eq_run_{name}" for name in runs.values()],
        ),
        **{f".rodata.eq_{table}_ways": (None, ways.values()) for table, ways in fixed_ways(plan).items()},
        ".rodata.eq_depthwise_s8_rare": (None, filter(None, [rare_depthwise(plan)])),
        ".rodata.kernels": (None, fixed_kernels(plan, board).values()),
        ".arena": (max(plan.arena_bytes, ALIGNMENT), ()),
        ".bss.eq_fixed_results": (RESULT_BYTES * max(len(plan.steps), 1), ()),
    }
    found = []
    for section in others:
        size, refers = changed.pop(section.name, (None, None))
        kept = section.refers if refers is None else (*(name for name in section.refers if name[0] == "."), *refers)
        found.append(section._replace(size=section.size if size is None else size, refers=kept))
    if changed:
        raise InternalError(f"the size table's model has no section {next(iter(changed))}; run tools/measure_sizes.py")
    return found


def reachable(objects: Objects, symbols: Iterable[str], kept: Collection[str]) -> set[Key]:
    """Return the sections that symbols, or sections whose names are ``kept``, lead to."""
    homes = definitions(objects)
    found: set[Key] = set()
    waiting = [homes[symbol] for symbol in symbols if symbol in homes]
    waiting += [(name, section.name) for name, rows in objects.items() for section in rows if section.name in kept]
    by_key = {(name, section.name): section for name, rows in objects.items() for section in rows}
    while waiting:
        key = waiting.pop()
        if key in found:
            continue
        found.add(key)
        section = by_key[key]
        for target in (*section.calls, *section.jumps, *section.refers):
            home = (key[0], target) if target.startswith(".") else homes.get(target)
            if home is not None and home in by_key:
                waiting.append(home)
    return found


def definitions(objects: Objects) -> dict[str, Key]:
    """Return which section defines each symbol."""
    found: dict[str, Key] = {}
    for name, rows in objects.items():
        for section in rows:
            for symbol in section.defines:
                found.setdefault(symbol, (name, section.name))
    return found


def place(objects: Objects, board: Board) -> Placed:
    """Lay out what the linker keeps as the board's linker script says."""
    kept = reachable(objects, {ENTRY}, KEPT)
    rows = [section for name, found in objects.items() for section in found if (name, section.name) in kept]
    flash, ram = board.region("flash"), board.region("ram")
    ends = {"FLASH": flash.origin, "RAM": ram.origin}
    sizes: dict[str, int] = {}
    for output, body, region, load in _OUTPUT.findall(linker_script(board)):
        taken = [(statement, _matching(rows, statement[0].split())) for statement in _STATEMENT.findall(body)]
        align = max((section.align for _, found in taken for section in found), default=1)
        start = at = _aligned(ends[region], align)
        for (_, alignment, advance), found in taken:
            for section in found:
                at = _aligned(at, section.align) + section.size
            at = _aligned(at, int(alignment or 1)) + int(advance or 0)
        sizes[output] = at - start
        if at > start:
            ends[region] = at
            if load:
                ends[load] = _aligned(ends[load], align) + at - start
    return Placed(sizes, ends["FLASH"] - flash.origin, ends["RAM"] - ram.origin)


def _matching(rows: Sequence[Section], patterns: Sequence[str]) -> list[Section]:
    """Return the sections that the patterns of a linker script name: literally, or by how they begin."""
    plain = {pattern for pattern in patterns if not pattern.endswith("*")}
    starts = tuple(pattern[:-1] for pattern in patterns if pattern.endswith("*"))
    return [section for section in rows if section.name in plain or (starts and section.name.startswith(starts))]


def _aligned(value: int, align: int) -> int:
    return -(-value // align) * align

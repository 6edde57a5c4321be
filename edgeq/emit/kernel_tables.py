# SPDX-License-Identifier: Apache-2.0
"""Which kernels a plan calls, and which functions those are on a core: both are read from native/."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edgeq.board import Board
from edgeq.compile.plan import Plan, PlannedStep
from edgeq.emit.ways import ways_of
from edgeq.errors import InternalError
from edgeq.ir.dtypes import DType
from edgeq.ops.packing import layout_code
from edgeq.paths import native_dir

KERNEL = re.compile(r"^\s*EQ_KERNEL\((\w+),\s*(\w+)\)", re.MULTILINE)
_CORE_TABLES = {
    "armv6-m": "thumb",
    "armv7-m": "thumb2",
    "armv7e-m": "dsp",
    "armv8-m.main": "dsp",
    "armv8.1-m.main": "mve",
}
_TABLE = re.compile(r"^EQ_TABLE\((\w+), (\w+)\)\n((?:#include \"[^\"]+\"\n)+)", re.MULTILINE)
_CONDITION = re.compile(r"^#(?:el)?if (.*)$", re.MULTILINE)
_FUNCTION = re.compile(  # or a table of functions
    r"^(static )?(?:inline )?[A-Za-z_][\w ]*[ *](\w+)(?:\([^;{}]*?\)| =) \{", re.MULTILINE
)
_CALLED = re.compile(r"\bkernels->(\w+)")
_TYPES = {DType.S8: "_s8", DType.S16: "_s16"}  # how the names of kernels end that read these


@dataclass(frozen=True)
class KernelTable:
    """The kernels of one ISA: ``functions`` by kernel, the folders they come from, slowest first, and the condition of
    the preprocessor under which they exist (empty for scalar ones)."""

    isa: str
    layout: int  # of packed weights, a code of edgeq/ops/packing.py
    functions: Mapping[str, str]
    folders: tuple[str, ...]
    condition: str


def core_table(board: Board) -> KernelTable:
    """Return the kernels of a microcontroller's core, which its programs call directly."""
    return kernel_table(_CORE_TABLES[board.isa])


@cache
def kernel_table(isa: str) -> KernelTable:
    """Return the table called ``isa`` as native/kernels/select.c builds it."""
    root = native_dir()
    text = (root / "kernels" / "select.c").read_text()
    for match in _TABLE.finditer(text):
        if match[1] == isa:
            break
    else:
        raise InternalError(f"native/kernels/select.c has no table {isa}")
    listings = re.findall(r'"([^"]+)"', match[3])
    functions = {
        name: f"eq_{name}_{origin}" for path in listings for name, origin in KERNEL.findall((root / path).read_text())
    }
    conditions = _CONDITION.findall(text, 0, match.start())
    condition = "" if isa == "scalar" else conditions[-1]
    return KernelTable(
        isa, layout_code(match[2].lower()), functions, tuple(Path(path).parent.name for path in listings), condition
    )


def called_kernels(plan: Plan, layout: int) -> tuple[str, ...]:
    """Return the kernels that the plan's steps may call when their weights lie in a layout."""
    called = {name for planned in plan.steps for name in kernels_of_step(plan, planned, layout)}
    return tuple(sorted(called))


def kernels_of_step(plan: Plan, planned: PlannedStep, layout: int) -> set[str]:
    """Return the kernels that one step calls, of those that its operator may call."""
    step = planned.step
    packed = step.packed(layout) is not step
    functions = ways_of(step, layout) or {f"eq_op_{step.name}"}
    called = {name for function in functions for name in reached_kernels("", function)}
    called -= {"gemm_s8" if packed else "packed_gemm_s8"}
    ends = {_TYPES.get(plan.values[value].dtype, "") for value in planned.inputs}
    for end in _TYPES.values():
        if end not in ends:
            called = {name for name in called if not name.endswith(end)}
    average = getattr(step, "average", None)  # of pools: the mean, or else the maximum
    if average is not None:
        called = {name for name in called if name.startswith("average") == bool(average)}
    return called


@cache
def reached_kernels(file: str, function: str) -> frozenset[str]:
    """Return the kernels that a function of native/ops reaches, whatever it is given.

    ``file`` is the name of its C file, empty for a function that is not static there.
    """
    functions = _operator_functions()
    called: set[str] = set()
    waiting, seen = [(file, function)], set()
    while waiting:
        key = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        if key not in functions:
            raise InternalError(f"native/ops defines no {key[1]}")
        file, body = functions[key]
        called.update(_CALLED.findall(body))
        for name in set(re.findall(r"\w+", body)):
            waiting += [found for found in ((file, name), ("", name)) if found in functions]
    return frozenset(called)


@cache
def _operator_functions() -> dict[tuple[str, str], tuple[str, str]]:
    """Map every function, and table of them, of native/ops, static ones with their file, to its file and its text."""
    found = {}
    for path in sorted(native_dir().glob("ops/*.[ch]")):
        text = path.read_text()
        starts = list(_FUNCTION.finditer(text))
        ends = [match.start() for match in starts[1:]] + [len(text)]
        for match, end in zip(starts, ends, strict=False):
            home = path.name if match[1] and path.suffix == ".c" else ""
            found[home, match[2]] = (path.name, text[match.start() : end])
    return found

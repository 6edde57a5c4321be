# SPDX-License-Identifier: Apache-2.0
"""A bound of the stack that a model's firmware needs: the deepest path through its calls, and one interrupt on top.

Calls through pointers go where the plan says: from operators to the kernels that it calls and the ways of a convolution
that it takes, from the runtime to its kinds of steps, from the link to what the firmware hands it, from a kernel to
functions whose address is taken beside it; besides, to functions whose address the caller itself takes. The fault
handler is left out: it ends in a reset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from edgeq.analysis.size_tables import Section
from edgeq.board import Board
from edgeq.compile.plan import Plan
from edgeq.emit.kernel_tables import core_table, kernels_of_step, reached_kernels
from edgeq.emit.ways import ALL_WAYS, ways_of
from edgeq.errors import InternalError

Key = tuple[str, str]  # an object's name and a section's
START = "eq_start"  # the first function with a stack
RESET, FAULT = "eq_reset", "eq_fault"
FRAME_BYTES = 36  # eight registers and a word that aligns them (Armv7-M ARM, B1.5.7)
VECTOR_FRAME_BYTES = 108  # with 18 registers of the floating-point unit (Armv8-M ARM, B3.20)


@dataclass(frozen=True)
class StackBound:
    """The most bytes of stack that the program uses by itself, and that an interrupt adds at its deepest point."""

    program_bytes: int
    interrupt_bytes: int

    @property
    def bytes(self) -> int:
        return self.program_bytes + self.interrupt_bytes


def stack_bound(objects: Mapping[str, Sequence[Section]], plan: Plan, board: Board) -> StackBound:
    """Bound the stack of firmware with the plan in it.

    Raises InternalError for calls without a known end: recursion, or functions that the table does not have.
    """
    functions = core_table(board).functions
    steps = {
        (p.step.name, frozenset(kernels_of_step(plan, p, plan.layout)), ALL_WAYS - ways_of(p.step, plan.layout))
        for p in plan.steps
    }
    deepest = 0
    for name, called, passed_by in steps:
        inner = _Calls(objects, kernels={kernel: functions[kernel] for kernel in called}, passed_by=passed_by)
        deepest = max(deepest, inner.depth(inner.homes[f"eq_run_{name}"]))
    graph = _Calls(objects, step_bytes=deepest)
    vectors = next(section for rows in objects.values() for section in rows if section.name == ".vectors")
    handlers = [graph.homes[name] for name in vectors.refers if name in graph.homes and name not in (RESET, FAULT)]
    frame = VECTOR_FRAME_BYTES if board.isa == "armv8.1-m.main" else FRAME_BYTES
    return StackBound(graph.depth(graph.homes[START]), frame + max(map(graph.depth, handlers)))


class _Calls:
    """The calls of firmware, or of one step with the kernels that it calls, and the depth of what was asked for."""

    def __init__(
        self,
        objects: Mapping[str, Sequence[Section]],
        *,
        kernels: Mapping[str, str] = MappingProxyType({}),
        passed_by: frozenset[str] = frozenset(),
        step_bytes: int = 0,
    ) -> None:
        self.homes = {
            symbol: (name, row.name) for name, rows in objects.items() for row in rows for symbol in row.defines
        }
        self._sections = {(name, section.name): section for name, rows in objects.items() for section in rows}
        self._kernels = kernels
        self._passed_by = passed_by
        self._step_bytes = step_bytes
        self._handed = sorted(
            target
            for name, rows in objects.items()
            if name.startswith("firmware/")
            for row in rows
            if row.name.startswith(".text") and not {RESET, FAULT} & set(row.defines)
            for target in self._taken((name, row.name))
        )
        self._depths: dict[Key, int | None] = {}

    def depth(self, key: Key) -> int:
        """Return the bytes of stack below a function's caller at the deepest."""
        if key in self._depths:
            known = self._depths[key]
            if known is None:
                raise InternalError(f"{key[1]} of {key[0]} calls itself, so that its stack has no bound")
            return known
        self._depths[key] = None
        section = self._sections[key]
        calls = [self._target(key, name) for name in section.calls]
        jumps = [self._target(key, name) for name in section.jumps]
        below = after = 0
        if section.indirect:
            through = max(map(self.depth, self._through_pointers(key)), default=0)
            below, after = (through, 0) if section.indirect == "call" else (0, through)
            if key[0].startswith("runtime/"):
                below = max(below, self._step_bytes)
        below = max([below, *(self.depth(target) for target in calls if self._is_reached(target))])
        after = max([after, *(self.depth(target) for target in jumps if target != key and self._is_reached(target))])
        self._depths[key] = total = max(section.frame + below, after)
        return total

    def _target(self, key: Key, name: str) -> Key:
        home = (key[0], name) if name.startswith(".") else self.homes.get(name)
        if home is None or home not in self._sections:
            raise InternalError(f"{key[1]} of {key[0]} calls {name}, whose stack is not known")
        return home

    def _taken(self, key: Key) -> list[Key]:
        """Return the functions whose address a section takes."""
        found = [
            (key[0], name) if name.startswith(".") else self.homes.get(name) for name in self._sections[key].refers
        ]
        functions = {
            home for home in found if home in self._sections and home is not None and home[1].startswith(".text")
        }
        return sorted(functions - {key})  # a table of a switch refers to its own function

    def _through_pointers(self, key: Key) -> list[Key]:
        """Return where a function's calls through pointers may go."""
        folder = key[0].split("/")[0]
        if folder == "runtime":
            return []  # to steps alone: firmware has no threads to hand a part of one to
        tables = [self.homes[name] for name in self._sections[key].refers if name in self.homes]
        found = [target for holder in (key, *tables) for target in self._taken(holder) if self._is_reached(target)]
        if folder == "ops":
            found += [self.homes[self._kernels[name]] for name in self._kernels_of(key) if name in self._kernels]
        elif folder in ("link", "firmware"):
            found += self._handed
        elif folder == "kernels":  # a function may be chosen by another one of the same ISA
            beside = [other for other in self._sections if other[0].rpartition("/")[0] == key[0].rpartition("/")[0]]
            found += [target for other in beside for target in self._taken(other)]
        if not found:
            raise InternalError(f"{key[1]} of {key[0]} calls through a pointer that leads nowhere")
        return found

    def _kernels_of(self, key: Key) -> frozenset[str]:
        """Return the kernels that a function of native/ops reaches."""
        name = _function(key)
        return reached_kernels("" if name.startswith("eq_") else f"{key[0].split('/')[1]}.c", name)

    def _is_reached(self, key: Key) -> bool:
        """Say whether a function may be called: not if all kernels that it is there for are those of other plans."""
        if not key[0].startswith("ops/") or not self._kernels:
            return True
        if _function(key) in self._passed_by:
            return False
        wanted = self._kernels_of(key)
        return not wanted or not wanted.isdisjoint(self._kernels)


def _function(key: Key) -> str:
    """Return the name of the function of a section, as its source has it: the compiler may have cloned it."""
    return key[1].removeprefix(".text.").split(".")[0]

# SPDX-License-Identifier: Apache-2.0
"""Plan: the ordered steps of a model with every buffer already placed in memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeq.ir.dtypes import DType
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Shape, Step

if TYPE_CHECKING:
    from edgeq.compile.lower import Lowered

ALIGNMENT = 16  # bytes; of every tensor in the arena and every constant


@dataclass(frozen=True)
class Value:
    """One buffer of the program: ``offset`` bytes into the arena, or a constant when it carries ``data``."""

    name: str
    shape: Shape
    dtype: DType
    quant: QuantParams | None
    offset: int = 0
    data: np.ndarray | None = None

    @property
    def bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.bytes


@dataclass(frozen=True)
class PlannedStep:
    """A step with the values it reads and writes; ``name`` and ``op`` are those of the source node."""

    step: Step
    name: str
    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    scratch_offset: int = 0
    parts: int = 1  # that threads may run at the same time
    fast: bool = False  # with as much scratch as makes it fastest

    @property
    def scratch_bytes(self) -> int:
        """Bytes of its scratch memory, that of all parts together."""
        part = self.step.fast_scratch_bytes() if self.fast else self.step.scratch_bytes()
        return part if self.parts == 1 else self.parts * (-(-part // ALIGNMENT) * ALIGNMENT)


@dataclass(frozen=True)
class PlanPort:
    """A model input or output. ``dtype`` is what the source model declares; the value may hold codes of it."""

    name: str
    value: int
    dtype: DType
    shape: Shape


@dataclass(frozen=True)
class NamedTensor:
    """A tensor of the source graph that can be read back: which value holds it, and in which shape."""

    name: str
    value: int
    shape: Shape


@dataclass(frozen=True)
class Plan:
    """Everything a run needs.

    ``lower_bound_bytes`` is the largest over the steps of the least bytes that can hold what the step needs and what
    must outlive it: values in place and views counted once, outputs as far over their inputs as they may lie.
    ``recomputed_macs`` are the products that the graph does not ask for, made twice to save memory.
    ``layout`` is the order in which a model file holds the weights (edgeq/ops/packing.py); here steps hold them
    row-major.
    """

    name: str
    rounding: str
    values: tuple[Value, ...]
    steps: tuple[PlannedStep, ...]
    inputs: tuple[PlanPort, ...]
    outputs: tuple[PlanPort, ...]
    tensors: tuple[NamedTensor, ...]
    arena_bytes: int
    lower_bound_bytes: int
    keeps_tensors: bool = False
    layout: int = 0
    recomputed_macs: int = 0

    @property
    def macs(self) -> int:
        return sum(planned.step.macs() for planned in self.steps)

    def live_values(self, step: int) -> list[int]:
        """Return the values of the arena that a step needs or that must outlive it."""
        first, last = lifetimes(self)
        return [i for i, v in enumerate(self.values) if v.data is None and first[i] <= step <= last[i]]

    def live_bytes(self) -> list[int]:
        """Return, for each step, the bytes of the arena that hold something during it (overlaps counted once)."""
        first, last = lifetimes(self)
        spans: list[list[tuple[int, int]]] = [
            [(planned.scratch_offset, planned.scratch_offset + planned.scratch_bytes)] for planned in self.steps
        ]
        for index, value in enumerate(self.values):
            if value.data is None:
                for step in range(max(first[index], 0), min(last[index], len(self.steps) - 1) + 1):
                    spans[step].append((value.offset, value.offset + value.bytes))
        return [union_bytes(found) for found in spans]


def union_bytes(spans: Iterable[tuple[int, int]]) -> int:
    """Return the bytes that spans (start, end) cover together."""
    total, end = 0, 0
    for start, stop in sorted(spans):
        total += max(0, stop - max(start, end))
        end = max(end, stop)
    return total


def lifetimes(plan: Plan | Lowered) -> tuple[list[int], list[int]]:
    """Return the first and last step at which each value is needed; inputs from -1, outputs to the step count."""
    never = len(plan.steps)
    first = [never] * len(plan.values)
    last = [-1] * len(plan.values)
    for port in plan.inputs:
        first[port.value] = -1
    for index, planned in enumerate(plan.steps):
        for value in planned.outputs:
            first[value] = min(first[value], index)
            last[value] = max(last[value], index)
        for value in planned.inputs:
            last[value] = max(last[value], index)
    for port in plan.outputs:
        last[port.value] = never
    return first, last

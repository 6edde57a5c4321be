# SPDX-License-Identifier: Apache-2.0
"""What a run or a profile gives back, the same for twin, host, emulator and board."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

UNITS = ("ns", "instructions", "cycles:dwt", "cycles:timer", "cycles:modelled")


@dataclass(frozen=True)
class RunResult:
    """One inference: outputs as the model stores them, and a CRC-32 of every step's outputs when asked for."""

    outputs: tuple[np.ndarray, ...]
    step_crcs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Spread:
    """A quantity over several inferences."""

    minimum: float
    median: float
    p90: float


@dataclass(frozen=True)
class StepMeasure:
    """One step of a profile: the median of each measured unit.

    ``peak_fraction`` is its MACs over those that the core's multipliers could do in its cycles, None where unknown.
    """

    index: int
    name: str
    op: str
    measures: Mapping[str, float]
    macs: int
    bytes_moved: int
    peak_fraction: float | None = None


@dataclass(frozen=True)
class Profile:
    """Where the work of an inference goes. ``totals`` and each step hold one entry per unit of UNITS measured.

    ``notes`` say what was not measured and how it could be.
    """

    model: str
    board: str
    isa: str
    threads: int
    emulated: bool
    inferences: int
    macs: int
    totals: Mapping[str, Spread]
    steps: tuple[StepMeasure, ...]
    arena_bytes: int
    arena_lower_bound_bytes: int
    model_bytes: int
    runtime_bytes: int = 0
    stack_bytes: int = 0
    code_bytes: int = 0
    notes: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """The first unit of UNITS that was measured."""
        return next(unit for unit in UNITS if unit in self.totals)

# SPDX-License-Identifier: Apache-2.0
"""Read what the instruction counter (native/port/qemu/count.c) reports of an emulated run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeq.errors import DeviceError

CALIBRATE = 0xFFFFFFFF  # what eqrun marks twice in a row, to show what a marker itself costs


@dataclass(frozen=True)
class Interval:
    """What ran from one marker to the next: instructions, and how often each block of code (its bytes) did.

    ``left`` is how often what ran next was not the code right behind the block, as after a taken branch.
    """

    instructions: int
    blocks: Mapping[bytes, int]
    left: Mapping[bytes, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Counted:
    """One inference: what ran for each step, each with one marker's own work (``marker``) in it."""

    steps: tuple[Interval, ...]
    marker: Interval

    @property
    def instructions(self) -> list[int]:
        """Instructions of each step, without the marker's own."""
        return [max(0, step.instructions - self.marker.instructions) for step in self.steps]


def parse_report(report: str, steps: int) -> Counted:
    """Return what ran in each step.

    Raises DeviceError for any other sequence of markers than calibrate, calibrate, 0, 1 ... steps, and for a report
    whose lines cannot be read.
    """
    code: dict[str, bytes] = {}
    marks: list[tuple[int, int]] = []
    intervals: list[tuple[Counter[bytes], Counter[bytes]]] = []
    runs: Counter[bytes] = Counter()
    left: Counter[bytes] = Counter()
    try:
        for line in report.splitlines():
            kind, first, second = line.split(" ")
            if kind == "block":
                code[first] = bytes.fromhex(second)
            elif kind == "ran":
                runs[code[first]] += int(second)
            elif kind == "left":
                left[code[first]] += int(second)
            elif kind == "mark":
                marks.append((int(first), int(second)))
                intervals.append((runs, left))
                runs, left = Counter(), Counter()
            else:
                raise ValueError(kind)
    except (ValueError, KeyError):
        raise DeviceError("the instruction counter's report is damaged") from None
    if [what for what, _ in marks] != [CALIBRATE, CALIBRATE, *range(steps + 1)]:
        raise DeviceError(f"the instruction counter saw {len(marks)} markers, {steps + 3} in order expected")
    found = [
        Interval(end - start, blocks, left)
        for (_, start), (_, end), (blocks, left) in zip(marks, marks[1:], intervals[1:], strict=False)
    ]
    return Counted(steps=tuple(found[2:]), marker=found[0])

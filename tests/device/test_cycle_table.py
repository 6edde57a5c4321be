# SPDX-License-Identifier: Apache-2.0
"""Sequences whose cycles the timing tables of the cores' reference manuals give."""

from __future__ import annotations

import pytest

from edgeq.device.counter import Interval
from edgeq.device.cycle_table import TIMINGS, instructions_of, modelled_cycles, straight_cycles, taken_cycles

# Code as arm-none-eabi-as 2.40 assembles it, with its cycles on a Cortex-M0, M0+, M3 and M4
STRAIGHT = {
    "adds r0, r1, r2": ("8818", 1, 1, 1, 1),
    "muls r0, r1": ("4843", 1, 1, 1, 1),
    "ldr r0, [r1, #4]": ("4868", 2, 2, 2, 2),
    "ldrsb r0, [r1, r2]": ("8856", 2, 2, 2, 2),
    "str r0, [r1, #4]": ("4860", 2, 2, 1, 1),
    "strb r0, [r1, r2]": ("8854", 2, 2, 2, 2),
    "ldr r0, [r1, #4] twice": ("48684868", 4, 4, 3, 3),
    "strb r0, [r1, r2] twice": ("88548854", 4, 4, 4, 4),
    "ldr r0, [r1, #4]; strb r0, [r1, r2]": ("48688854", 4, 4, 3, 3),
    "stm r0!, {r1-r4}": ("1ec0", 5, 5, 5, 5),
    "push {r4-r7, lr}": ("f0b5", 6, 6, 6, 6),
    "pop {r4-r7}": ("f0bc", 5, 5, 5, 5),
    "beq": ("fed0", 1, 1, 1, 1),
    "mrs r0, ipsr": ("eff30580", 4, 3, 2, 2),
}
WIDE = {  # on a Cortex-M3 and M4
    "ldrsb r10, [r0], #1": ("10f901ab", 2, 2),
    "ldrd r4, r5, [r0]": ("d0e90045", 3, 3),
    "ldm r0, {r4-r9}": ("90e8f003", 7, 7),
    "mul r0, r1, r2": ("01fb02f0", 1, 1),
    "mla r4, r10, r12, r4": ("0afb0c44", 2, 1),
    "smull r0, r1, r2, r3": ("82fb0301", 4, 1),
    "smlal r0, r1, r2, r3": ("c2fb0301", 5, 1),
    "sdiv r0, r1, r2": ("91fbf2f0", 7, 7),
    "str r0, [r1, r2]": ("41f80200", 2, 2),
    "str r0, [r1, #1024]": ("c1f80004", 1, 1),
    "ssat r0, #8, r1": ("01f30700", 1, 1),
    "adds r0, #0x40000000": ("10f18040", 1, 1),
}
TAKEN = {  # beyond the instruction's own
    "beq": ("fed0", 2, 1, 2, 2),
    "b": ("fee7", 2, 1, 2, 2),
    "bx lr": ("7047", 2, 1, 2, 2),
    "mov pc, lr": ("f746", 2, 1, 2, 2),
    "bl": ("fff7feff", 3, 2, 2, 2),
    "pop {r4, pc}": ("10bd", 3, 2, 2, 2),
    "adds r0, r1, r2": ("8818", 0, 0, 0, 0),
}
CORES = ("cortex-m0", "cortex-m0plus", "cortex-m3", "cortex-m4")


@pytest.mark.parametrize("name", STRAIGHT)
def test_instructions_take_the_cycles_of_the_manuals(name: str) -> None:
    code, *cycles = STRAIGHT[name]
    assert [straight_cycles(bytes.fromhex(code), TIMINGS[core]) for core in CORES] == cycles


@pytest.mark.parametrize("name", WIDE)
def test_instructions_of_two_halfwords_take_the_cycles_of_the_manuals(name: str) -> None:
    code, *cycles = WIDE[name]
    assert len(list(instructions_of(bytes.fromhex(code)))) == 1
    assert [straight_cycles(bytes.fromhex(code), TIMINGS[core]) for core in CORES[2:]] == cycles


@pytest.mark.parametrize("name", TAKEN)
def test_a_taken_branch_refills_the_pipeline(name: str) -> None:
    code, *cycles = TAKEN[name]
    assert [taken_cycles(bytes.fromhex(code), TIMINGS[core]) for core in CORES] == cycles


def test_a_loop_takes_its_block_and_every_branch_but_the_last() -> None:
    code = bytes.fromhex("02684218013afbd1")  # ldr r2, [r0]; adds r2, r0, r1; subs r2, #1; bne
    interval = Interval(40, {code: 10}, {code: 9})
    assert modelled_cycles(interval, TIMINGS["cortex-m0"]) == 10 * (2 + 1 + 1 + 1) + 9 * 2

# SPDX-License-Identifier: Apache-2.0
"""No kernel needs more instructions than the committed counts say."""

from __future__ import annotations

import warnings

import pytest
from bare import find_core
from kernel_counts import BARE_TARGETS, COMMAND, FILE, TARGETS, Counts, count, count_on, emulated, kept
from needs import missing, needs_module, needs_program

from edgeq.device.machine import find_emulator

TOLERANCE = 0.02


@pytest.mark.parametrize(("isa", "board_name", "cpu"), TARGETS, ids=[isa for isa, _, _ in TARGETS])
def test_no_kernel_needs_more_instructions_than_before(isa: str, board_name: str, cpu: str) -> None:
    board = emulated(board_name, cpu)
    if find_emulator(board.emulator) is None:
        needs_program(board.emulator)
    if board.kind != "host":
        needs_module("ziglang")
    _assert_no_more(isa, count(isa, board))


@pytest.mark.parametrize(("isa", "cpu"), BARE_TARGETS, ids=[isa for isa, _ in BARE_TARGETS])
def test_no_kernel_of_a_microcontroller_needs_more_instructions_than_before(isa: str, cpu: str) -> None:
    _assert_no_more(isa, count_on(isa, find_core(cpu)))


def _assert_no_more(isa: str, now: Counts) -> None:
    before = kept()[isa]
    if before.compiler != now.compiler:
        missing(f"needs {before.compiler}, whose code {FILE.name} counts; not {now.compiler}; renew: {COMMAND}")
    assert set(now.shapes) == set(before.shapes), f"the bench has other shapes than {FILE.name}; {COMMAND}"
    ratios = {name: n / before.shapes[name] - 1 for name, n in now.shapes.items()}
    worse = {name: f"{ratio:+.1%}" for name, ratio in ratios.items() if ratio > TOLERANCE}
    better = {name: f"{ratio:+.1%}" for name, ratio in ratios.items() if ratio < -TOLERANCE}
    assert not worse, f"{isa} needs more instructions: {worse}"
    if better:
        warnings.warn(f"{isa} needs fewer instructions than {FILE.name} says: {better}; {COMMAND}", stacklevel=1)

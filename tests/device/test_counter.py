# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from edgeq.device.counter import CALIBRATE, Interval, parse_report
from edgeq.errors import DeviceError

REPORT = f"""\
mark {CALIBRATE} 100
block 1 1f2003d5
ran 1 7
mark {CALIBRATE} 107
ran 1 8
mark 0 115
block 2 0a000014
ran 2 1000
ran 1 7
mark 1 1122
ran 1 5
mark 2 1127
"""
NOP, BRANCH = bytes.fromhex("1f2003d5"), bytes.fromhex("0a000014")


def test_each_step_has_the_blocks_that_ran_in_it() -> None:
    counted = parse_report(REPORT, 2)
    assert counted.marker == Interval(7, {NOP: 7})
    assert counted.steps == (Interval(1007, {BRANCH: 1000, NOP: 7}), Interval(5, {NOP: 5}))


def test_a_block_that_was_left_may_have_run_in_the_step_before() -> None:
    report = REPORT.replace("ran 1 5\n", "ran 1 5\nleft 1 4\nleft 2 1\n")
    assert parse_report(report, 2).steps[1] == Interval(5, {NOP: 5}, {NOP: 4, BRANCH: 1})


def test_the_markers_own_instructions_are_taken_off() -> None:
    assert parse_report(REPORT, 2).instructions == [1000, 0]


def test_blocks_with_the_same_code_are_one() -> None:
    report = REPORT.replace("block 2 0a000014", "block 2 1f2003d5")
    assert parse_report(report, 2).steps[0].blocks == {NOP: 1007}


@pytest.mark.parametrize(
    "report",
    ["", "mark 0 5\n", REPORT.replace("mark 1", "mark 2"), REPORT + "mark 3 2000\n"],
    ids=["empty", "one", "out of order", "too many"],
)
def test_a_wrong_sequence_of_markers_is_refused(report: str) -> None:
    with pytest.raises(DeviceError, match="markers"):
        parse_report(report, 2)


@pytest.mark.parametrize("line", ["ran 9 1", "left 9 1", "block 3 xyz", "mark", "hello 1 2", "ran 1 many"])
def test_a_line_that_cannot_be_read_is_refused(line: str) -> None:
    with pytest.raises(DeviceError, match="damaged"):
        parse_report(f"{REPORT}{line}\n", 2)

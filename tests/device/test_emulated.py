# SPDX-License-Identifier: Apache-2.0
"""Boards, emulated: the twin's integers, counted instructions and no time."""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np
import pytest
from device.plans import program
from needs import needs_program

from edgeq.board import load_board
from edgeq.device.device import connect
from edgeq.errors import DeviceError, UsageError
from edgeq.runtime.reference import run_reference

QUICK = [
    ("raspberry-pi-zero-2w", "zig"),
    ("raspberry-pi-3", "zig"),
    ("raspberry-pi-4", "zig"),
    ("raspberry-pi-5", "zig"),
    ("raspberry-pi-2", "gcc"),
]
SLOW = [("raspberry-pi-zero", "zig"), ("raspberry-pi-2", "zig"), ("raspberry-pi-4", "gcc")]
BOARDS = [*QUICK, *(pytest.param(*values, marks=pytest.mark.slow) for values in SLOW)]


@pytest.mark.parametrize(("name", "toolchain"), BOARDS)
def test_an_emulated_board_gives_the_twins_integers(name: str, toolchain: str) -> None:
    board = load_board(name)
    needs_program(board.emulator)
    if toolchain == "gcc":
        needs_program("aarch64-linux-gnu-gcc" if board.isa == "aarch64" else "arm-linux-gnueabihf-gcc")
    small = program()
    with connect(board, toolchain=toolchain) as device:
        device.load(small.plan, small.model)
        results = device.run_many(small.samples, crcs=True)
        profile = device.profile(small.samples[0])
    for sample, result in zip(small.samples, results, strict=True):
        twin = run_reference(small.plan, sample, crcs=True)
        assert result.step_crcs == twin.step_crcs
        for found, expected in zip(result.outputs, twin.outputs, strict=True):
            np.testing.assert_array_equal(found, expected, strict=True)
    assert profile.emulated
    assert profile.unit == "instructions"
    assert "ns" not in profile.totals
    assert [step.name for step in profile.steps] == ["stem", "gate"]
    # A multiply-accumulate needs at least a tenth of an instruction even with the widest dot product.
    assert profile.steps[0].measures["instructions"] > profile.steps[0].macs / 10
    total = profile.totals["instructions"]
    assert total.minimum == total.median == sum(step.measures["instructions"] for step in profile.steps)


def test_instructions_are_counted_the_same_every_time() -> None:
    board = load_board("raspberry-pi-4")
    needs_program(board.emulator)
    small = program()
    with connect(board) as device:
        device.load(small.plan, small.model)
        first, second = device.profile(small.samples[0]), device.profile(small.samples[0])
    assert first == second
    with connect(board, threads=2) as device:
        device.load(small.plan, small.model)
        third = device.profile(small.samples[0])
    assert (third.totals, third.threads) == (first.totals, 1)
    assert "instructions are counted with one thread" in third.notes


def test_the_host_gives_the_twins_integers_and_time() -> None:
    small = program()
    with connect(load_board("host")) as device:
        device.load(small.plan, small.model)
        result = device.run(small.samples[1])
        profile = device.profile(small.samples[1], inferences=5)
    np.testing.assert_array_equal(result.outputs[0], run_reference(small.plan, small.samples[1]).outputs[0])
    assert not profile.emulated
    assert profile.inferences == 5
    assert list(profile.totals) == ["ns"]
    assert profile.totals["ns"].minimum > 0
    assert profile.runtime_bytes > 0
    assert profile.model_bytes == len(small.model)


def test_on_a_real_board_the_fraction_of_the_peak_is_that_at_its_clock() -> None:
    small = program()
    known = dataclasses.replace(load_board("host"), clock_hz=2_000_000_000, peak_macs_per_cycle=8)
    with connect(known) as device:
        device.load(small.plan, small.model)
        stem, gate = device.profile(small.samples[0], inferences=3).steps
    assert stem.peak_fraction == pytest.approx(stem.macs / (stem.measures["ns"] * 2 * 8))
    assert gate.peak_fraction is None


def test_a_damaged_model_is_refused_by_name() -> None:
    small = program()
    damaged = bytearray(small.model)
    damaged[-20] ^= 1
    with connect(load_board("host")) as device:
        device.load(small.plan, bytes(damaged))
        with pytest.raises(DeviceError, match="EQ_ERR_PAYLOAD"):
            device.run(small.samples[0])


def test_running_without_a_model_is_refused() -> None:
    with connect(load_board("host")) as device, pytest.raises(UsageError, match="no model is loaded"):
        device.run([np.zeros(3, np.int8)])


def test_crc_of_steps_is_that_of_zlib() -> None:
    small = program()
    result = run_reference(small.plan, small.samples[0], crcs=True)
    assert result.step_crcs[-1] == zlib.crc32(result.outputs[0].tobytes())

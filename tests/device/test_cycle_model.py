# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from device.plans import program
from needs import needs_program

from edgeq.board import load_board
from edgeq.device import cycle_model, eqrun
from edgeq.device.cycle_model import CORES, Tools, block_cycles, find_tools, loaded_bytes, modelled_cycles
from edgeq.device.device import connect
from edgeq.ir.result import Profile

# add v0.4s, v0.4s, v1.4s: each waits for the one before
CHAIN = bytes.fromhex("0084a14e")
# ldr q0, [x1]; ldr q2, [x1]
TWO_LOADS = bytes.fromhex("2000c03d2200c03d")
NOT_AN_INSTRUCTION = bytes.fromhex("00000000")


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    monkeypatch.setenv("EDGEQ_CACHE", str(tmp_path))
    found = find_tools()
    if found is None:
        needs_program(f"llvm-mca-{cycle_model.OLDEST}")
    assert found is not None
    return found


def test_a_chain_of_additions_takes_their_latency(tools: Tools) -> None:
    # The Cortex-A72 adds vectors in three cycles, the Neoverse N1 in two; the rest is filling the pipeline once.
    for cpu, latency in (("cortex-a72", 3), ("cortex-a76", 2)):
        found = block_cycles([CHAIN], CORES[cpu], tools)[CHAIN]
        assert latency <= found <= latency + 0.2


def test_a_cortex_a53_loads_eight_bytes_a_cycle(tools: Tools) -> None:
    assert block_cycles([TWO_LOADS], CORES["cortex-a53"], tools)[TWO_LOADS] >= 4
    assert block_cycles([TWO_LOADS], CORES["cortex-a72"], tools)[TWO_LOADS] < 4


def test_cycles_are_those_of_each_block_times_its_runs(tools: Tools) -> None:
    core = CORES["cortex-a72"]
    costs = block_cycles([CHAIN, TWO_LOADS], core, tools)
    found = modelled_cycles([{CHAIN: 10, TWO_LOADS: 3}, {}, {TWO_LOADS: 1}], core, tools)
    assert found == [10 * costs[CHAIN] + 3 * costs[TWO_LOADS], 0, costs[TWO_LOADS]]


def test_bytes_that_are_no_instruction_cost_something_and_spoil_nothing(tools: Tools) -> None:
    core = CORES["cortex-a72"]
    costs = block_cycles([CHAIN, NOT_AN_INSTRUCTION, TWO_LOADS], core, tools)
    assert costs[NOT_AN_INSTRUCTION] > 0
    assert costs[CHAIN] == block_cycles([CHAIN], core, tools)[CHAIN]


def test_what_was_simulated_once_comes_from_the_cache(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    core = CORES["cortex-a76"]
    first = block_cycles([CHAIN, TWO_LOADS], core, tools)
    monkeypatch.setattr(cycle_model, "_simulate", lambda *_: pytest.fail("simulated again"))
    assert block_cycles([TWO_LOADS, CHAIN], core, tools) == first


def test_a_damaged_cache_is_made_again(tools: Tools, tmp_path: Path) -> None:
    core = CORES["cortex-a72"]
    first = block_cycles([CHAIN], core, tools)
    for path in tmp_path.glob("cycles-*"):
        path.write_text('{"half')
    assert block_cycles([CHAIN], core, tools) == first


@pytest.mark.parametrize(
    ("word", "count"),
    [
        (0x3DC00020, 16),  # ldr q0, [x1]
        (0x3D800020, 0),  # str q0, [x1]
        (0xFD400020, 8),  # ldr d0, [x1]
        (0xAD400440, 32),  # ldp q0, q1, [x2]
        (0xA9400440, 16),  # ldp x0, x1, [x2]
        (0x29400440, 8),  # ldp w0, w1, [x2]
        (0x39400020, 1),  # ldrb w0, [x1]
        (0x79C00020, 2),  # ldrsh w0, [x1]
        (0xF9800020, 0),  # prfm pldl1keep, [x1]
        (0x4C402020, 64),  # ld1 {v0.16b-v3.16b}, [x1]
        (0x0C407020, 8),  # ld1 {v0.8b}, [x1]
        (0x4C007020, 0),  # st1 {v0.16b}, [x1]
        (0x4D40C820, 4),  # ld1r {v0.4s}, [x1]
        (0x4D40C020, 1),  # ld1r {v0.16b}, [x1]
        (0x0D408020, 4),  # ld1 {v0.s}[0], [x1]
        (0x58000040, 8),  # ldr x0, label
        (0x9C000040, 16),  # ldr q0, label
        (0xC8DFFC20, 8),  # ldar x0, [x1]
        (0x8B010000, 0),  # add x0, x0, x1
    ],
)
def test_loaded_bytes(word: int, count: int) -> None:
    assert loaded_bytes(word) == count


def _profile(board: str) -> Profile:
    found = load_board(board)
    needs_program(found.emulator)
    small = program()
    with connect(found) as device:
        device.load(small.plan, small.model)
        return device.profile(small.samples[0])


def test_an_emulated_board_has_modelled_cycles_beside_its_instructions(tools: Tools) -> None:
    profile = _profile("raspberry-pi-4")
    assert profile.unit == "instructions"
    assert list(profile.totals) == ["instructions", "cycles:modelled"]
    assert profile.totals["cycles:modelled"].median == sum(step.measures["cycles:modelled"] for step in profile.steps)
    for step in profile.steps:  # the core issues three instructions a cycle
        assert step.measures["cycles:modelled"] > step.measures["instructions"] / 3
    convolution, table = profile.steps
    expected = convolution.macs / (8 * convolution.measures["cycles:modelled"])
    assert convolution.peak_fraction == pytest.approx(expected)
    assert table.peak_fraction is None
    assert profile.notes == ()


def test_without_llvm_the_report_says_what_gives_the_cycles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eqrun, "find_tools", lambda: None)
    profile = _profile("raspberry-pi-4")
    assert list(profile.totals) == ["instructions"]
    assert "apt-get install llvm" in profile.notes[0]
    assert profile.steps[0].peak_fraction is None


def test_a_core_without_a_model_says_so() -> None:
    profile = _profile("raspberry-pi-2")
    assert list(profile.totals) == ["instructions"]
    assert "cortex-a7" in profile.notes[0]

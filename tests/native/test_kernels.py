# SPDX-License-Identifier: Apache-2.0
"""Every fast kernel equals the scalar one, on this CPU and on every emulated one.

EDGEQ_SEED=17 draws other cases than without it; a failure prints the command that repeats its case.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from bare import CORES, build_bare, find_core, run_bare
from isas import Cpu, each_emulated_cpu, emulated_board, host_isas
from kernel_counts import build

from edgeq.board import Board, load_board
from edgeq.device.machine import Ended, LocalMachine
from edgeq.device.toolchain import find_compiler
from edgeq.paths import native_dir

QUICK_CASES = 300
SLOW_CASES = 10_000
SEED = int(os.environ.get("EDGEQ_SEED", "0")) * SLOW_CASES
DEFINED = {("coded_gemm_s8", "scalar")}  # compared with a definition in its check
EQUAL = re.compile(r"^(\w+) +(\w+) +(\d+) cases equal, +\d+ of a full tile, +\d+ with tails$", re.MULTILINE)

CASES = [pytest.param(QUICK_CASES, id="quick"), pytest.param(SLOW_CASES, id="all", marks=pytest.mark.slow)]


def _run(board: Board, program: Path, *arguments: str) -> Ended:
    machine = LocalMachine(board)
    try:
        name = machine.store(program.read_bytes(), executable=True)
        return machine.run([name, *arguments], seconds=7200)
    finally:
        machine.close()


def _listed(isas: Sequence[str]) -> set[tuple[str, str]]:
    """Every kernel that the tables name, with its ISA."""
    found = set()
    for isa in isas:
        lines = (native_dir() / "kernels" / isa / "kernels.inc").read_text().splitlines()
        found |= {(name, isa) for line in lines for name in re.findall(r"^EQ_KERNEL\((\w+), \w+\)$", line)}
    return found


def _assert_equal(ended: Ended, isas: Sequence[str], cases: int) -> None:
    assert (ended.code, ended.stdout.endswith("CHECK DONE\n")) == (0, True), ended.last_lines
    assert re.findall(r"^isa (\w+)$", ended.stdout, re.MULTILINE) == ["scalar", *isas]
    checked = {(kernel, isa) for kernel, isa, count in EQUAL.findall(ended.stdout) if int(count) == cases}
    assert checked == _listed(isas) | DEFINED, ended.stdout


@pytest.mark.parametrize("cases", CASES)
def test_kernels_of_this_cpu_equal_scalar(cases: int) -> None:
    board = load_board("host")
    _, *isas = host_isas()
    ended = _run(board, build(find_compiler(board)), "--cases", str(cases), "--seed", str(SEED))
    _assert_equal(ended, isas, cases)


@pytest.mark.parametrize("cases", CASES)
@each_emulated_cpu
def test_kernels_of_an_emulated_cpu_equal_scalar(cpu: Cpu, cases: int) -> None:
    board = emulated_board(cpu)
    ended = _run(board, build(find_compiler(board)), "--cases", str(cases), "--seed", str(SEED))
    _assert_equal(ended, cpu.isas, cases)


@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize("name", [core.cpu for core in CORES])
def test_kernels_of_a_microcontroller_equal_scalar(name: str, cases: int) -> None:
    core = find_core(name)
    ended = run_bare(core, build_bare(core), ["--cases", str(cases), "--seed", str(SEED)], seconds=7200)
    _assert_equal(ended, core.isas, cases)


PLANTED = """
#include "kernels/kernels.h"
void eq_depthwise_s8_planted(int8_t *out, const int8_t *x, const int8_t *w, int32_t channels,
                             const eq_depthwise_window *window, const eq_linear_s8 *linear) {
  eq_depthwise_s8_scalar(out, x, w, channels, window, linear);
  if (window->lines > 1 && window->pixels > 9) { %s }
}
"""
FAULTS = {
    "out[channels] ^= (int8_t)((out[channels] & 31) == 7);": "scalar gives",
    "out[(window->lines - 1) * window->out_line + (size_t)window->pixels * (size_t)channels] = 0;": "writes at byte",
    "volatile int8_t seen = w[(size_t)window->rows * window->w_row + 127]; (void)seen;": "reading outside a buffer",
}


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    shutil.copytree(native_dir(), tmp_path / "native", ignore=shutil.ignore_patterns("python", "port"))
    return tmp_path / "native"


def _plant(fault: str, native: Path, isa: str) -> None:
    folder = native / "kernels" / isa
    declared = "eq_depthwise_s8_fn eq_depthwise_s8_scalar;"
    (folder / "planted.c").write_text(PLANTED.replace("void", declared + "\nvoid", 1) % fault)
    with (folder / "kernels.inc").open("a") as table:
        table.write("EQ_KERNEL(depthwise_s8, planted)\n")


def _assert_found(fault: str, isa: str, run: Callable[[Sequence[str]], Ended]) -> None:
    """Fail unless the harness finds the fault, and again when asked for the case."""
    ended = run(["--cases", "2000", "--kernel", "depthwise_s8", "--isa", isa])
    assert (ended.code, FAULTS[fault] in ended.stdout) == (1, True), ended.last_lines
    repeat = re.search(r"repeat with (.+)$", ended.stdout, re.MULTILINE)
    assert repeat is not None
    assert run(repeat[1].split()).stdout == ended.stdout


@pytest.mark.parametrize("fault", FAULTS, ids=["wrong", "writes", "reads"])
def test_a_planted_fault_is_found_and_repeated(fault: str, copied: Path) -> None:
    fastest = host_isas()[-1]
    _plant(fault, copied, fastest)
    board = load_board("host")
    program = build(find_compiler(board), copied)
    _assert_found(fault, fastest, lambda arguments: _run(board, program, *arguments))


def test_a_fault_planted_in_a_microcontroller_is_found_and_repeated(copied: Path) -> None:
    core = find_core("cortex-m4")
    fault, isa = next(fault for fault in FAULTS if "reading" in FAULTS[fault]), core.isas[-1]
    _plant(fault, copied, isa)
    objects = build_bare(core, copied)
    _assert_found(fault, isa, lambda arguments: run_bare(core, objects, arguments, seconds=600))

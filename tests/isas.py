# SPDX-License-Identifier: Apache-2.0
"""The kernels there are, on this CPU and on each emulated one, and how a test runs a model with those that it names."""

from __future__ import annotations

import dataclasses
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from needs import needs_module, needs_program

from edgeq.api import Model
from edgeq.board import Board, load_board
from edgeq.device.device import connect
from edgeq.device.machine import find_emulator
from edgeq.ir.result import RunResult
from edgeq.runtime.native import isa_names


@dataclass(frozen=True)
class Cpu:
    """An emulated CPU: whose executables it runs, QEMU's name for it, and its ISAs behind scalar, slowest first."""

    board: str
    cpu: str
    isas: tuple[str, ...]


EMULATED = (
    Cpu("raspberry-pi-3", "cortex-a53", ("neon",)),
    Cpu("raspberry-pi-4", "cortex-a72", ("neon",)),
    Cpu("raspberry-pi-5", "cortex-a76", ("neon", "dotprod")),
    Cpu("raspberry-pi-5", "max", ("neon", "dotprod", "i8mm")),
    Cpu("raspberry-pi-2", "cortex-a7", ("neon32",)),
    Cpu("raspberry-pi-zero", "arm1176", ("v6",)),
)

each_emulated_cpu = pytest.mark.parametrize("cpu", EMULATED, ids=lambda cpu: cpu.cpu)
each_emulated_isa = pytest.mark.parametrize(
    ("cpu", "isa"),
    [pytest.param(cpu, isa, id=f"{cpu.cpu}-{isa}") for cpu in EMULATED for isa in ("scalar", *cpu.isas)],
)


def host_isas() -> tuple[str, ...]:
    """List the ISAs of this CPU, slowest first: on x86 those that it should have by the features that Linux names.

    In CI a CPU without AVX-512 VNNI fails the test, unless EDGEQ_NO_VNNI is 1.
    """
    if platform.machine() != "x86_64":
        return isa_names()
    features = set(Path("/proc/cpuinfo").read_text().partition("\nflags")[2].partition("\n")[0].split())
    vnni = {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512_vnni"} <= features
    if not vnni and os.environ.get("CI") and os.environ.get("EDGEQ_NO_VNNI") != "1":
        pytest.fail("this CPU has no AVX-512 VNNI, so those kernels would go unchecked; EDGEQ_NO_VNNI=1 accepts that")
    expected = ("scalar", *(isa for isa, found in (("avx2", "avx2" in features), ("vnni", vnni)) if found))
    assert isa_names() == expected
    return expected


@contextmanager
def forced_isa(isa: str | None) -> Iterator[None]:
    """Have models that are opened meanwhile, here and in emulators, run with these kernels; None: the fastest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EDGEQ_ISA", raising=False)
        if isa is not None:
            patch.setenv("EDGEQ_ISA", isa)
        yield


def opened(model: Model, isa: str) -> Model:
    """Return the same model, its native runner open with these kernels."""
    with forced_isa(isa):
        found = Model(model.plan, model.data)
        assert found.native.isa == isa
    return found


def emulated_board(cpu: Cpu) -> Board:
    """Return the board with this CPU. Skips the test, or fails it in CI, without its emulator or a compiler."""
    board = dataclasses.replace(load_board(cpu.board), emulator_cpu=cpu.cpu)
    if find_emulator(board.emulator) is None:
        needs_program(board.emulator)
    if board.isa == "armv6" or shutil.which("aarch64-linux-gnu-gcc") is None:
        needs_module("ziglang")
    return board


def run_emulated(
    cpu: Cpu, isa: str | None, cases: Sequence[tuple[Model, Sequence[Sequence[np.ndarray]]]]
) -> list[list[RunResult]]:
    """Run each model on its samples (codes) through eqrun with these kernels, or those that it picks itself.

    The CPU's fastest kernels must be picked for portable models.
    """
    found = []
    with connect(emulated_board(cpu)) as device, forced_isa(isa):
        for model, samples in cases:
            device.load(model.plan, model.data)
            found.append(device.run_many(samples, crcs=True))
            assert device.isa == (isa or cpu.isas[-1])
    return found


def assert_same(found: RunResult, expected: RunResult, subject: str) -> None:
    """Fail unless all steps' CRCs and all outputs are the same."""
    assert found.step_crcs == expected.step_crcs, subject
    for have, want in zip(found.outputs, expected.outputs, strict=True):
        np.testing.assert_array_equal(have, want, subject, strict=True)

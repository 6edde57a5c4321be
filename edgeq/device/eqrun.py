# SPDX-License-Identifier: Apache-2.0
"""Drive eqrun, the program that runs a model on Linux, wherever it runs."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from edgeq.board import Board
from edgeq.compile.measured import profile_of
from edgeq.compile.plan import Plan
from edgeq.device.codes import pack_inputs, unpack_outputs
from edgeq.device.counter import Counted, parse_report
from edgeq.device.cycle_model import CORES, PACKAGE, find_tools, modelled_cycles
from edgeq.device.machine import Ended, Machine
from edgeq.errors import DeviceError, UsageError
from edgeq.ir.result import Profile, RunResult

WARM_UP = 3  # runs before those that are timed
MAX_BATCH_BYTES = 64 << 20  # of inputs or outputs handed over at once
SLOWEST_MACS_PER_SECOND = 2_000_000  # of anything still alive; an emulated ARMv6 core reaches forty times that
USAGE = 1  # eqrun's exit code when the CPU has no such kernels, or none that read the model's weights
_REFUSAL = re.compile(r"eqrun: (.*)\n")
_MARKER = re.compile(r"EQRUN ISA (\w+)\nEQRUN DONE crc=([0-9a-f]{8})")


class EqrunDevice:
    """A machine with eqrun and one model on it."""

    def __init__(self, board: Board, machine: Machine, executable: bytes, *, threads: int = 1) -> None:
        """Put eqrun on the machine; ``threads`` share an inference, but for one while instructions are counted."""
        self._threads = threads
        self._board = board
        self._machine = machine
        self._eqrun = machine.store(executable, executable=True)
        self._plan: Plan | None = None
        self._model = ""
        self._model_bytes = 0
        self._isa = ""

    @property
    def isa(self) -> str:
        return self._isa

    def __enter__(self) -> EqrunDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def load(self, plan: Plan, model: bytes) -> None:
        self._model = self._machine.store(model)
        self._model_bytes = len(model)
        self._plan = plan

    def run(self, codes: Sequence[np.ndarray], *, crcs: bool = False) -> RunResult:
        return self.run_many([codes], crcs=crcs)[0]

    def run_many(self, samples: Sequence[Sequence[np.ndarray]], *, crcs: bool = False) -> list[RunResult]:
        plan = self._loaded
        largest = max(sum(plan.values[p.value].bytes for p in ports) for ports in (plan.inputs, plan.outputs))
        batch = max(1, MAX_BATCH_BYTES // max(1, largest)) if plan.inputs else 1
        results: list[RunResult] = []
        for start in range(0, len(samples), batch):
            results += self._run_batch(samples[start : start + batch], crcs=crcs)
        return results

    def profile(self, codes: Sequence[np.ndarray], *, inferences: int = 20) -> Profile:
        if inferences < 1:
            raise UsageError(f"{inferences} inferences asked, at least 1 expected")
        if self._machine.emulated:
            return self._counted(codes)
        arguments = [
            "--threads",
            str(self._threads),
            "--profile",
            "profile",
            "--repeat",
            str(inferences),
            "--warmup",
            str(WARM_UP),
        ]
        command = self._command([codes], arguments)
        self._checked(self._machine.run(command, seconds=self._seconds(inferences + WARM_UP)))
        report = self._parsed_profile(self._machine.read("profile"), inferences)
        times = np.array(report["step_ns"], np.float64).reshape(inferences, -1)
        return self._profile_of(report, {"ns": times})

    def close(self) -> None:
        self._machine.close()

    @property
    def _loaded(self) -> Plan:
        if self._plan is None:
            raise UsageError("no model is loaded on the device", hint="load one first")
        return self._plan

    def _run_batch(self, samples: Sequence[Sequence[np.ndarray]], *, crcs: bool) -> list[RunResult]:
        plan = self._loaded
        arguments = ["--threads", str(self._threads), "--output", "out", *(["--crc", "crc"] if crcs else [])]
        ended = self._machine.run(self._command(samples, arguments), seconds=self._seconds(len(samples)))
        expected = self._checked(ended)
        raw = self._machine.read("out")
        if zlib.crc32(raw) != expected:
            raise DeviceError(f"{self._machine.title}: the {len(raw)} bytes of output arrived damaged (CRC)")
        step_crcs = np.zeros((len(samples), 0), np.uint32)
        if crcs:
            step_crcs = self._shaped(self._machine.read("crc"), len(samples), 4 * len(plan.steps)).view("<u4")
        stride = sum(plan.values[port.value].bytes for port in plan.outputs)
        rows = self._shaped(raw, len(samples), stride)
        return [
            RunResult(unpack_outputs(plan, row.tobytes()), tuple(int(crc) for crc in crcs_of_row))
            for row, crcs_of_row in zip(rows, step_crcs, strict=True)
        ]

    def _shaped(self, raw: bytes, rows: int, row_bytes: int) -> np.ndarray:
        if len(raw) != rows * row_bytes:
            raise DeviceError(f"{self._machine.title}: {len(raw)} bytes of results, {rows * row_bytes} expected")
        return np.frombuffer(raw, np.uint8).reshape(rows, row_bytes)

    def _command(self, samples: Sequence[Sequence[np.ndarray]], arguments: Sequence[str]) -> list[str]:
        """Write the input file and return the command that runs eqrun on it, with kernels that EDGEQ_ISA may name."""
        packed, isa = pack_inputs(self._loaded, samples), os.environ.get("EDGEQ_ISA")
        self._machine.write("in", packed)
        options = [*(["--input", "in"] if packed else []), *(["--isa", isa] if isa else [])]
        return [self._eqrun, self._model, "--check", *options, *arguments]

    def _seconds(self, runs: int) -> float:
        return 120 + runs * self._loaded.macs / SLOWEST_MACS_PER_SECOND

    def _checked(self, ended: Ended) -> int:
        """Return the CRC of the end marker.

        Raises UsageError for what eqrun refuses as asked, DeviceError unless the run ended well and said so last.
        """
        refused = _REFUSAL.fullmatch(ended.stderr)
        if ended.code == USAGE and refused is not None:
            reason = refused[1].replace(f"'{self._model}'", repr(self._loaded.name))
            raise UsageError(f"{self._board.name} ({self._machine.title}): {reason}")
        if ended.code != 0:
            raise DeviceError(f"{self._machine.title}: eqrun failed ({ended.reason}):\n{ended.last_lines}")
        marker = _MARKER.fullmatch("\n".join(ended.stdout.strip().splitlines()[-2:]))
        if marker is None:
            raise DeviceError(f"{self._machine.title}: eqrun ended without its end marker:\n{ended.last_lines}")
        self._isa = marker[1]
        return int(marker[2], 16)

    def _counted(self, codes: Sequence[np.ndarray]) -> Profile:
        """Count one inference; emulated time would mean nothing and counts do not vary."""
        command = self._command([codes], ["--count", "--warmup", "1", "--profile", "profile"])
        ended, report = self._machine.count(command, seconds=10 * self._seconds(2))
        self._checked(ended)
        counted = parse_report(report, len(self._loaded.steps))
        profile = self._parsed_profile(self._machine.read("profile"), 0)
        measures = {"instructions": np.array([counted.instructions], np.float64)}
        cycles, notes = self._modelled(counted)
        if self._threads > 1:
            notes = (*notes, "instructions are counted with one thread")
        if cycles is not None:
            measures["cycles:modelled"] = cycles
        return self._profile_of(profile, measures, notes=notes)

    def _modelled(self, counted: Counted) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """Return the modelled cycles (1, steps) of the board's core, or why there are none."""
        core = CORES.get(self._board.cpu)
        if core is None:
            return None, (f"cycles are not modelled for {self._board.cpu}",)
        tools = find_tools()
        if tools is None:
            return None, (f"cycles are modelled with llvm-mca, which is not installed; apt-get install {PACKAGE}",)
        marker, *steps = modelled_cycles([counted.marker.blocks, *(step.blocks for step in counted.steps)], core, tools)
        return np.maximum(np.array([steps], np.float64) - marker, 0), ()

    def _parsed_profile(self, text: bytes, runs: int) -> dict[str, Any]:
        try:
            report = json.loads(text)
            lengths = [len(row) for row in report["step_ns"]]
        except (ValueError, KeyError, TypeError):
            raise DeviceError(f"{self._machine.title}: the profile that eqrun wrote is damaged") from None
        if lengths != [len(self._loaded.steps)] * runs:
            raise DeviceError(f"{self._machine.title}: eqrun profiled {len(lengths)} runs, {runs} asked")
        return dict(report)

    def _profile_of(
        self, report: dict[str, Any], measures: Mapping[str, np.ndarray], *, notes: tuple[str, ...] = ()
    ) -> Profile:
        """measures: by unit, (inferences, steps)."""
        return profile_of(
            self._loaded,
            measures,
            board=self._board,
            isa=str(report["isa"]),
            threads=int(report["threads"]),
            emulated=self._machine.emulated,
            model_bytes=self._model_bytes,
            runtime_bytes=int(report["runtime_bytes"]),
            notes=notes,
        )

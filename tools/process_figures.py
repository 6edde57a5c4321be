# SPDX-License-Identifier: Apache-2.0
"""Figures of whole processes for tools/figures.py: how eqrun starts, what it keeps resident, how threads share work."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import layers
import numpy as np

from edgeq import api
from edgeq.board import load_board
from edgeq.device.build import build_eqrun
from edgeq.errors import DeviceError
from edgeq.pipeline import read_source

STARTS = 15  # processes whose start is timed
THREAD_SECONDS = 0.15  # of a run whose threads are compared
THREAD_ROUNDS = 31


WEIGHTS = {"scalar": "portable", "neon": "c4k16", "dotprod": "c8k4", "i8mm": "c8k8", "avx2": "c8k4", "vnni": "c16k4"}


@dataclass(frozen=True)
class Start:
    """The least over several processes, which other work on the machine disturbs least, and peak resident memory."""

    open_ms: float
    first_extra_ms: float  # the fastest first inference over the fastest of all
    resident_bytes: int
    file_bytes: int
    arena_bytes: int


@dataclass(frozen=True)
class Threads:
    """Two threads against one: CPU time of the busiest, and wall time."""

    busiest: float
    wall: float


def packed_for_this_machine(path: Path) -> api.Model:
    """Convert an int8 model with its weights in the order that this machine's fastest kernels read, as for a board."""
    weights = WEIGHTS[api.convert(path).native.isa]
    return layers.converted(read_source(path), dataclasses.replace(load_board("host"), weights=weights))


def start_of(model: api.Model) -> Start:
    """Start eqrun on this machine several times."""
    with _stored(model) as (eqrun, file):
        opened, first, later = [], [], []
        for _ in range(STARTS):
            profile = file.with_name("profile.json")
            _run([str(eqrun), str(file), "--profile", str(profile), "--repeat", "9"])
            report = json.loads(profile.read_text())
            runs = np.array(report["step_ns"], np.float64).sum(axis=1)
            opened.append(report["open_ns"] / 1e6)
            first.append(float(runs[0]) / 1e6)
            later.append(float(runs[1:].min()) / 1e6)
        resident = _resident_bytes([str(eqrun), str(file), "--repeat", "1000000"])
    return Start(min(opened), min(first) - min(later), resident, len(model.data), model.plan.arena_bytes)


def two_threads(model: api.Model) -> Threads | None:
    """Compare two threads with one over the same inferences; None when eqrun used one only."""
    with _stored(model) as (eqrun, file):
        profile = file.with_name("profile.json")

        def run(threads: int, repeats: int) -> dict[str, Any]:
            options = ["--threads", str(threads), "--repeat", str(repeats), "--warmup", "1", "--profile", str(profile)]
            _run([str(eqrun), str(file), *options])
            report: dict[str, Any] = json.loads(profile.read_text())
            return report

        trial = run(2, 3)
        if trial["threads"] != 2:
            return None
        repeats = max(3, int(THREAD_SECONDS / (_wall(trial) / 3)))
        busiest, wall = [], []
        for _ in range(THREAD_ROUNDS):
            one, two = run(1, repeats), run(2, repeats)
            busiest.append(max(two["cpu_ns"]) / max(one["cpu_ns"]))
            wall.append(_wall(two) / _wall(one))
    return Threads(float(np.median(busiest)), float(np.median(wall)))


def _wall(report: dict[str, Any]) -> float:
    """Return the seconds of all timed runs of a profile."""
    return float(np.sum(report["step_ns"])) / 1e9


@contextlib.contextmanager
def _stored(model: api.Model) -> Iterator[tuple[Path, Path]]:
    with tempfile.TemporaryDirectory(prefix="edgeq-") as folder:
        file = Path(folder) / "model.eqm"
        model.save(file)
        yield build_eqrun(load_board("host")), file


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise DeviceError(f"eqrun fails (exit code {done.returncode}): {done.stderr.strip()}")


def _resident_bytes(command: list[str]) -> int:
    """Return the largest resident set of a process that runs until it is ended here."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        time.sleep(1)
        status = Path(f"/proc/{process.pid}/status").read_text()
    finally:
        process.kill()
        process.wait()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024

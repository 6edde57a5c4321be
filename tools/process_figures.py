# SPDX-License-Identifier: Apache-2.0
"""Figures of whole processes for tools/figures.py: how eqrun starts, what it keeps resident, how threads share work."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeq import api
from edgeq.board import load_board
from edgeq.device.build import build_eqrun
from edgeq.errors import DeviceError
from edgeq.format.write import write_model
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Graph, Node, Port, Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Activation
from edgeq.ops.conv2d import Conv2d
from edgeq.pipeline import convert_graph
from edgeq.quantize.recipe import parse_recipe

STARTS = 15  # processes whose start is timed
POLL_SECONDS = 0.01
THREAD_SECONDS = 4.0  # of a run whose threads are compared


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


def pointwise_model(board: str, rows: int, depth: int, columns: int) -> api.Model:
    """Return one convolution that is a product of rows x depth and depth x columns."""
    rng = np.random.default_rng(0)
    weights = np.clip(rng.normal(0, 30, (columns, 1, 1, depth)).round(), -127, 127).astype(np.int8)  # (O, H, W, I)
    scales = np.full(columns, 0.002, np.float32)
    side = int(np.sqrt(rows))
    tensors = (
        Tensor("x", (1, side, rows // side, depth), DType.S8, QuantParams.of(0.05, -3)),
        Tensor("w", weights.shape, DType.S8, QuantParams.per_channel(scales, 0), weights),
        Tensor("b", (columns,), DType.S32, None, rng.integers(-500, 500, columns).astype(np.int32)),
        Tensor("y", (1, side, rows // side, columns), DType.S8, QuantParams.of(0.1, 5)),
    )
    node = Node("product", Conv2d((1, 1), "valid", (1, 1), Activation.NONE), (0, 1, 2), (3,))
    graph = Graph("product", tensors, (node,), (Port("x", 0, DType.S8),), (Port("y", 3, DType.S8),))
    profile = load_board(board)
    plan = convert_graph(graph, recipe=parse_recipe("int8"), board=profile).plan
    return api.Model(plan, write_model(plan, board_class=profile.board_class))


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
        _run([str(eqrun), str(file), "--threads", "2", "--profile", str(profile), "--repeat", "3"])
        report = json.loads(profile.read_text())
        if report["threads"] != 2:
            return None
        once = np.array(report["step_ns"], np.float64).sum(axis=1).min() / 1e9
        repeats = str(max(3, int(THREAD_SECONDS / once)))
        one, two = (
            _thread_seconds([str(eqrun), str(file), "--threads", threads, "--repeat", repeats])
            for threads in ("1", "2")
        )
    return Threads(max(two[0]) / max(one[0]), two[1] / one[1])


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


def _thread_seconds(command: list[str]) -> tuple[list[float], float]:
    """Run a command to its end; return the CPU seconds of each of its threads, and the wall seconds.

    The threads' own clocks are read until the process is gone, so the last POLL_SECONDS may be missing.
    """
    seconds: dict[str, float] = {}
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{process.pid}/task").iterdir():
                seconds[task.name] = int((task / "schedstat").read_text().split()[0]) / 1e9
        time.sleep(POLL_SECONDS)
    wall = time.perf_counter() - start
    if process.returncode != 0 or not seconds:
        raise DeviceError(f"eqrun fails (exit code {process.returncode})")
    return list(seconds.values()), wall

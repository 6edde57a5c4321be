#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure edgeq's figures again and print them beside its peers' and the ones to reach (tools/figures.toml)."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import bench_peers
import layers
import process_figures
from rich.console import Console
from rich.table import Table

from edgeq import api
from edgeq.board import load_board
from edgeq.compile.constants import ConstantPool
from edgeq.compile.plan import Plan
from edgeq.device.build import build_library
from edgeq.device.toolchain import compile_sources, find_compiler
from edgeq.emit.folder import write_c_folder
from edgeq.errors import EdgeqError
from edgeq.format.params import pack_step

HERE = Path(__file__).resolve().parent
ROWS = ("a72", "a53", "a76", "gemm", "arena", "start", "library", "host", "threads")
BOARD = "raspberry-pi-4"  # whose library and arenas are measured
GEMM = (1024, 256, 64)  # rows, depth, columns


@dataclass(frozen=True)
class Figure:
    """One line: ``value`` is None where it could not be measured, and ``note`` then says why."""

    where: str
    what: str
    unit: str
    value: float | None
    peer: float | None = None
    limit: float | None = None
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the value is at most the limit; None where either is missing."""
        return None if self.value is None or self.limit is None else self.value <= self.limit


class Shared:
    """The folder of models, by the short names of the data file; what is absent is reported, not guessed."""

    def __init__(self, data: dict[str, Any], folder: Path) -> None:
        self._names: dict[str, str] = data["models"]
        self._folder = folder

    def path(self, name: str) -> Path | None:
        path = self._folder / self._names[name]
        return path if path.is_file() else None

    def missing(self, name: str) -> str:
        return f"{self._names[name]} is not in {self._folder}"


def cycles(data: dict[str, Any], shared: Shared, core: str) -> Iterator[Figure]:
    """Count and model one inference of each model on a core's emulated board."""
    table = data["cycles"][core]
    for name, peer in table["peer"].items():
        common = {"where": core, "what": name, "unit": "M cycles", "peer": peer, "limit": peer * table["ratio"][name]}
        path = shared.path(name)
        if path is None:
            yield Figure(**common, value=None, note=shared.missing(name))
            continue
        with api.connect(table["board"]) as device:
            device.load(api.convert(path, board=table["board"]))
            profile = device.profile()
        modelled = profile.totals.get("cycles:modelled")
        instructions = profile.totals["instructions"].median / 1e6
        note = f"{profile.isa}, {instructions:.3f} M instructions, {instructions * 1e6 / profile.macs:.3f} per MAC"
        if modelled is None:
            yield Figure(**common, value=None, note="; ".join(profile.notes))
        else:
            yield Figure(**common, value=modelled.median / 1e6, note=note)


def gemm(data: dict[str, Any], shared: Shared) -> Iterator[Figure]:
    """Count the instructions of a pointwise convolution, which is a matrix product and its requantization."""
    table = data["gemm"]
    rows, depth, columns = GEMM
    side = math.isqrt(rows)
    product = layers.convolution((side, rows // side, depth), columns)
    for board in table["boards"]:
        with api.connect(board) as device:
            device.load(layers.convert(product, board))
            profile = device.profile()
        value = profile.steps[0].measures["instructions"] / profile.macs
        what = f"{'x'.join(map(str, GEMM))}, one convolution"
        yield Figure(board, what, "instructions/MAC", value, table["peer"][board], table["limit"][board], profile.isa)


def arena(data: dict[str, Any], shared: Shared) -> Iterator[Figure]:
    """Place each model's buffers: for any board, and for one that runs Linux, whose plan is for speed without --fit."""
    table = data["arena"]
    ways: list[tuple[str, dict[str, int], Callable[[Path], api.Model]]] = [
        ("", table["limit"], api.convert),
        (f", {BOARD} --fit", table["limit"] | table["fit"], lambda path: api.convert(path, board=BOARD, fit=True)),
        (f", {BOARD}", {}, lambda path: api.convert(path, board=BOARD)),
    ]
    for suffix, limits, convert in ways:
        for name, peer in table["peer"].items():
            path = shared.path(name)
            plan = None if path is None else convert(path).plan
            value = None if plan is None else plan.arena_bytes
            note = shared.missing(name) if plan is None else f"lower bound {plan.lower_bound_bytes}"
            yield Figure("arena", f"{name}{suffix}", "bytes", value, peer, limits.get(name), note)


def start(data: dict[str, Any], shared: Shared) -> Iterator[Figure]:
    """Start eqrun on this machine: time to be ready, and resident memory over file and arena."""
    table = data["start"]
    name = "MobileNetV2"
    path = shared.path(name)
    if path is None:
        yield Figure("start", name, "ms", None, table["peer_ms"], table["limit_ms"], shared.missing(name))
        return
    found = process_figures.start_of(process_figures.packed_for_this_machine(path))
    note = f"open {found.open_ms:.3f} ms, first inference {found.first_extra_ms:+.3f} ms over later ones"
    ready = max(0.0, found.open_ms + found.first_extra_ms)
    yield Figure("start", f"{name}, ready", "ms", ready, table["peer_ms"], table["limit_ms"], note)
    yield Figure("start", f"{name}, open", "ms", found.open_ms, None, table["limit_ms"])
    note = f"{found.resident_bytes} resident, file {found.file_bytes}, arena {found.arena_bytes}"
    over = found.resident_bytes - found.file_bytes - found.arena_bytes
    yield Figure("start", f"{name}, RSS over both", "bytes", over, None, table["limit_rss_bytes"], note)


def library(data: dict[str, Any], shared: Shared) -> Iterator[Figure]:
    """Build the shared library for aarch64: all of it, and what one model's operators need."""
    table = data["library"]
    size = build_library(load_board(BOARD)).stat().st_size
    yield Figure("library", "libedgeq.so, aarch64", "bytes", size, table["peer_bytes"], table["limit_bytes"])
    path = shared.path("KWS")
    if path is None:
        yield Figure("library", "cut to KWS", "bytes", None, None, table["limit_cut_bytes"], shared.missing("KWS"))
        return
    size = cut_bytes(api.convert(path).plan)
    yield Figure("library", "cut to KWS", "bytes", size, None, table["limit_cut_bytes"], "code and tables, -Os, NEON")


def cut_bytes(plan: Plan) -> int:
    """Return the size of emitted C for a board, stripped: operators and their kernels, without the constants."""
    found = find_compiler(load_board(BOARD))
    flags = [flag for flag in found.compile_flags if flag != "-O3"]
    compiler = dataclasses.replace(found, compile_flags=(*flags, "-Os", "-DEQ_ONLY_ISA=neon"))  # MinSizeRel
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "net"
        write_c_folder(plan, folder, prefix="net")
        objects = compile_sources(
            compiler, [folder / "net.c", *sorted((folder / "src").glob("*/*.c"))], includes=[folder / "include"]
        )
        program = Path(name) / "net.elf"
        link = ["-nostartfiles", "-s", "-Wl,-e,net_run", "-Wl,--gc-sections"]
        arguments = [*compiler.executable_flags, *link, *map(str, objects), "-o", str(program)]
        subprocess.run([*compiler.command, *arguments], check=True)
        pool = ConstantPool()
        for planned in plan.steps:
            pack_step(planned.step, pool)
        return program.stat().st_size - len(pool.data)


def host(data: dict[str, Any], shared: Shared) -> Iterator[Figure]:
    """Time edgeq beside LiteRT on this machine."""
    table = data["host"]
    ratios: dict[str, float] = {}
    for name in table["models"]:
        path = shared.path(name)
        common = {"where": "host", "what": name, "unit": "CPU time over LiteRT's", "peer": 1.0, "limit": table["ratio"]}
        try:
            found = None if path is None else bench_peers.compare(path)
        except ImportError as error:
            yield Figure(**common, value=None, note=str(error))
            continue
        if found is None:
            yield Figure(**common, value=None, note=shared.missing(name))
            continue
        ratios[name] = found.ratio()
        yield Figure(**common, value=ratios[name], note=found.summary())
    wanted = [ratios[name] for name in table["mean"] if name in ratios]
    mean = bench_peers.geometric_mean(wanted) if len(wanted) == len(table["mean"]) else None
    what = f"geometric mean of {', '.join(table['mean'])}"
    yield Figure("host", what, "CPU time over LiteRT's", mean, 1.0, table["mean_ratio"])


def threads(data: dict[str, Any], shared: Shared) -> Iterator[Figure]:
    """Run eqrun with two threads on this machine and compare the busiest one's CPU time with a single thread's."""
    for name, limit in data["threads"]["limit"].items():
        path = shared.path(name)
        found = None if path is None else process_figures.two_threads(api.convert(path, board="host"))
        note = shared.missing(name) if path is None else "eqrun used one thread"
        if found is not None:
            note = f"wall time {found.wall:.3f} of one thread's"
        value = None if found is None else found.busiest
        yield Figure("threads", f"{name}, busiest of 2", "CPU time over 1 thread's", value, None, limit, note)


def measure(rows: list[str], data: dict[str, Any], shared: Shared) -> Iterator[Figure]:
    """Measure the chosen rows; what fails is a figure without a value."""
    groups: dict[str, Callable[[dict[str, Any], Shared], Iterator[Figure]]] = {
        "gemm": gemm, "arena": arena, "start": start, "library": library, "host": host, "threads": threads,
    }  # fmt: skip
    for row in rows:
        try:
            yield from groups[row](data, shared) if row in groups else cycles(data, shared, row)
        except EdgeqError as error:
            yield Figure(row, "all", "", None, note=str(error))


def show(figures: list[Figure]) -> None:
    """Print the table and how many figures are reached, missed and not measured."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("where", "what", "unit", "peer", "limit", "edgeq", "of peer", "", "how"):
        table.add_column(column, justify="right" if column in ("peer", "limit", "edgeq", "of peer") else "left")
    for f in figures:
        share = f"{f.value / f.peer:.3f}" if f.value is not None and f.peer else ""
        verdict = {True: "ok", False: "MISSED", None: "-"}[f.reached]
        table.add_row(f.where, f.what, f.unit, *map(_number, (f.peer, f.limit, f.value)), share, verdict, f.note)
    console = Console(width=None if sys.stdout.isatty() else 220, highlight=False, markup=False)
    console.print(table)
    counts = [sum(f.reached is state for f in figures) for state in (True, False, None)]
    console.print(f"\n{counts[0]} reached, {counts[1]} missed, {counts[2]} without a verdict")


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


def main() -> int:
    """Exit 1 when a figure is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default=",".join(ROWS), help=f"which of {','.join(ROWS)}")
    parser.add_argument("--models", type=Path, help="the folder of models; $EDGEQ_SHARED/models without it")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    rows = [row for row in options.rows.split(",") if row]
    unknown = [row for row in rows if row not in ROWS]
    if unknown:
        parser.error(f"there is no row {unknown[0]}; rows are {', '.join(ROWS)}")
    folder = options.models or Path(os.environ.get("EDGEQ_SHARED", "shared")) / "models"
    data = tomllib.loads((HERE / "figures.toml").read_text())
    figures = list(measure(rows, data, Shared(data, folder)))
    show(figures)
    if options.json is not None:
        options.json.write_text(json.dumps([{**asdict(f), "reached": f.reached} for f in figures], indent=2) + "\n")
    return 1 if any(f.reached is False for f in figures) else 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""The steps of edgeq demo."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from rich.console import Console

from edgeq import api
from edgeq.analysis.compare import verify
from edgeq.board import Board, load_board
from edgeq.cli._arrays import codes_of
from edgeq.cli._emitted import run_emitted
from edgeq.cli._engine import Engine, open_engine, twin
from edgeq.device.machine import find_emulator
from edgeq.device.toolchain import find_compiler
from edgeq.errors import DeviceDiffersError, ToolchainError
from edgeq.ir.result import Profile
from edgeq.paths import demo_dir
from edgeq.report import table
from edgeq.runtime.litert import ReferenceInterpreter, installed_package

_WIDTH = 42  # characters of the column that names what is compared


class _Demo:
    """Prints, and keeps count of what was compared and what could not be."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.compared = 0
        self.skipped: list[str] = []

    def head(self, text: str) -> None:
        self.console.print(f"\n{text}")

    def line(self, name: str, text: str) -> None:
        self.console.print(f"   {name:{_WIDTH}} {text}")

    def equal(self, name: str, numbers: int, text: str) -> None:
        self.compared += numbers
        self.line(name, f"equal: {text}")

    def skip(self, name: str, reason: str) -> None:
        self.skipped.append(name)
        self.line(name, f"not compared: {reason}")


def run_demo(*, samples: int, board: str, toolchain: str | None) -> None:
    """Convert, compare, measure and print. Raises DeviceDiffersError when a comparison is not equal."""
    profile = load_board(board)
    folder, demo = demo_dir(), _Demo(table.make_console())
    float_file, int8_file, tests = (
        folder / name for name in ("digits_float.tflite", "digits_int8.tflite", "digits_test.npz")
    )
    demo.console.print("1. A float network that reads handwritten digits becomes an integer program")
    model = api.convert(float_file, data=folder / "digits_calibration.npz")
    demo.line(float_file.name, f"{len(model.plan.steps)} layers, {model.plan.macs:,} multiply-accumulates")
    with ExitStack() as stack:
        host = stack.enter_context(open_engine(model, board=None))
        target = _open_board(demo, stack, model, board=profile, toolchain=toolchain)

        demo.head(f"2. Every way to run it gives the NumPy twin's integers, on {samples} held-out pictures")
        _compare_steps(demo, "native runtime, here", model, host, tests, samples)
        _compare_emitted(demo, model, tests, samples)
        if isinstance(target, Engine):
            _compare_steps(demo, target.label, model, target, tests, samples)
        else:
            demo.skip(board, target)

        demo.head("3. A network that came quantized gives the integers of LiteRT's reference kernels")
        int8 = api.convert(int8_file)
        _compare_litert(demo, int8_file, int8, tests, samples)

        demo.head("4. Accuracy on all 360 held-out pictures, with 95 % intervals")
        _show_accuracy(demo, float_file, tests, {"int8, made by edgeq": model, int8_file.name: int8})

        demo.head("5. Memory")
        _show_memory(demo, float_file, model)

        demo.head("6. Where the work goes")
        codes = next(codes_of(model, tests, limit=1))
        profiles = [host.profile(codes, 50)]
        if isinstance(target, Engine):
            profiles.append(target.profile(codes, 1))
        _show_profiles(demo, profiles)
    demo.console.print(f"\n{demo.compared:,} numbers were compared, all of them equal.")
    if demo.skipped:
        demo.console.print(f"Not compared: {', '.join(demo.skipped)}; edgeq doctor says what to install.")


def _open_board(
    demo: _Demo, stack: ExitStack, model: api.Model, *, board: Board, toolchain: str | None
) -> Engine | str:
    """Open the board's emulator, or say what is missing for it."""
    try:
        find_compiler(board, toolchain=toolchain)
    except ToolchainError as error:
        return str(error)
    if board.emulator and find_emulator(board.emulator) is None:
        return f"{board.emulator} is not installed; apt-get install qemu-user"
    with demo.console.status(f"building for {board.name}; the first time this compiles a C library, about a minute"):
        return stack.enter_context(open_engine(model, board=board.name, toolchain=toolchain))


def _compare_steps(demo: _Demo, name: str, model: api.Model, engine: Engine, tests: Path, samples: int) -> None:
    result = verify(
        model.plan,
        codes_of(model, tests, limit=samples),
        expected=twin(model),
        found=lambda feeds: engine.run(feeds, True),
    )
    if not result.equal:
        raise DeviceDiffersError(table.describe_difference(result, against=name))
    layers = result.steps * result.inferences
    demo.equal(name, result.elements + layers, f"{result.elements:,} outputs, {layers:,} layers by their CRC")


def _compare_emitted(demo: _Demo, model: api.Model, tests: Path, samples: int) -> None:
    name = "emitted C, compiled here"
    try:
        find_compiler(load_board("host"))
    except ToolchainError as error:
        demo.skip(name, str(error))
        return
    feeds = list(codes_of(model, tests, limit=samples))
    expected = [model.run_codes(codes, engine="reference").outputs for codes in feeds]
    compared = _count_equal(name, expected, run_emitted(model.plan, feeds))
    demo.equal(name, compared, f"{compared:,} outputs")


def _compare_litert(demo: _Demo, source: Path, model: api.Model, tests: Path, samples: int) -> None:
    if installed_package() is None:
        demo.skip(source.name, "LiteRT is not installed; pip install ai-edge-litert")
        return
    interpreter = ReferenceInterpreter(source)
    feeds = list(codes_of(model, tests, limit=samples))
    expected = [interpreter.run(codes) for codes in feeds]
    for engine, what in (("native", "native runtime"), ("reference", "NumPy twin")):
        name = f"{source.name}, {what}"
        compared = _count_equal(name, expected, [model.run_codes(codes, engine=engine).outputs for codes in feeds])
        demo.equal(name, compared, f"{compared:,} outputs, {interpreter.package} {interpreter.version}")


def _count_equal(name: str, expected: Sequence[Sequence[np.ndarray]], found: Sequence[Sequence[np.ndarray]]) -> int:
    """Compare outputs and return how many numbers there were. Raises DeviceDiffersError at the first difference."""
    compared = 0
    for number, (wanted, got) in enumerate(zip(expected, found, strict=True)):
        for one, other in zip(wanted, got, strict=True):
            if one.dtype != other.dtype or not np.array_equal(one, other):
                raise DeviceDiffersError(f"{name} differs on picture {number}: {other} instead of {one}")
            compared += one.size
    return compared


def _show_accuracy(demo: _Demo, source: Path, tests: Path, models: dict[str, api.Model]) -> None:
    found = {f"{source.name}, in float": api.evaluate(source, tests)}
    found |= {name: api.evaluate(model, tests) for name, model in models.items()}
    for name, accuracy in found.items():
        low, high = accuracy.interval
        demo.line(name, f"{accuracy.value:.2%}  ({low:.2%} to {high:.2%})")


def _show_memory(demo: _Demo, source: Path, model: api.Model) -> None:
    plan = model.plan
    bound = table.size(plan.lower_bound_bytes)
    demo.line(source.name, table.size(source.stat().st_size))
    demo.line("integer model file", table.size(len(model.data)))
    demo.line("working memory (arena)", f"{table.size(plan.arena_bytes)}; no placement can need less than {bound}")


def _show_profiles(demo: _Demo, profiles: Sequence[Profile]) -> None:
    """Print one column per machine; an emulator has instructions and no time."""
    columns = [">#", "layer", "operator", ">MACs"]
    for profile in profiles:
        columns += [f">{profile.board}: {'us' if profile.unit == 'ns' else profile.unit}", ">%"]
    rows = []
    for index, step in enumerate(profiles[0].steps):
        row: list[object] = [index, step.name, step.op, f"{step.macs:,}"]
        for profile in profiles:
            value, whole = profile.steps[index].measures[profile.unit], profile.totals[profile.unit].median
            row += [f"{value / 1000:,.1f}" if profile.unit == "ns" else f"{value:,.0f}", f"{100 * value / whole:.0f}"]
        rows.append(row)
    table.table(demo.console, columns, rows)
    for profile in profiles:
        total = profile.totals[profile.unit].median
        amount = f"{total / 1000:,.1f} us" if profile.unit == "ns" else f"{total:,.0f} {profile.unit}"
        where = f"{profile.board} (emulated)" if profile.emulated else profile.board
        demo.line(f"{where}, {profile.isa} kernels", f"{amount} an inference")

# SPDX-License-Identifier: Apache-2.0
"""Reports as tables for people."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgeq.analysis.compare import Verification
from edgeq.analysis.cost import Cost
from edgeq.analysis.diff import Diff
from edgeq.analysis.fit import Fit
from edgeq.analysis.predict import Prediction
from edgeq.board import Board
from edgeq.compile.plan import Plan, PlanPort
from edgeq.compile.traffic import constant_bytes
from edgeq.ir.result import Profile
from edgeq.ops.packing import LAYOUT_NAMES

_PLAIN_WIDTH = 160  # columns where the output is no terminal, so that a pipe gets whole names
_BAR = 20  # characters of a full bar


class _Console(Console):
    """A console that leaves it to its caller to end when nobody reads any more."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def make_console() -> Console:
    """Return a console on standard output that takes text as it is; colours follow NO_COLOR and the terminal."""
    return _Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH, highlight=False, markup=False, emoji=False)


def printable(text: object) -> str:
    """Spell out the control characters of a name that came from a file."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def count(number: float | None) -> str:
    """Write a number with thousands separated; a dash for what is not known."""
    if number is None:
        return "-"
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.6g}"


def size(number: int | None) -> str:
    """Write bytes exactly."""
    return "-" if number is None else f"{number:,} bytes"


def facts(console: Console, rows: Iterable[tuple[str, str]]) -> None:
    """Print lines of a label and a value, aligned."""
    grid = Table.grid(padding=(0, 2))
    for label, value in rows:
        grid.add_row(Text(label), Text(printable(value)))
    console.print(grid)


def table(console: Console, columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """Print a table; a column whose name starts with > is aligned to the right."""
    shown = Table(title=printable(title) or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        shown.add_column(
            Text(column.lstrip(">")), justify="right" if column.startswith(">") else "left", overflow="fold"
        )
    for row in rows:
        shown.add_row(*(Text(printable(cell)) for cell in row))
    console.print(shown)


def percent(fraction: float | None) -> str:
    """Write a fraction in percent; a dash for what is not known."""
    return "-" if fraction is None else f"{100 * fraction:.1f} %"


def bar(part: float, whole: float) -> str:
    """Draw a share as blocks."""
    return "█" * round(_BAR * part / whole) if whole > 0 else ""


# ------------------------------------------------------------------------------------------------ reports


def show_conversion(console: Console, plan: Plan, *, file_bytes: int, source_bytes: int, output: str) -> None:
    """Print what a conversion made."""
    facts(console, [*_about(plan, file_bytes), ("source", size(source_bytes)), ("wrote", output)])


def show_plan(console: Console, plan: Plan, *, file_bytes: int) -> None:
    """Print what a model holds: ports, sizes, steps and tensors."""
    facts(console, _about(plan, file_bytes))
    live = plan.live_bytes()
    console.print()
    table(
        console,
        (">#", "layer", "operator", "step", ">MACs", ">constants", ">scratch", ">live"),
        (
            (i, s.name, s.op, s.step.name, *map(count, (s.step.macs(), constant_bytes(s), s.scratch_bytes, n)))
            for i, (s, n) in enumerate(zip(plan.steps, live, strict=True))
        ),
    )
    console.print()
    table(
        console,
        (">#", "tensor", "shape", "dtype", ">scale", ">zero", ">bytes", ">offset"),
        (
            (
                index,
                value.name,
                "x".join(map(str, value.shape)) or "scalar",
                value.dtype.numpy.name,
                "" if value.quant is None else f"{value.quant.scales[0]:.6g}",
                "" if value.quant is None else value.quant.zero_points[0],
                count(value.bytes),
                "constant" if value.data is not None else value.offset,
            )
            for index, value in enumerate(plan.values)
        ),
    )


def _about(plan: Plan, file_bytes: int) -> list[tuple[str, str]]:
    return [
        ("model", plan.name),
        ("rounding", plan.rounding),
        ("weights", LAYOUT_NAMES[plan.layout]),
        *(("input", _port(plan, port)) for port in plan.inputs),
        *(("output", _port(plan, port)) for port in plan.outputs),
        ("layers", count(len(plan.steps))),
        ("MACs", count(plan.macs) + _recomputed(plan)),
        ("arena", f"{size(plan.arena_bytes)} (no placement can need less than {size(plan.lower_bound_bytes)})"),
        ("file", size(file_bytes)),
    ]


def _recomputed(plan: Plan) -> str:
    return f" ({count(plan.recomputed_macs)} of them twice, to save memory)" if plan.recomputed_macs else ""


def _port(plan: Plan, port: PlanPort) -> str:
    value = plan.values[port.value]
    stored = "" if value.dtype is port.dtype else f", held as {value.dtype.numpy.name}"
    scale = "" if value.quant is None else f" (scale {value.quant.scale:.6g}, zero point {value.quant.zero_point})"
    return f"{port.name} {'x'.join(map(str, port.shape))} {port.dtype.numpy.name}{stored}{scale}"


def _first_name(name: str) -> str:
    """Return a tensor's name without those of the layers that a converter has merged into it, which it joins by ";"."""
    return name.partition(";")[0]


def _removed(cost: Cost) -> str:
    """Say how much of the source model's work needs not be done."""
    if cost.source_macs is None or cost.source_macs == cost.macs:
        return ""
    return f" (of {count(cost.source_macs)} in the source; the rest changes no output)"


def show_cost(console: Console, cost: Cost) -> None:
    """Print work, memory and unsupported nodes."""
    if cost.unsupported:
        table(
            console,
            ("node", "operator", "why it cannot be converted", "what to do"),
            ((item.node, item.op, item.reason, item.hint) for item in cost.unsupported),
            title=f"{cost.model}: {len(cost.unsupported)} unsupported",
        )
        return
    facts(console, cost_facts(cost))
    console.print()
    peak = max((layer.live_bytes for layer in cost.layers), default=0)
    predictions = () if cost.time is None else (">predicted cycles",)
    table(
        console,
        (">#", "layer", "operator", ">MACs", *predictions, ">bytes moved", ">live bytes", ""),
        (
            (
                i.index,
                i.name,
                i.op,
                count(i.macs),
                *(count(round(i.cycles or 0)) for _ in predictions),
                count(i.bytes_moved),
                count(i.live_bytes),
                bar(i.live_bytes, peak),
            )
            for i in cost.layers
        ),
    )


def cost_facts(cost: Cost) -> list[tuple[str, str]]:
    """Say what a supported model needs, in rows of a name and a text."""
    about = "" if cost.exact_model_bytes else ", give or take the digits of its scales"
    rows = [
        ("model", cost.model),
        ("MACs", count(cost.macs) + _removed(cost)),
        ("parameters", count(cost.parameters)),
        ("arena", f"{size(cost.arena_bytes)} (no placement can need less than {size(cost.lower_bound_bytes)})"),
        ("peak at", ", ".join(layer.name for layer in cost.peak_layers) or "no layer"),
        ("held there", ", ".join(f"{_first_name(name)} ({size(held)})" for name, held in cost.peak_tensors)),
        ("model file", size(cost.model_bytes) + about),
    ]
    if cost.fit is not None:
        rows += fit_facts(cost.fit)
    if cost.board is not None:
        rows.append(("board", _room(cost)))
    if cost.time is not None:
        rows.append((f"predicted {cost.time.unit}", _predicted(cost.time)))
    return rows


def _predicted(time: Prediction) -> str:
    """Write a prediction with its range; one core, caches and branches perfect."""
    return f"{time.median:,.0f} ({time.low:,.0f} to {time.high:,.0f}), one core"


def fit_facts(fit: Fit) -> list[tuple[str, str]]:
    """Say what the firmware of a model takes of a microcontroller, in rows of a name and a text."""
    parts = ", ".join(f"{name} {held:,}" for name, held in fit.sections.items() if held)
    return [
        (
            "flash",
            f"{fit.flash_bytes:,} of {fit.flash_capacity:,} bytes: model {fit.model_bytes:,}, code {fit.code_bytes:,}",
        ),
        (
            "RAM",
            f"{fit.ram_bytes:,} of {fit.ram_capacity:,} bytes: arena {fit.arena_bytes:,}, "
            f"runtime {fit.runtime_bytes:,}, stack {fit.stack_reserved:,}",
        ),
        ("stack", f"at most {fit.stack_bytes:,} of {fit.stack_reserved:,} bytes"),
        ("sections", f"{parts} bytes"),
        ("compiled by", fit.compiler),
    ]


def _room(cost: Cost) -> str:
    if cost.fit is not None:
        return f"{cost.board}: {'fits' if cost.fit.fits else f'does not fit: it needs {cost.fit.shortage}'}"
    if cost.ram_bytes is None:
        return f"{cost.board}: fits"
    if cost.fits:
        free = cost.ram_bytes - (cost.arena_bytes or 0)
        return f"{cost.board}: fits, {size(free)} of {size(cost.ram_bytes)} stay free"
    return f"{cost.board}: does not fit, {size(cost.missing_bytes)} are missing of {size(cost.arena_bytes)}"


def show_profile(console: Console, profile: Profile) -> None:
    """Print where the work goes; an emulated profile is in its own unit and never in time."""
    total = profile.totals[profile.unit]
    facts(console, profile_facts(profile))
    console.print()
    units = list(profile.totals)
    whole = total.median
    table(
        console,
        (">#", "layer", "operator", *(f">{unit}" for unit in units), ">%", ">MACs", ">of peak", ">bytes moved", ""),
        (
            (
                step.index,
                step.name,
                step.op,
                *(count(step.measures.get(unit)) for unit in units),
                f"{100 * step.measures.get(profile.unit, 0) / whole:.1f}" if whole else "-",
                count(step.macs),
                percent(step.peak_fraction),
                count(step.bytes_moved),
                bar(step.measures.get(profile.unit, 0), whole),
            )
            for step in profile.steps
        ),
    )


def profile_facts(profile: Profile) -> list[tuple[str, str]]:
    """Say what was measured where, in rows of a name and a text."""
    where = f"{profile.board}, emulated" if profile.emulated else profile.board
    return [
        ("model", profile.model),
        ("on", f"{where} ({profile.isa}, {profile.threads} thread{'s' if profile.threads != 1 else ''})"),
        ("inferences", count(profile.inferences)),
        ("MACs", count(profile.macs)),
        *(
            (
                "time" if unit == "ns" else unit,
                f"min {_amount(s.minimum, unit)}, median {_amount(s.median, unit)}, p90 {_amount(s.p90, unit)}",
            )
            for unit, s in profile.totals.items()
        ),
        ("arena", f"{size(profile.arena_bytes)} (lower bound {size(profile.arena_lower_bound_bytes)})"),
        ("model file", size(profile.model_bytes)),
        *(("note", note) for note in profile.notes),
    ]


def _amount(value: float, unit: str) -> str:
    return f"{value / 1e6:,.4g} ms" if unit == "ns" else f"{value:,.0f}"


def show_verification(console: Console, verification: Verification, *, against: str) -> None:
    """Print whether two engines agree, and where they first differ."""
    if verification.equal:
        compared = verification.steps * verification.inferences
        console.print(
            f"equal: {against} gives the twin's integers in {count(compared)} step results and "
            f"{count(verification.elements)} output numbers of {count(verification.inferences)} inferences"
        )
    else:
        console.print(printable(describe_difference(verification, against=against)))


def describe_difference(verification: Verification, *, against: str) -> str:
    """Say in one sentence where two engines first differ."""
    found = verification.first_difference
    assert found is not None
    where = "the outputs" if found.step < 0 else f'step {found.step} of {verification.steps}, {found.op} "{found.name}"'
    text = f"{against} differs from the twin at {where}, in inference {found.inference}"
    if found.element is not None:
        e = found.element
        text += (
            f": element {e.index} of {e.tensor} is {e.found}, expected {e.expected}; "
            f"{e.differing} of {e.elements} elements differ"
        )
    return text


def show_boards(console: Console, boards: Sequence[Board]) -> None:
    """Print all boards in a table, or one with everything about it."""
    if len(boards) == 1:
        facts(console, board_facts(boards[0]))
        return
    table(
        console,
        ("board", "what", "cpu", "isa", ">cores", ">clock", ">RAM", "emulator"),
        (
            (
                board.name,
                board.title,
                board.cpu,
                board.isa,
                board.cores or "-",
                f"{board.clock_hz / 1e6:,.0f} MHz" if board.clock_hz else "-",
                _binary(board.ram_bytes) if board.ram_bytes else "-",
                board.emulator or "-",
            )
            for board in boards
        ),
    )


def board_facts(board: Board) -> list[tuple[str, str]]:
    """Say what is known of a board, in rows of a name and a text; registers are for its firmware alone."""
    known = {name: value for name, value in vars(board).items() if value not in (None, "", ())}
    known.pop("port_values")
    regions = known.pop("memory", ())
    rows = [(name, ", ".join(value) if isinstance(value, tuple) else str(value)) for name, value in known.items()]
    return rows + [(region.name, f"{size(region.bytes)} at {region.origin:#010x}") for region in regions]


def _binary(number: int) -> str:
    """Write a memory's size in the largest unit that leaves no fraction to speak of."""
    return f"{number / 2**20:,.0f} MiB" if number >= 2**20 else f"{number / 2**10:,.0f} KiB"


def show_ops(console: Console, operators: Mapping[str, Sequence[str]]) -> None:
    """Print operators by dtypes."""
    dtypes = sorted({dtype for found in operators.values() for dtype in found}, key=lambda name: (len(name), name))
    table(
        console,
        ("operator", *dtypes),
        ((name, *("yes" if dtype in found else "" for dtype in dtypes)) for name, found in operators.items()),
    )


def show_doctor(console: Console, checks: Sequence[Mapping[str, Any]]) -> None:
    """Print what was looked for, what was found, and how to get the rest."""
    table(
        console,
        ("", "tool", "what for", "found, or how to get it"),
        (
            ("ok" if check["found"] else "--", check["name"], check["purpose"], check["detail"] or check["hint"])
            for check in checks
        ),
    )


def show_diff(console: Console, diff: Diff) -> None:
    """Print changed facts and layers."""
    if diff.equal:
        console.print(f"the two {diff.kind} are equal")
        return
    if diff.changes:
        table(console, ("", "A", "B"), ((c.what, *(_shown(value) for value in (c.a, c.b))) for c in diff.changes))
        console.print()
    if diff.layers and diff.unit is None:
        rows = ((i.name, i.op, i.status, ", ".join(i.fields)) for i in diff.layers)
        table(console, ("layer", "operator", "status", "what changed"), rows)
    elif diff.layers:
        table(
            console,
            ("layer", "operator", "status", f">A {diff.unit}", f">B {diff.unit}", ">B / A"),
            (
                (i.name, i.op, i.status, count(i.a), count(i.b), f"{i.b / i.a:.3f}" if i.a and i.b is not None else "-")
                for i in diff.layers
            ),
        )


def _shown(value: str | float | None) -> str:
    return "-" if value is None else str(value) if isinstance(value, (str, bool)) else count(value)

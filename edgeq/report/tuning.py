# SPDX-License-Identifier: Apache-2.0
"""What a search for recipes found: a table, JSON, CSV, and a page with a picture of the front."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console

from edgeq.analysis.trials import Built
from edgeq.analysis.tune import Tuning
from edgeq.report.html import facts_table, page, text
from edgeq.report.table import count, facts, size, table

_WIDTH, _HEIGHT, _MARGIN = 760, 360, 56  # pixels of the picture
_COLUMNS = ("label", "flash_bytes", "ram_bytes", "ms", "score", "drop", "drop_low", "drop_high", "chosen")


def tune_report(tuning: Tuning) -> dict[str, Any]:
    """Return the edgeq.tune/1 report."""
    budgets = tuning.budgets
    return {
        "schema": "edgeq.tune/1",
        "model": tuning.name,
        "board": tuning.board,
        "metric": tuning.metric,
        "samples": tuning.samples,
        "float": tuning.exact_score,
        "budgets": {
            "flash_bytes": budgets.flash_bytes,
            "ram_bytes": budgets.ram_bytes,
            "ms": budgets.ms,
            "drop": budgets.drop,
        },
        "chosen": None if tuning.chosen is None else _built(tuning.chosen),
        "trail": [{**_built(built), "missed": list(missed)} for built, missed in tuning.trail],
        "front": [_built(built) for built in tuning.best],
        "layers": [
            {
                "layer": layer,
                "choice": choice,
                "bytes": measured.bytes,
                "cycles": measured.cycles,
                "noise": measured.noise,
            }
            for choice, costs in tuning.choices.items()
            for layer, measured in costs.layers.items()
        ],
        "notes": list(tuning.notes),
        "advice": list(tuning.advice),
    }


def _built(built: Built) -> dict[str, Any]:
    return {
        "label": built.label,
        "flash_bytes": built.flash_bytes,
        "ram_bytes": built.ram_bytes,
        "ms": built.ms,
        "score": built.score,
        "drop": built.drop,
        "interval": list(built.interval),
        "recipe": built.recipe.to_toml(),
    }


def front_csv(tuning: Tuning) -> str:
    """Return the front as CSV, a line for each model, by rising flash; fractions as they are, empty where not known."""
    text_file = io.StringIO(newline="")
    writer = csv.writer(text_file, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for built in tuning.best:
        values = (built.label, built.flash_bytes, built.ram_bytes, built.ms, built.score, built.drop, *built.interval)
        chosen = tuning.chosen is not None and built.recipe == tuning.chosen.recipe
        writer.writerow(["" if value is None else value for value in (*values, int(chosen))])
    return text_file.getvalue()


def show_tuning(console: Console, tuning: Tuning) -> None:
    """Print what was tried, in order, and what came of it."""
    facts(console, _facts(tuning))
    console.print()
    columns = ("recipe", ">flash", ">RAM", ">ms", f">{tuning.metric}", ">worse than float", "misses")
    table(console, columns, [(*_cells(tuning, built), ", ".join(missed)) for built, missed in tuning.trail])
    console.print()
    table(console, columns[:-1], [_cells(tuning, built) for built in tuning.best], title="not beaten in everything")
    for line in (*tuning.notes, *tuning.advice):
        console.print(line)


def _facts(tuning: Tuning) -> list[tuple[str, str]]:
    budgets = tuning.budgets
    limits = [
        *([f"flash {size(budgets.flash_bytes)}"] if budgets.flash_bytes is not None else []),
        *([f"RAM {size(budgets.ram_bytes)}"] if budgets.ram_bytes is not None else []),
        *([f"{budgets.ms:g} ms"] if budgets.ms is not None else []),
        *([f"{_difference(tuning, budgets.drop)} worse than float"] if budgets.drop is not None else []),
    ]
    return [
        ("model", tuning.name),
        ("board", tuning.board),
        ("budgets", ", ".join(limits) or "none"),
        (f"float {tuning.metric}", f"{_score(tuning, tuning.exact_score)} on {count(tuning.samples)} samples"),
        ("chosen", "nothing meets the budgets" if tuning.chosen is None else tuning.chosen.label),
    ]


def _cells(tuning: Tuning, built: Built) -> tuple[str, ...]:
    return (
        built.label,
        count(built.flash_bytes),
        count(built.ram_bytes),
        "-" if built.ms is None else f"{built.ms:.3f}",
        _score(tuning, built.score),
        f"{_difference(tuning, built.drop)} ({' to '.join(_difference(tuning, end) for end in built.interval)})",
    )


def _score(tuning: Tuning, value: float) -> str:
    return f"{value:.2%}" if tuning.is_fraction else f"{value:.6g}"


def _difference(tuning: Tuning, value: float) -> str:
    """Write a drop; that of fractions in percentage points."""
    return f"{100 * value:.2f}" if tuning.is_fraction else f"{value:.6g}"


def tuning_page(tuning: Tuning) -> str:
    """Return a page with the front as a picture, what was tried, and the noise of each choice for each layer."""
    columns = ("recipe", "flash", "RAM", "ms", tuning.metric, "worse than float", "misses")
    tried = _table(columns, [(*_cells(tuning, built), ", ".join(missed)) for built, missed in tuning.trail])
    parts = [facts_table(_facts(tuning)), _picture(tuning), "<h2>Tried, in order</h2>", tried]
    if tuning.choices:
        layers = list(next(iter(tuning.choices.values())).layers)
        rows = [
            (layer, *(f"{c.layers[layer].noise:.1e} / {c.layers[layer].bytes}" for c in tuning.choices.values()))
            for layer in layers
        ]
        parts += [
            "<h2>Layers</h2><p>Noise at the output when the layer alone is quantized, and its bytes.</p>",
            _table(("layer", *tuning.choices), rows),
        ]
    parts += [f"<p>{text(line)}</p>" for line in (*tuning.notes, *tuning.advice)]
    return page(f"Recipes for {tuning.name} on {tuning.board}", parts)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{text(column)}</th>" for column in columns)
    body = "\n".join(f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>\n{body}</table>"


def _picture(tuning: Tuning) -> str:
    """Return flash from left to right and the drop from top to bottom: a dot for each model, a line for the front."""
    built = [found for found, _ in tuning.trail]
    if not built:
        return ""
    flash, drop = tuning.budgets.flash_bytes, tuning.budgets.drop
    xs = [float(found.flash_bytes) for found in built] + ([] if flash is None else [float(flash)])
    ys = [found.drop for found in built] + ([] if drop is None else [drop])

    def place(value: float, values: list[float], length: int) -> float:
        span = max(values) - min(values)
        return _MARGIN + (length - 2 * _MARGIN) * ((value - min(values)) / span if span else 0.5)

    def point(found: Built) -> tuple[float, float]:
        return place(found.flash_bytes, xs, _WIDTH), place(found.drop, ys, _HEIGHT)

    shapes = []
    if flash is not None:
        x = place(flash, xs, _WIDTH)
        shapes.append(f'<line x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{_HEIGHT}"/>')
    if drop is not None:
        y = place(drop, ys, _HEIGHT)
        shapes.append(f'<line x1="0" y1="{y:.1f}" x2="{_WIDTH}" y2="{y:.1f}"/>')
    steps = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(point, tuning.best))
    shapes.append(f'<polyline points="{steps}" fill="none" stroke="#3a7ca5"/>')
    for found in built:
        x, y = point(found)
        chosen = tuning.chosen is not None and found.recipe == tuning.chosen.recipe
        title = f"{found.label}: {size(found.flash_bytes)}, {_difference(tuning, found.drop)} worse than float"
        shapes.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{7 if chosen else 4}" fill="{"#d1832f" if chosen else "#3a7ca5"}">'
            f"<title>{text(title)}</title></circle>"
        )
    for left, top, shown in (
        (_MARGIN, _HEIGHT - 8, f"{count(min(xs))} bytes"),
        (_WIDTH - 2 * _MARGIN, _HEIGHT - 8, f"{count(max(xs))} bytes"),
        (4, _MARGIN, _difference(tuning, min(ys))),
        (4, _HEIGHT - _MARGIN, _difference(tuning, max(ys))),
    ):
        shapes.append(f'<text x="{left}" y="{top}" font-size="12" fill="currentColor">{text(shown)}</text>')
    caption = (
        "Flash from left to right, how much worse than the float model from top to bottom: the best is at the top "
        "left. The line joins the models that no other beats in everything; the large dot was chosen; budgets are "
        "dashed."
    )
    picture = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img">{"".join(shapes)}</svg>'
    return f"<h2>Front</h2><p>{caption}</p>{picture}"

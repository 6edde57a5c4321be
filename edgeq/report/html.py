# SPDX-License-Identifier: Apache-2.0
"""Reports as one HTML page each, with nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from edgeq.analysis.cost import Cost
from edgeq.compile.plan import Plan, lifetimes
from edgeq.ir.result import Profile
from edgeq.report.table import cost_facts, count, percent, printable, profile_facts, size

_WIDTH, _HEIGHT = 900, 260  # pixels of the memory picture

_STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 } td, th { padding: .15em .8em .15em 0; text-align: left }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums } td.bar { width: 16em }
td.bar div { background: #3a7ca5; height: .9em } svg { background: #f4f4f4 }
svg rect { fill: #3a7ca5; fill-opacity: .8; stroke: #fff; stroke-width: .5 } svg rect.scratch { fill: #d1832f }
svg line { stroke: #b33; stroke-dasharray: 6 4 }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd } svg { background: #252525 } }
"""


def profile_page(profile: Profile, plan: Plan) -> str:
    """Return a page with a bar per layer, long where the work is, and the memory picture.

    The bars are in the last unit measured, which is modelled cycles where an emulated run has them.
    """
    units = list(profile.totals)
    unit = units[-1]
    whole = profile.totals[unit].median or 1.0
    rows = [
        (
            (
                str(step.index),
                step.name,
                step.op,
                *(count(step.measures.get(name)) for name in units),
                percent(step.measures.get(unit, 0.0) / whole),
                count(step.macs),
                percent(step.peak_fraction),
                count(step.bytes_moved),
            ),
            step.measures.get(unit, 0.0),
        )
        for step in profile.steps
    ]
    columns = ("#", "layer", "operator", *units, "share", "MACs", "of peak", "bytes moved")
    return page(
        f"Profile of {profile.model}", [facts_table(profile_facts(profile)), _bars(columns, rows), _memory(plan)]
    )


def cost_page(cost: Cost) -> str:
    """Return a page with memory and work per layer, or with the nodes that are unsupported."""
    title = f"Analysis of {cost.model}"
    if cost.plan is None:
        cells = ((item.node, item.op, item.reason, item.hint) for item in cost.unsupported)
        body = "".join(f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in row)}</tr>" for row in cells)
        return page(title, [f"<p>These nodes cannot be converted.</p><table>{body}</table>"])
    predictions = () if cost.time is None else ("predicted cycles",)
    rows = [
        (
            (
                str(i.index),
                i.name,
                i.op,
                count(i.macs),
                *(count(round(i.cycles or 0)) for _ in predictions),
                count(i.bytes_moved),
                count(i.live_bytes),
            ),
            float(i.live_bytes),
        )
        for i in cost.layers
    ]
    columns = ("#", "layer", "operator", "MACs", *predictions, "bytes moved", "live bytes")
    return page(title, [facts_table(cost_facts(cost)), _bars(columns, rows), _memory(cost.plan)])


def page(title: str, parts: Iterable[str]) -> str:
    """Return a whole page of parts that are HTML."""
    head = f'<meta charset="utf-8"><title>{text(title)}</title><style>{_STYLE}</style>'
    body = "\n".join([f"<h1>{text(title)}</h1>", *parts])
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{body}\n</body></html>\n'


def text(value: object) -> str:
    """Return what can be printed of a value, as HTML."""
    return escape(printable(value))


def facts_table(rows: Iterable[tuple[str, str]]) -> str:
    """Return a table of names and values."""
    return f"<table>{''.join(f'<tr><th>{text(a)}</th><td>{text(b)}</td></tr>' for a, b in rows)}</table>"


def _bars(columns: Sequence[str], rows: Sequence[tuple[Sequence[str], float]]) -> str:
    """Return a table whose last column is a bar, as long as the row's number is against the largest."""
    largest = max((value for _, value in rows), default=0.0) or 1.0
    head = "".join(f"<th{_number(i)}>{text(column)}</th>" for i, column in enumerate(columns))
    body = []
    for cells, value in rows:
        shown = "".join(f"<td{_number(i)}>{text(cell)}</td>" for i, cell in enumerate(cells))
        bar = f'<td class="bar"><div style="width:{100 * value / largest:.1f}%"></div></td>'
        body.append(f"<tr>{shown}{bar}</tr>")
    return "\n".join([f"<table><tr>{head}<th></th></tr>", *body, "</table>"])


def _number(column: int) -> str:
    return ' class="n"' if column == 0 or column > 2 else ""


def _memory(plan: Plan) -> str:
    """Return the arena as a picture: steps from left to right, addresses from bottom to top."""
    if not plan.steps or plan.arena_bytes == 0:
        return ""
    first, last = lifetimes(plan)
    x, y = _WIDTH / len(plan.steps), _HEIGHT / plan.arena_bytes
    boxes = []
    for index, value in enumerate(plan.values):
        if value.data is None and last[index] >= first[index]:
            start, end = max(first[index], 0), min(last[index], len(plan.steps) - 1)
            title = f"{value.name}: {size(value.bytes)} at {value.offset}, steps {start} to {end}"
            boxes.append(_box(x * start, x * (end + 1 - start), y * value.offset, y * value.bytes, title, ""))
    for index, planned in enumerate(plan.steps):
        scratch = planned.scratch_bytes
        if scratch:
            title = f"scratch of {planned.name}: {size(scratch)} at {planned.scratch_offset}, step {index}"
            boxes.append(_box(x * index, x, y * planned.scratch_offset, y * scratch, title, "scratch"))
    caption = (
        f"The arena, {size(plan.arena_bytes)} high: steps from left to right, addresses from bottom to top, scratch "
        f"memory in orange. No placement can stay below the dashed line, {size(plan.lower_bound_bytes)}."
    )
    bound = _HEIGHT - y * plan.lower_bound_bytes
    line = f'<line x1="0" y1="{bound:.2f}" x2="{_WIDTH}" y2="{bound:.2f}"/>'
    picture = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img">{"".join(boxes)}{line}</svg>'
    return f"<h2>Memory</h2><p>{caption}</p>{picture}"


def _box(left: float, width: float, bottom: float, height: float, title: str, kind: str) -> str:
    place = f'x="{left:.2f}" y="{_HEIGHT - bottom - height:.2f}" width="{width:.2f}" height="{height:.2f}"'
    return f'<rect class="{kind}" {place}><title>{text(title)}</title></rect>'

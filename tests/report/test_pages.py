# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
from rich.console import Console
from small_models import small_plan

from edgeq.analysis.cost import Cost, Unsupported, cost_of_plan
from edgeq.analysis.profiling import profile
from edgeq.board import load_board
from edgeq.ir.result import Profile, Spread
from edgeq.report import html, table
from edgeq.report.json_report import inspect_report

PLAN = small_plan()
VOID = {"meta"}


class _Tags(HTMLParser):
    """Checks that every tag that opens is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def _checked(page: str) -> str:
    tags = _Tags()
    tags.feed(page)
    assert tags.open == []
    assert not re.search(r"(src|href)=|https?://|<script|@import|url\(", page)
    return " ".join(tags.text)


def _profile() -> Profile:
    return profile(PLAN, lambda codes: np.array([4000, 6000]), [], isa="scalar", model_bytes=9, inferences=3)


def _emulated() -> Profile:
    found = _profile()
    return dataclasses.replace(
        found,
        board="raspberry-pi-4",
        emulated=True,
        totals={"instructions": Spread(10, 10, 10), "cycles:modelled": Spread(8, 8, 8)},
        steps=tuple(
            dataclasses.replace(step, measures={"instructions": 5.0, "cycles:modelled": 4.0}, peak_fraction=0.125)
            for step in found.steps
        ),
        notes=("a note",),
    )


def _shown(show: object, *arguments: object, **options: object) -> str:
    console = Console(record=True, width=160, file=open("/dev/null", "w"), markup=False, highlight=False)  # noqa: SIM115, PTH123
    show(console, *arguments, **options)  # type: ignore[operator]
    return console.export_text()


def test_a_profile_page_is_whole_and_loads_nothing() -> None:
    text = _checked(html.profile_page(_profile(), PLAN))
    assert "stem" in text
    assert "median 0.01 ms" in text


def test_a_cost_page_shows_the_arena() -> None:
    page = html.cost_page(cost_of_plan(PLAN, model_bytes=1))
    _checked(page)
    assert page.count("<rect") == 4  # three tensors and the convolution's scratch


def test_a_prediction_is_shown_with_its_range() -> None:
    cost = cost_of_plan(PLAN, model_bytes=1, board=load_board("raspberry-pi-4"))
    assert cost.time is not None
    for text in (_shown(table.show_cost, cost), _checked(html.cost_page(cost))):
        assert "predicted cycles:modelled" in text
        assert f"{cost.time.median:,.0f} ({cost.time.low:,.0f} to {cost.time.high:,.0f})" in text
        for layer in cost.layers:
            assert layer.cycles is not None
            assert f"{layer.cycles:,.0f}" in text
    assert "predicted cycles" not in _shown(table.show_cost, cost_of_plan(PLAN, model_bytes=1))


def test_names_cannot_inject_markup() -> None:
    wild = '<script>alert("x")</script>[bold]\x1b[31m'
    cost = Cost(wild, None, (Unsupported(wild, wild, wild, wild),))
    assert "<script" not in html.cost_page(cost)
    shown = _shown(table.show_cost, cost)
    assert "\x1b" not in shown
    assert "[bold]" in shown
    assert "\\x1b" in shown


def test_an_emulated_profile_says_so_and_never_tells_time() -> None:
    for text in (_shown(table.show_profile, _emulated()), _checked(html.profile_page(_emulated(), PLAN))):
        assert "emulated" in text
        assert not re.search(r"\b(ms|us|ns|seconds?)\b", text)


def test_an_emulated_profile_shows_every_measure_share_and_note() -> None:
    for text in (_shown(table.show_profile, _emulated()), _checked(html.profile_page(_emulated(), PLAN))):
        for expected in ("instructions", "cycles:modelled", "50.0", "12.5 %", "a note"):
            assert expected in text


def test_the_memory_picture_places_each_buffer_by_step_and_address() -> None:
    page = html.profile_page(_profile(), PLAN)
    for index, value in enumerate(PLAN.values):
        if value.data is None:
            assert f"{value.name}: {value.bytes} bytes at {value.offset}, steps" in page, index
    bars = re.findall(r'<div style="width:([\d.]+)%"', page)
    assert bars == ["66.7", "100.0"]
    for x, width in re.findall(r'<rect [^>]*x="([\d.]+)"[^>]* width="([\d.]+)"', page):
        assert 0 <= float(x) < float(x) + float(width) <= 900


def test_every_report_shows_the_scratch_of_all_parts_of_a_step() -> None:
    stem = dataclasses.replace(PLAN.steps[0], parts=2, scratch_offset=PLAN.arena_bytes)
    arena_bytes = PLAN.arena_bytes + stem.scratch_bytes
    plan = dataclasses.replace(PLAN, steps=(stem, *PLAN.steps[1:]), arena_bytes=arena_bytes)
    scratch = stem.scratch_bytes
    assert scratch == 2 * PLAN.steps[0].scratch_bytes
    assert f"scratch of stem: {scratch:,} bytes" in html.profile_page(_profile(), plan)
    assert inspect_report(plan, file_bytes=9)["steps"][0]["scratch_bytes"] == scratch
    assert f" {scratch:,} " in _shown(table.show_plan, plan, file_bytes=9)


def test_a_profile_here_tells_time_and_shares() -> None:
    text = _shown(table.show_profile, _profile())
    assert "0.01 ms" in text
    assert "60.0" in text
    assert "emulated" not in text


def test_numbers_are_written_whole() -> None:
    assert table.count(1234567) == "1,234,567"
    assert table.count(None) == "-"
    assert table.size(0) == "0 bytes"


def test_the_cost_table_says_what_shrinking_removed() -> None:
    cost = cost_of_plan(PLAN, model_bytes=9, source_macs=PLAN.macs + 1000)
    assert f"{PLAN.macs + 1000:,} in the source" in _shown(table.show_cost, cost)
    assert "in the source" not in _shown(table.show_cost, cost_of_plan(PLAN, model_bytes=9, source_macs=PLAN.macs))

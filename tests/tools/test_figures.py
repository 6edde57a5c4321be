# SPDX-License-Identifier: Apache-2.0
"""The tools that print edgeq's figures beside its peers'."""

from __future__ import annotations

import importlib
import json
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from cli_calls import INT8
from needs import needs_module, needs_program

from edgeq import api
from edgeq.board import load_board
from edgeq.device.cycle_model import CORES

TOOLS = Path(__file__).resolve().parent.parent.parent / "tools"
DATA = tomllib.loads((TOOLS / "figures.toml").read_text())


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module


@pytest.fixture
def figures(tool: object) -> ModuleType:
    return importlib.import_module("figures")


def test_every_model_that_is_compared_has_a_file_a_peer_and_a_limit() -> None:
    for core, table in DATA["cycles"].items():
        assert set(table["peer"]) == set(table["ratio"]) <= set(DATA["models"]), core
        assert CORES[load_board(table["board"]).cpu]
    for name in (*DATA["arena"]["limit"], *DATA["threads"]["limit"], *DATA["host"]["models"], *DATA["arena"]["fit"]):
        assert name in DATA["models"]
    assert set(DATA["host"]["mean"]) <= set(DATA["host"]["models"])


def test_absent_models_are_reported_and_reach_nothing(
    figures: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures.json"
    rows = "a72,a53,a76,arena,start,host,threads"
    monkeypatch.setattr(sys, "argv", ["figures", "--rows", rows, "--models", str(tmp_path), "--json", str(out)])
    assert figures.main() == 0
    found = json.loads(out.read_text())
    assert len(found) > 20
    assert all(figure["value"] is None and figure["reached"] is None for figure in found)
    absent = [figure for figure in found if "is not in" in figure["note"]]
    assert len(absent) == len(found) - 1  # the geometric mean of nothing has no note
    assert "0 reached, 0 missed" in capsys.readouterr().out


def test_an_unknown_row_is_refused(figures: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["figures", "--rows", "a99"])
    with pytest.raises(SystemExit):
        figures.main()


def test_a_figure_is_reached_up_to_its_limit(figures: ModuleType) -> None:
    make = figures.Figure
    assert make("x", "y", "bytes", 5, None, 5).reached is True
    assert make("x", "y", "bytes", 6, None, 5).reached is False
    assert make("x", "y", "bytes", None, None, 5).reached is None


def test_a_matrix_product_is_counted_as_one_step(tool: object) -> None:
    needs_program("qemu-aarch64")
    layers = importlib.import_module("layers")
    made = layers.convert(layers.convolution((8, 8, 32), 16), "raspberry-pi-4")
    assert made.plan.macs == 64 * 32 * 16
    with api.connect("raspberry-pi-4") as device:
        device.load(made)
        profile = device.profile()
    assert [step.macs for step in profile.steps] == [made.plan.macs]
    assert profile.steps[0].measures["instructions"] > made.plan.macs / 32


def test_the_start_of_a_program_is_measured(tool: object) -> None:
    needs_program("cc")
    figures = importlib.import_module("process_figures")
    model = figures.packed_for_this_machine(INT8)
    found = figures.start_of(model)
    assert 0 < found.open_ms < 1000
    assert found.resident_bytes > found.file_bytes == len(model.data)
    assert found.arena_bytes == model.plan.arena_bytes


def test_litert_compiled_and_interpreted_give_the_same_integers(tool: object) -> None:
    interpreter = needs_module("ai_edge_litert.interpreter").Interpreter(model_path=str(INT8), num_threads=1)
    interpreter.allocate_tensors()
    detail = interpreter.get_input_details()[0]
    x = np.random.default_rng(0).integers(-128, 128, detail["shape"]).astype(np.int8)
    interpreter.set_tensor(detail["index"], x)
    interpreter.invoke()
    expected = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    compiled = importlib.import_module("litert_c").CompiledModel(INT8)
    bench = importlib.import_module("bench_peers")
    assert bench._litert_c(INT8, x)(1) > 0
    compiled.feed(0, x)
    status = compiled.run()
    assert status == 0
    assert compiled.output(0) == expected.tobytes()


def test_a_comparison_has_a_time_for_each_runtime(tool: object) -> None:
    needs_module("ai_edge_litert.interpreter")
    bench = importlib.import_module("bench_peers")
    found = bench.compare(INT8, rounds=1)
    assert {bench.EDGEQ_C, bench.LITERT_C, bench.EDGEQ, bench.LITERT} <= set(found.seconds)
    assert all(value > 0 for value in found.seconds.values())
    assert found.ratio() == pytest.approx(found.seconds[bench.EDGEQ_C] / found.seconds[bench.LITERT_C])
    assert (bench.ORT in found.seconds) != bool(found.absent)
    assert bench.geometric_mean([1, 4]) == pytest.approx(2)

# SPDX-License-Identifier: Apache-2.0
"""edgeq tune: what it writes, the exit codes of budgets that are missed, and what it refuses."""

from __future__ import annotations

import csv
import dataclasses
import tomllib
from pathlib import Path

import numpy as np
import pytest
from cli_calls import CALIBRATION, FLOAT, INT8, call, report

from edgeq.analysis.trials import Built
from edgeq.analysis.tune import Budgets, Tuning
from edgeq.cli.tune import _require_chosen
from edgeq.errors import AccuracyError, DoesNotFitError
from edgeq.quantize.recipe import Recipe
from edgeq.report.html import page
from edgeq.report.tuning import front_csv, tune_report, tuning_page

BOARD = ("--board", "raspberry-pi-4")
BUILT = Built("plain <one>", Recipe(), 1000, 100, None, 0.9, 0.02, (0.0, 0.04))
OTHER = dataclasses.replace(BUILT, label="other", recipe=Recipe(name="tuned"), flash_bytes=500, ms=2.5, drop=0.2)
TUNING = Tuning(
    name="net",
    board="board",
    metric="top1",
    is_fraction=True,
    samples=50,
    exact_score=0.92,
    budgets=Budgets(flash_bytes=400, drop=0.01),
    trail=((BUILT, ("flash", "drop")), (OTHER, ("flash",))),
    chosen=None,
    best=(OTHER, BUILT),
    advice=("--max-flash 500 would be met",),
)


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """A few pictures without labels."""
    path = tmp_path / "samples.npz"
    with np.load(CALIBRATION) as arrays:
        np.savez(path, x=arrays["x"][:24])
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own."""
    monkeypatch.setenv("EDGEQ_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_chosen_recipe_makes_the_model_again(
    samples: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, html, front = tmp_path / "m.eqm", tmp_path / "m.html", tmp_path / "front.csv"
    arguments = ("tune", FLOAT, "--data", samples, *BOARD, "--max-drop", "50%", "--points", 0)
    found = report(capsys, *arguments, "-o", model, "--html", html, "--front", front)
    assert found["schema"] == "edgeq.tune/1"
    assert found["metric"] == "agreement"
    assert found["chosen"]["flash_bytes"] == len(model.read_bytes())
    again = tmp_path / "again.eqm"
    assert call("convert", FLOAT, "--data", samples, *BOARD, "--recipe", tmp_path / "m.recipe.toml", "-o", again) == 0
    assert again.read_bytes() == model.read_bytes()
    assert tomllib.loads(found["chosen"]["recipe"]) == tomllib.loads((tmp_path / "m.recipe.toml").read_text())
    assert len(list(csv.DictReader(front.read_text().splitlines()))) == len(found["front"]) == 1
    assert "<svg" in html.read_text()
    assert len(list((cache / "tune").iterdir())) == 1
    state = tmp_path / "state.json"
    assert call(*arguments, "--state", state, "-q") == 0
    assert call(*arguments, "--state", state, "--seed", 1, "-q") == 1
    assert "state of a search with another model" in capsys.readouterr().err


def test_flash_that_nothing_reaches_ends_with_code_3(samples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("tune", FLOAT, "--data", samples, *BOARD, "--max-flash", "1kB", "--choice", "int8", "--points", 0)
    assert call(*arguments) == 3
    printed = capsys.readouterr()
    assert "nothing meets the budgets" in printed.out
    assert "no recipe for" in printed.err
    assert "--max-flash" in printed.err


def test_the_exit_code_tells_accuracy_from_memory() -> None:
    _require_chosen(dataclasses.replace(TUNING, chosen=BUILT))
    with pytest.raises(DoesNotFitError, match="--max-flash 500 would be met"):
        _require_chosen(TUNING)
    with pytest.raises(AccuracyError, match="accurate enough"):
        _require_chosen(dataclasses.replace(TUNING, trail=((BUILT, ("flash",)), (OTHER, ("drop",)))))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--max-drop", "1"), 1, "write 0.01 or 1%"),
        (("--max-flash", "many"), 1, "38.4kB or 64KiB"),
        (("--max-flash", "0"), 1, "38.4kB or 64KiB"),
        (("--max-ram", "5 apples"), 1, "38.4kB or 64KiB"),
        (("--max-ms", "nan"), 1, "--max-ms is a number above 0"),
        (("--choice", "int5"), 1, "there is no choice 'int5'"),
        (("--html", "nowhere/x.html"), 9, "there is no folder"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    arguments: tuple[str, ...], code: int, message: str, samples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("tune", FLOAT, "--data", samples, *BOARD, *arguments) == code
    assert message in capsys.readouterr().err


def test_models_and_data_that_do_not_serve_are_refused(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("tune", INT8, "--data", samples, *BOARD) == 1
    assert "is no float model" in capsys.readouterr().err
    empty = tmp_path / "empty.npz"
    with np.load(samples) as arrays:
        np.savez(empty, x=arrays["x"][:0])
    assert call("tune", FLOAT, "--data", empty, *BOARD) == 8
    assert "no sample" in capsys.readouterr().err


def test_reports_hold_every_model() -> None:
    rows = list(csv.DictReader(front_csv(TUNING).splitlines()))
    assert [row["label"] for row in rows] == ["other", "plain <one>"]
    assert [row["ms"] for row in rows] == ["2.5", ""]
    assert [row["chosen"] for row in rows] == ["0", "0"]
    assert front_csv(dataclasses.replace(TUNING, chosen=BUILT)).splitlines()[2].endswith(",1")
    found = tune_report(TUNING)
    assert [entry["missed"] for entry in found["trail"]] == [["flash", "drop"], ["flash"]]
    assert found["budgets"] == {"flash_bytes": 400, "ram_bytes": None, "ms": None, "drop": 0.01}
    shown = tuning_page(TUNING)
    assert shown.count("<circle") == 2
    assert "plain &lt;one&gt;" in shown
    assert "<one>" not in shown
    assert "--max-flash 500 would be met" in shown
    assert "src=" not in shown
    assert shown.startswith(page("", [])[:15])

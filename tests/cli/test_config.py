# SPDX-License-Identifier: Apache-2.0
"""Flags win over edgeq.toml, which wins over the user's file, which wins over the defaults."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_calls import INT8, call

from edgeq.format.read import read_model


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "user" / "edgeq").mkdir(parents=True)
    monkeypatch.chdir(work)
    return work


def _user(folder: Path, text: str) -> None:
    (folder.parent / "user" / "edgeq" / "config.toml").write_text(text)


def _rounding(*flags: str) -> str:
    assert call("convert", INT8, "-o", "m.eqm", "--quiet", *flags) == 0
    return read_model(Path("m.eqm").read_bytes()).rounding


def test_precedence(folder: Path) -> None:
    assert _rounding() == "tflite"
    _user(folder, '[convert]\nrounding = "tflm"\n')
    assert _rounding() == "tflm"
    (folder / "edgeq.toml").write_text('[convert]\nrounding = "native"\n')
    assert _rounding() == "native"
    assert _rounding("--rounding", "tflite") == "tflite"


def test_files_are_merged_key_by_key(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _user(folder, "[convert]\nquiet = true\n")
    (folder / "edgeq.toml").write_text('[convert]\noutput = "n.eqm"\nkeep-tensors = true\n')
    assert call("convert", INT8) == 0
    assert capsys.readouterr().out == ""
    assert read_model((folder / "n.eqm").read_bytes()).keeps_tensors


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[convert]\nroundign = 1\n", "roundign"),
        ("[convrt]\n", "convrt"),
        ('rounding = "native"\n', "rounding"),
        ("[convert]\nboard = [1]\n", "board"),
        ("[convert]\nhelp = true\n", "help"),
        ("[convert\n", "TOML"),
    ],
)
def test_mistakes_are_named_with_the_file(
    folder: Path, text: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "edgeq.toml").write_text(text)
    assert call("boards") == 8
    shown = capsys.readouterr().err
    assert "edgeq.toml" in shown
    assert named in shown


def test_a_value_that_an_option_refuses_is_a_usage_error(folder: Path) -> None:
    (folder / "edgeq.toml").write_text('[verify]\ninputs = "many"\n')
    assert call("verify", INT8) == 1

# SPDX-License-Identifier: Apache-2.0
"""How the command line starts and ends: quickly, and quietly where nobody listens."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_calls import FLOAT, command_line, process_environment, spawn
from small_models import small_model

HEAVY = ("numpy", "cffi", "tflite", "edgeq.ops", "edgeq.api")


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], []])
def test_nothing_heavy_is_imported_before_it_is_needed(arguments: list[str]) -> None:
    code = (
        "import sys; from edgeq.cli import main; code = main(sys.argv[1:]); "
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=process_environment()
    )
    assert (done.returncode, done.stderr) == (0, "[]\n")


def test_a_reader_that_leaves_is_no_error_message(tmp_path: Path) -> None:
    path = tmp_path / "small.eqm"
    path.write_bytes(small_model())
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        command_line("inspect", path), stdout=writing, stderr=subprocess.PIPE, text=True, env=process_environment()
    )
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 9


def test_a_full_standard_output_is_an_error() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command_line("boards"), stdout=full, stderr=subprocess.PIPE, text=True, env=process_environment()
        )
    assert done.returncode == 9
    assert "error: cannot read or write" in done.stderr
    assert "Traceback" not in done.stderr


def test_output_survives_a_terminal_without_unicode(tmp_path: Path) -> None:
    path = tmp_path / "small.eqm"
    path.write_bytes(small_model())
    done = spawn("analyze", path, environment={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "stem" in done.stdout


def test_a_pipe_gets_no_colours_and_no_progress(tmp_path: Path) -> None:
    path = tmp_path / "small.eqm"
    path.write_bytes(small_model())
    done = spawn("verify", path)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stderr == ""


def test_a_name_with_control_characters_cannot_reach_the_terminal(tmp_path: Path) -> None:
    done = spawn("inspect", tmp_path / "\x1b[31mred")
    assert done.returncode == 9
    assert "\x1b" not in done.stderr


def test_a_warning_is_one_plain_line(tmp_path: Path) -> None:
    data = tmp_path / "one.npz"
    np.savez(data, x=np.random.default_rng(0).random((1, 8, 8, 1), np.float32))
    done = spawn("convert", FLOAT, "-o", tmp_path / "m.eqm", "--data", data)
    assert done.returncode == 0
    assert done.stderr.startswith("warning: ")
    assert ".py:" not in done.stderr

# SPDX-License-Identifier: Apache-2.0
"""Call the command line: in this process for its effects, in another one for signals and limits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeq.cli import main
from edgeq.paths import demo_dir

ROOT = Path(__file__).resolve().parent.parent
INT8 = demo_dir() / "digits_int8.tflite"
FLOAT = demo_dir() / "digits_float.tflite"
TESTS = demo_dir() / "digits_test.npz"
CALIBRATION = demo_dir() / "digits_calibration.npz"


def call(*arguments: object) -> int:
    """Run a command here and return its exit code."""
    return main([str(argument) for argument in arguments])


def report(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """Run a command with ``--json -`` and return what it prints, which must be JSON and nothing else."""
    capsys.readouterr()
    assert call(*arguments, "--json", "-") == 0
    parsed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return parsed


def spawn(
    *arguments: object,
    prepare: Callable[[], None] | None = None,
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    return subprocess.run(
        command_line(*arguments),
        capture_output=True,
        text=True,
        preexec_fn=prepare,
        env=process_environment() | (environment or {}),
        cwd=folder,
        timeout=120,
    )


def command_line(*arguments: object) -> list[str]:
    """Return what starts the command in a process of its own."""
    return [sys.executable, "-m", "edgeq.cli", *map(str, arguments)]


def process_environment() -> dict[str, str]:
    """Return the environment in which the package under test is found."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path}

# SPDX-License-Identifier: Apache-2.0
"""The README's examples run as written, and its tables are complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from needs import needs_module, needs_program

from edgeq.board import board_names
from edgeq.ops import all_ops

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.slow
def test_examples_run_in_order(tmp_path: Path) -> None:
    needs_program("qemu-aarch64")
    needs_program("qemu-system-arm")
    needs_program("cc")
    needs_module("ziglang")
    (tmp_path / "edgeq").mkdir()
    (tmp_path / "edgeq" / "demo_data").symlink_to(ROOT / "edgeq" / "demo_data")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    examples = re.findall(r"<!-- run -->\n```(sh|python|c)\n(.*?)```", README, re.DOTALL)
    assert [language for language, _ in examples] == ["sh", "sh", "sh", "python", "c", "sh"]
    for language, code in examples:
        script = tmp_path / f"example.{language}"
        script.write_text(code)
        if language == "c":
            continue  # the next commands compile it
        command = ["bash", "-eu", str(script)] if language == "sh" else [sys.executable, "-P", str(script)]
        ended = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, f"{code}\n{ended.stdout}\n{ended.stderr}"


def test_every_operator_is_in_the_table() -> None:
    table = README[README.index("| products |") : README.index("## Limits")]
    named = set(re.findall(r"[a-z][a-z0-9_]+", table))
    assert {op.name for op in all_ops()} <= named


def test_every_board_is_named() -> None:
    pages = README + (ROOT / "docs" / "microcontrollers.md").read_text()
    assert [name for name in board_names() if f"`{name}`" not in pages] == []

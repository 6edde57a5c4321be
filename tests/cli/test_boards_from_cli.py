# SPDX-License-Identifier: Apache-2.0
"""Commands that run on a board hand their options on, and never run here instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_calls import INT8, TESTS, call, report

from edgeq import api
from edgeq.errors import DeviceError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Make every connection fail, and list what was asked for."""
    calls: list[tuple[Any, ...]] = []

    def connect(board: str, *, port: str | None, ssh: str | None, toolchain: str | None, threads: int) -> api.Session:
        assert port is None
        calls.append((board, ssh, toolchain))
        raise DeviceError("nobody answers")

    monkeypatch.setattr(api, "connect", connect)
    return calls


@pytest.mark.parametrize("command", ["verify", "profile", "eval", "run"])
def test_a_board_that_does_not_answer_is_an_error(
    command: str, asked: list[tuple[Any, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((1, 8, 8, 1), np.int8))
    more = {"eval": ["--data", TESTS], "run": ["-i", tmp_path / "x.npz", "-o", tmp_path / "y.npz"]}.get(command, [])
    places = [
        (["--board", "raspberry-pi-3"], ("raspberry-pi-3", None, None)),
        (["--board", "raspberry-pi-3", "--ssh", "pi@host:22"], ("raspberry-pi-3", "pi@host:22", None)),
        (["--board", "host", "--ssh", "me@server", "--toolchain", "gcc"], ("host", "me@server", "gcc")),
    ]
    for options, _ in places:
        assert call(command, INT8, *options, *more) == 6
        shown = capsys.readouterr()
        assert shown.err == "error: nobody answers\n"
        assert shown.out == ""
    assert asked == [expected for _, expected in places]
    assert not (tmp_path / "y.npz").exists()


def test_the_host_is_this_machine(asked: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]) -> None:
    assert report(capsys, "profile", INT8, "--board", "host", "--inferences", "1")["board"] == "host"
    assert asked == []

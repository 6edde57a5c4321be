# SPDX-License-Identifier: Apache-2.0
"""Every exit code, each reached by a command; and that a failure is one line without a traceback."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from cli_calls import CALIBRATION, FLOAT, INT8, TESTS, call, command_line, process_environment, spawn
from frontends.tflite_builder import Model, O, T, build
from small_models import small_model

from edgeq.ir.result import RunResult
from edgeq.runtime.native import NativeRunner


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return _write(tmp_path / "small.eqm", small_model())


@pytest.fixture
def unsupported(tmp_path: Path) -> Path:
    """A model with an operator that edgeq does not have."""
    tensors = [T("x", (1, 4), scale=0.1), T("y", (1, 4), scale=0.1)]
    return _write(tmp_path / "u.tflite", build(Model(tensors, [O("RFFT2D", [0], [1])], [0], [1])))


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A model whose arena is 1 GiB."""
    tensors = [T(name, (1, 32768, 32768, 1), scale=0.1) for name in "xy"]
    return _write(tmp_path / "large.tflite", build(Model(tensors, [O("RELU", [0], [1])], [0], [1])))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--no-such-option"],
        ["no-such-command"],
        ["convert"],
        ["convert", INT8, "-o"],
        ["boards", "no-such-board"],
        ["boards", "--json"],
        ["convert", FLOAT, "-o", "x.eqm"],  # a float model without data
        ["convert", INT8, "-o", "x.eqm", "--rounding", "up"],
        ["convert", INT8, "-o", "x.eqm", "--recipe", "int7"],
        ["convert", FLOAT, "-o", "x.eqm", "--data", CALIBRATION, "--observer", "guess"],
        ["convert", INT8, "-o", "x.eqm", "--observer", "guess"],  # which this model would not need
        ["convert", INT8, "-o", "x.eqm", "--json", "x.eqm"],
        ["convert", INT8, "-o", "x.eqm", "--json", "./x.eqm"],
        ["run", FLOAT, "-i", TESTS, "-o", "y.npz"],
        ["run", INT8, "-i", TESTS, "-o", "y.npz", "--engine", "gpu"],
        ["run", INT8, "-i", TESTS, "-o", "y.npz", "--engine", "reference", "--board", "raspberry-pi-4"],
        ["verify", INT8, "--inputs", "0"],
        ["verify", INT8, "--inputs", "many"],
        ["verify", INT8, "--threads", "0"],
        ["profile", INT8, "--threads", "5"],
        ["run", INT8, "-i", TESTS, "-o", "y.npz", "--threads", "two"],
        ["run", INT8, "-i", TESTS, "-o", "y.npz", "--threads", "2", "--engine", "reference"],
        ["convert", INT8, "-o", "x.eqm", "--fit", "--keep-tensors"],
        ["convert", INT8, "-o", "-"],
        ["analyze", INT8, "--html", "-"],
        ["profile", INT8, "--trace", "-"],
        ["verify", INT8, "--ssh", "pi@host"],
        ["verify", INT8, "--board", "pi"],
        ["eval", INT8, "--data", TESTS, "--max-drop", "1%"],
        ["eval", INT8, "--data", TESTS, "--min", "97"],
        ["eval", INT8, "--data", TESTS, "--min", "high"],
        ["eval", INT8, "--data", TESTS, "--min", "nan"],
        ["eval", INT8, "--data", TESTS, "--max-drop", "1", "--source", FLOAT],
        ["eval", INT8, "--data", TESTS, "--metric", "precision"],
        ["eval", FLOAT, "--data", TESTS, "--board", "raspberry-pi-4"],
        ["build", INT8, "-o", "out"],
    ],
    ids=lambda arguments: " ".join(Path(str(word)).name for word in arguments),
)
def test_1_usage(
    arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(*arguments) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert shown.out == ""
    assert list(tmp_path.iterdir()) == []


def test_1_a_model_packed_for_kernels_that_the_board_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed, out = tmp_path / "five.eqm", tmp_path / "four"
    assert call("convert", INT8, "--board", "raspberry-pi-5", "-o", packed, "--quiet") == 0
    assert call("build", packed, "--board", "raspberry-pi-4", "-o", out) == 1
    assert "in the order c8k4, which no kernels of raspberry-pi-4 read; convert it" in capsys.readouterr().err
    assert not out.exists()
    assert call("inspect", packed) == 0
    assert "c8k4" in capsys.readouterr().out


def test_1_kernels_that_this_cpu_lacks(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEQ_ISA", "mmx")
    assert call("profile", small) == 1
    assert re.search(r"EDGEQ_ISA is 'mmx'; this CPU has kernels for scalar", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("analyze", "--json"),
        ("analyze", "--html"),
        ("inspect", "--json"),
        ("profile", "--json"),
        ("profile", "--html"),
        ("profile", "--trace"),
        ("verify", "--json"),
    ],
)
def test_1_a_report_never_replaces_the_model(command: str, option: str, small: Path) -> None:
    before = small.read_bytes()
    assert call(command, small, option, small) == 1
    assert small.read_bytes() == before


def test_2_unsupported(unsupported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("convert", unsupported, "-o", tmp_path / "u.eqm") == 2
    assert "RFFT2D" in capsys.readouterr().err.upper()
    assert not (tmp_path / "u.eqm").exists()
    out = tmp_path / "report.json"
    assert call("analyze", unsupported, "--json", out) == 2
    assert '"reason"' in out.read_text()
    assert "RFFT2D" in capsys.readouterr().out.upper()


def test_3_does_not_fit(large: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("convert", large, "-o", tmp_path / "l.eqm", "--board", "raspberry-pi-zero") == 3
    assert not (tmp_path / "l.eqm").exists()
    shown = capsys.readouterr().err
    assert "1073741824" in shown
    assert "raspberry-pi-zero" in shown
    assert call("analyze", large, "--board", "raspberry-pi-zero") == 3
    assert "536,870,912 bytes are missing" in capsys.readouterr().out
    assert call("analyze", large) == 0


def test_4_accuracy_gate(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("eval", INT8, "--data", TESTS, "--min", "0.999") == 4
    shown = capsys.readouterr()
    assert "0.994444" in shown.err
    assert "0.999" in shown.err
    assert "99.44%" in shown.out


def test_5_device_differs(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    good = NativeRunner.run

    def wrong(self: NativeRunner, inputs: list[np.ndarray], *, crcs: bool = False) -> RunResult:
        result = good(self, inputs, crcs=crcs)
        outputs = tuple(output ^ np.int8(1) for output in result.outputs)
        return RunResult(outputs, (*result.step_crcs[:-1], result.step_crcs[-1] ^ 1))

    monkeypatch.setattr(NativeRunner, "run", wrong)
    out = tmp_path / "v.json"
    assert call("verify", small, "--json", out) == 5
    shown = capsys.readouterr()
    assert 'logistic "gate"' in shown.err
    assert '"equal": false' in out.read_text()
    assert "equal:" not in shown.out


def test_6_no_emulator(small: Path) -> None:
    done = spawn("verify", small, "--board", "raspberry-pi-4", environment={"PATH": ""})
    assert done.returncode == 6
    assert "qemu-aarch64" in done.stderr
    assert "equal" not in done.stdout


def test_7_internal_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr("edgeq.board.board_names", fail)
    assert call("boards") == 7
    shown = capsys.readouterr().err
    assert "no such luck" in shown
    assert "report" in shown
    assert "Traceback" not in shown
    monkeypatch.setenv("EDGEQ_DEBUG", "1")
    assert call("boards") == 7
    assert "Traceback" in capsys.readouterr().err


def test_8_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _write(tmp_path / "text.tflite", b"hello, this is not a model")
    assert call("convert", path, "-o", tmp_path / "x.eqm") == 8
    assert "text.tflite" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "absent.eqm"],
        ["analyze", "absent.tflite"],
        ["convert", "absent.tflite", "-o", "x.eqm"],
        ["convert", ".", "-o", "x.eqm"],
        ["convert", INT8, "-o", "."],
        ["convert", INT8, "-o", "no/such/folder/x.eqm"],
        ["convert", INT8, "-o", "/proc/self/x.eqm"],
        ["convert", FLOAT, "-o", "x.eqm", "--data", "absent.npz"],
        ["convert", INT8, "-o", "x.eqm", "--recipe", "absent.toml"],
        ["run", INT8, "-i", "absent.npz", "-o", "y.npz"],
        ["run", INT8, "-i", TESTS, "-o", "no/such/folder/y.npz"],
        ["eval", INT8, "--data", "absent.npz"],
        ["diff", "absent.eqm", INT8],
        ["boards", "--json", "no/such/folder/b.json"],
        ["convert", INT8, "-o", "x.eqm", "--json", "no/such/folder/x.json"],
        ["profile", INT8, "--html", "no/such/folder/p.html"],
        ["profile", INT8, "--trace", "no/such/folder/t.json"],
    ],
    ids=lambda arguments: " ".join(Path(str(word)).name for word in arguments),
)
def test_9_storage(
    arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(*arguments) == 9
    assert capsys.readouterr().err.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


def test_9_no_picture_is_written_when_the_trace_cannot_be(small: Path, tmp_path: Path) -> None:
    page = tmp_path / "p.html"
    assert call("profile", small, "--inferences", "1", "--html", page, "--trace", "/proc/self/t.json") == 9
    assert not page.exists()


def test_9_a_device_is_written_to_and_not_replaced(small: Path) -> None:
    assert Path("/dev/full").is_char_device()
    done = spawn("inspect", small, "--json", "/dev/full")
    assert done.returncode == 9
    assert "/dev/full" in done.stderr
    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_0_with_a_stream_closed(closed: str, small: Path) -> None:
    line = " ".join(command_line("verify", small, "--inputs", "1"))
    done = subprocess.run(["sh", "-c", f"{line} {closed}"], capture_output=True, text=True, env=process_environment())
    assert (done.returncode, done.stderr) == (0, "")


def test_130_interrupted(tmp_path: Path) -> None:
    script = tmp_path / "data.py"
    script.write_text(
        "import os, signal\n\ndef batches():\n    os.kill(os.getpid(), signal.SIGINT)\n    yield from ()\n"
    )
    done = spawn("convert", FLOAT, "-o", tmp_path / "x.eqm", "--data", script)
    assert done.returncode == 130
    assert done.stderr == "error: interrupted\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.py"]

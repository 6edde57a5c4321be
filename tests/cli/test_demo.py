# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from cli_calls import INT8, call, report, spawn
from needs import needs_module, needs_program

from edgeq.ir.result import RunResult
from edgeq.runtime.native import NativeRunner


def _compared(shown: str) -> int:
    found = re.search(r"([\d,]+) numbers were compared, all of them equal", shown)
    assert found is not None
    return int(found[1].replace(",", ""))


def test_the_demo_compares_every_engine(capsys: pytest.CaptureFixture[str]) -> None:
    for program in ("cc", "qemu-aarch64"):
        needs_program(program)
    needs_module("ziglang")
    needs_module("ai_edge_litert")
    assert call("demo", "--samples", "3") == 0
    shown = capsys.readouterr().out
    assert "Not compared" not in shown
    layers, outputs = 16, 10
    assert _compared(shown) == 3 * (2 * (layers + outputs) + 3 * outputs)
    assert "raspberry-pi-4: instructions" in shown


def test_without_compilers_and_emulators_the_demo_says_so(tmp_path: Path) -> None:
    done = spawn("demo", "--samples", "2", "--toolchain", "gcc", environment={"PATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert re.search(r"raspberry-pi-4 +not compared: aarch64-linux-gnu-gcc is not installed", done.stdout)
    assert re.search(r"emitted C, compiled here +not compared: this machine has no C compiler", done.stdout)
    assert "Not compared: emitted C, compiled here, raspberry-pi-4" in done.stdout
    assert _compared(done.stdout) >= 2 * (16 + 10)


def test_a_wrong_runtime_fails_the_demo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    good = NativeRunner.run

    def wrong(self: NativeRunner, inputs: list[np.ndarray], *, crcs: bool = False) -> RunResult:
        result = good(self, inputs, crcs=crcs)
        return RunResult(tuple(output ^ np.int8(1) for output in result.outputs), result.step_crcs)

    monkeypatch.setattr(NativeRunner, "run", wrong)
    monkeypatch.setenv("PATH", "")
    assert call("demo", "--samples", "1", "--toolchain", "gcc") == 5
    shown = capsys.readouterr()
    assert "differs" in shown.err
    assert "all of them equal" not in shown.out


def test_an_emulated_profile_counts_instructions(capsys: pytest.CaptureFixture[str]) -> None:
    needs_program("qemu-aarch64")
    needs_module("ziglang")
    found = report(capsys, "profile", INT8, "--board", "raspberry-pi-4", "--inferences", "1")
    assert (found["emulated"], found["unit"], found["board"]) == (True, "instructions", "raspberry-pi-4")
    assert found["total"]["median"] > 10_000
    assert call("profile", INT8, "--board", "raspberry-pi-4", "--inferences", "1") == 0
    shown = capsys.readouterr().out
    assert "emulated" in shown
    assert not re.search(r"\b(ms|us|ns)\b", shown)


def test_an_emulated_profile_models_cycles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for program in ("qemu-aarch64", "llvm-mca-19"):
        needs_program(program)
    needs_module("ziglang")
    page, trace = tmp_path / "p.html", tmp_path / "p.json"
    found = report(capsys, "profile", INT8, "--board", "raspberry-pi-4", "--html", page, "--trace", trace)
    assert list(found["measures"]) == ["instructions", "cycles:modelled"]
    for layer in found["layers"]:
        assert set(layer["measures"]) == set(found["measures"])
        assert (layer["peak_fraction"] is None) == (layer["macs"] == 0)
        assert layer["peak_fraction"] is None or 0 < layer["peak_fraction"] < 1.05
    assert "cycles:modelled" in page.read_text()
    assert json.loads(trace.read_text())["otherData"]["unit"] == "cycles:modelled"


def test_verify_and_run_on_an_emulated_board(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs_program("qemu-aarch64")
    needs_module("ziglang")
    assert report(capsys, "verify", INT8, "--board", "raspberry-pi-4", "--inputs", "2")["equal"] is True
    codes = np.random.default_rng(0).integers(-128, 128, (4, 8, 8, 1)).astype(np.int8)
    np.savez(tmp_path / "x.npz", in0=codes)
    for name, more in (("here", []), ("there", ["--board", "raspberry-pi-4"])):
        assert call("run", INT8, "-i", tmp_path / "x.npz", "-o", tmp_path / f"{name}.npz", *more) == 0
    assert (tmp_path / "here.npz").read_bytes() == (tmp_path / "there.npz").read_bytes()

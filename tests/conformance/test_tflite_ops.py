# SPDX-License-Identifier: Apache-2.0
"""Recorded outputs of LiteRT's reference kernels, one operator a case, through every engine."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from emitted import AARCH64, ARM32, HOST, Toolchain, run_emitted
from needs import needs_program
from shared_files import shared

from edgeq.api import Model, connect
from edgeq.format.write import write_model
from edgeq.frontends.tflite import read
from edgeq.pipeline import convert_graph
from edgeq.quantize.recipe import Recipe
from edgeq.rewrite.boundary import strip_boundary

CASES = 1056
SAMPLE = 5  # cases an operator where only a sample runs


@dataclass(frozen=True)
class Recorded:
    name: str
    model: Model
    inputs: list[np.ndarray]
    outputs: list[np.ndarray]

    @property
    def op(self) -> str:
        return self.name.rsplit("_", 1)[0]


@cache
def _recorded() -> tuple[Recorded, ...]:
    return tuple(_read(shared("conformance/tflite_int8_ops.zip")))


def _read(path: Path) -> Iterator[Recorded]:
    with zipfile.ZipFile(path) as archive:
        for name in sorted(name[:-7] for name in archive.namelist() if name.endswith(".tflite")):
            graph = strip_boundary(read(archive.read(f"{name}.tflite"), name))
            plan = convert_graph(graph, recipe=Recipe(rounding="tflite")).plan
            arrays = np.load(io.BytesIO(archive.read(f"{name}.npz")), allow_pickle=False)
            inputs = [arrays[f"in{i}"] for i in range(len(plan.inputs))]
            outputs = [arrays[f"out{i}"] for i in range(len(plan.outputs))]
            yield Recorded(name, Model(plan, write_model(plan)), inputs, outputs)


def _differing(cases: list[Recorded], results: list[list[np.ndarray]]) -> list[str]:
    return [
        case.name
        for case, found in zip(cases, results, strict=True)
        if not all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(found, case.outputs, strict=True))
    ]


@pytest.mark.parametrize("engine", ["reference", "native"])
def test_recorded_outputs(engine: str, record_property: Callable[[str, object], None]) -> None:
    cases = list(_recorded())
    assert len(cases) == CASES
    results = [case.model.run(case.inputs, engine=engine) for case in cases]
    assert _differing(cases, results) == []
    record_property(f"shared: recorded cases through {engine}", len(cases))


def _emitted(cases: list[Recorded], toolchain: Toolchain) -> list[list[np.ndarray]]:
    codes = run_emitted([(case.model.plan, case.model.encode(case.inputs)) for case in cases], toolchain)
    return [case.model.decode(outputs) for case, outputs in zip(cases, codes, strict=True)]


def test_recorded_outputs_through_emitted_c(record_property: Callable[[str, object], None]) -> None:
    cases = list(_recorded())
    assert _differing(cases, _emitted(cases, HOST)) == []
    record_property("shared: recorded cases through emitted C", len(cases))


@pytest.mark.parametrize("toolchain", [AARCH64, ARM32], ids=["aarch64", "arm"])
def test_recorded_outputs_through_emulated_c(
    toolchain: Toolchain, record_property: Callable[[str, object], None]
) -> None:
    cases = list(_recorded())
    assert _differing(cases, _emitted(cases, toolchain)) == []
    record_property(f"shared: recorded cases through emitted C in {toolchain.runner[0]}", len(cases))


def _on_board(cases: list[Recorded], board: str) -> list[list[np.ndarray]]:
    needs_program("qemu-arm" if board in ("raspberry-pi-zero", "raspberry-pi-2") else "qemu-aarch64")
    results = []
    with connect(board) as device:
        for case in cases:
            device.load(case.model)
            results.append(device.run(case.inputs))
    return results


def _sampled() -> list[Recorded]:
    """Take SAMPLE cases of each operator, spread evenly."""
    by_op: dict[str, list[Recorded]] = {}
    for case in _recorded():
        by_op.setdefault(case.op, []).append(case)
    return [cases[i * len(cases) // SAMPLE] for cases in by_op.values() for i in range(SAMPLE)]


boards = pytest.mark.parametrize("board", ["raspberry-pi-4", "raspberry-pi-zero"])


@boards
def test_a_sample_of_recorded_outputs_on_emulated_boards(
    board: str, record_property: Callable[[str, object], None]
) -> None:
    cases = _sampled()
    assert len(cases) == SAMPLE * len({case.op for case in cases})
    assert _differing(cases, _on_board(cases, board)) == []
    record_property(f"shared: recorded cases through eqrun on {board} (emulated)", len(cases))


@pytest.mark.slow
@boards
def test_all_recorded_outputs_on_emulated_boards(board: str, record_property: Callable[[str, object], None]) -> None:
    cases = list(_recorded())
    assert _differing(cases, _on_board(cases, board)) == []
    record_property(f"shared: recorded cases through eqrun on {board} (emulated)", len(cases))

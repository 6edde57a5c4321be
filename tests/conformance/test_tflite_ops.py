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
from isas import Cpu, each_emulated_isa, host_isas, opened, run_emulated
from shared_files import shared

from edgeq.api import Model
from edgeq.format.write import write_model
from edgeq.frontends.tflite import read
from edgeq.pipeline import convert_graph
from edgeq.quantize.recipe import Recipe
from edgeq.rewrite.boundary import strip_boundary

CASES = 1056
SAMPLE = 2  # cases an operator where only a sample runs
SHARE = 4  # of that sample, one in so many runs where the kernels are the portable ones


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


def test_recorded_outputs_through_the_twin(record_property: Callable[[str, object], None]) -> None:
    cases = list(_recorded())
    assert len(cases) == CASES
    assert _differing(cases, [case.model.run(case.inputs, engine="reference") for case in cases]) == []
    record_property("shared: recorded cases through the twin", len(cases))


def test_recorded_outputs_with_every_isa(record_property: Callable[[str, object], None]) -> None:
    cases = list(_recorded())
    assert len(cases) == CASES
    for isa in host_isas():
        assert _differing(cases, [opened(case.model, isa).run(case.inputs) for case in cases]) == [], isa
        record_property(f"shared: recorded cases with {isa}", len(cases))


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


def _on_board(cases: list[Recorded], cpu: Cpu, isa: str) -> list[list[np.ndarray]]:
    found = run_emulated(cpu, isa, [(case.model, [case.model.encode(case.inputs)]) for case in cases])
    return [case.model.decode(result.outputs) for case, (result,) in zip(cases, found, strict=True)]


def _sampled(count: int) -> list[Recorded]:
    """Take so many cases of each operator, spread evenly."""
    by_op: dict[str, list[Recorded]] = {}
    for case in _recorded():
        by_op.setdefault(case.op, []).append(case)
    return [cases[i * len(cases) // count] for cases in by_op.values() for i in range(count)]


@each_emulated_isa
def test_a_sample_of_recorded_outputs_on_emulated_cpus(
    cpu: Cpu, isa: str, record_property: Callable[[str, object], None]
) -> None:
    cases = _sampled(SAMPLE)
    if isa == "scalar":
        cases = cases[::SHARE]
    assert _differing(cases, _on_board(cases, cpu, isa)) == []
    record_property(f"shared: recorded cases through eqrun on {cpu.cpu} (emulated) with {isa}", len(cases))


@pytest.mark.slow
@each_emulated_isa
def test_all_recorded_outputs_on_emulated_cpus(
    cpu: Cpu, isa: str, record_property: Callable[[str, object], None]
) -> None:
    cases = list(_recorded())
    assert _differing(cases, _on_board(cases, cpu, isa)) == []
    record_property(f"shared: recorded cases through eqrun on {cpu.cpu} (emulated) with {isa}", len(cases))

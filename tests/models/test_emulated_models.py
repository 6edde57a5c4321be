# SPDX-License-Identifier: Apache-2.0
"""Real int8 models on emulated boards: every output and every step equals this machine's, which equals LiteRT's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from isas import Cpu, assert_same, each_emulated_isa, run_emulated
from needs import needs_program
from samples import INT8_MODELS, random_inputs, sample_inputs
from shared_files import shared

from edgeq.api import Model, convert
from edgeq.board import load_board
from edgeq.device.device import connect
from edgeq.ir.result import RunResult
from edgeq.paths import demo_dir

QUICK_MODELS = ("kws_ref_int8", "vww_96_int8", "resnet8_int8", "ad01_int8", "str_ww_int8", "person_detect_int8")


def _compare(model: Model, inputs: Sequence[np.ndarray], board: str) -> int:
    """Run all inputs on a board; return the number of step results that were compared."""
    needs_program(load_board(board).emulator)
    with connect(load_board(board)) as device:
        device.load(model.plan, model.data)
        found = device.run_many([model.encode([x]) for x in inputs], crcs=True)
    compared = 0
    for x, result in zip(inputs, found, strict=True):
        expected = model.run_codes(model.encode([x]), crcs=True)
        assert result.step_crcs == expected.step_crcs
        for want, have in zip(expected.outputs, result.outputs, strict=True):
            np.testing.assert_array_equal(have, want)
        compared += len(result.step_crcs)
    return compared


SOME = 40  # inputs of a model
FEW = {"mobilenet_v2_1.0_224_int8": 8}  # of one that takes a hundred times as long as the others


@pytest.mark.parametrize("most", [SOME, pytest.param(None, id="all", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", INT8_MODELS)
def test_inputs_on_a_raspberry_pi_4(
    name: str, most: int | None, record_property: Callable[[str, object], None]
) -> None:
    path = shared(f"models/{name}.tflite")
    model = convert(path)
    inputs = random_inputs(model, 20) + sample_inputs(model, path.parent / "samples", name)
    inputs = inputs[: FEW.get(name, most) if most else None]
    compared = _compare(model, inputs, "raspberry-pi-4")
    compared += _compare(convert(path, keep_tensors=True), inputs, "raspberry-pi-4")
    record_property(f"shared: step results of {name} equal on raspberry-pi-4 (emulated)", compared)


@cache
def _expected(path: Path, count: int) -> tuple[Model, list[list[np.ndarray]], list[RunResult]]:
    """Return a model, its random inputs as codes, and what this machine makes of them."""
    model = convert(path)
    samples = [model.encode([x]) for x in random_inputs(model, count)]
    return model, samples, [model.run_codes(codes, crcs=True) for codes in samples]


def _check_isa(cpu: Cpu, isa: str, paths: Sequence[Path], count: int) -> int:
    """Run models with the kernels of an ISA; return the number of step results that were compared."""
    cases = [_expected(path, count) for path in paths]
    found = run_emulated(cpu, isa, [(model, samples) for model, samples, _ in cases])
    for (model, _, expected), results in zip(cases, found, strict=True):
        for result, want in zip(results, expected, strict=True):
            assert_same(result, want, f"{model.name} on {cpu.cpu} with {isa}")
    return sum(count * len(model.plan.steps) for model, _, _ in cases)


@each_emulated_isa
def test_the_demo_model_with_each_isa(cpu: Cpu, isa: str) -> None:
    assert _check_isa(cpu, isa, [demo_dir() / "digits_int8.tflite"], 3) > 0


@each_emulated_isa
def test_models_with_each_isa(cpu: Cpu, isa: str, record_property: Callable[[str, object], None]) -> None:
    names = QUICK_MODELS[:1] if isa == "scalar" else QUICK_MODELS
    compared = _check_isa(cpu, isa, [shared(f"models/{name}.tflite") for name in names], 1)
    record_property(f"shared: step results of {len(names)} models equal on {cpu.cpu} (emulated) with {isa}", compared)


@pytest.mark.slow
@each_emulated_isa
def test_all_models_with_each_isa(cpu: Cpu, isa: str, record_property: Callable[[str, object], None]) -> None:
    compared = _check_isa(cpu, isa, [shared(f"models/{name}.tflite") for name in INT8_MODELS], 3)
    record_property(f"shared: step results of all models equal on {cpu.cpu} (emulated) with {isa}", compared)


@pytest.mark.parametrize("board", ["raspberry-pi-zero-2w", "raspberry-pi-5"])
def test_models_packed_for_other_boards(board: str) -> None:
    model = convert(shared("models/kws_ref_int8.tflite"), board=board)
    assert _compare(model, random_inputs(model, 5), board) == 5 * len(model.plan.steps)

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from small_models import small_graph, small_model, small_plan

from edgeq.analysis.cost import analyze, cost_of_plan, count_parameters
from edgeq.api import convert
from edgeq.board import load_board
from edgeq.errors import BadInputError, StorageError
from edgeq.paths import demo_dir

BOARD = dataclasses.replace(load_board("raspberry-pi-4"), ram_bytes=100)


def test_the_cost_of_a_convolution_is_counted_by_hand() -> None:
    cost = cost_of_plan(small_plan(), model_bytes=1000)
    stem = cost.layers[0]
    assert stem.macs == 36 * 3 * 3 * 3 * 2
    assert stem.bytes_moved == 72 + 108 + (54 + 3 * 4 + 3 * 4 + 3)  # input, output; weights, bias, multiplier, shift
    assert cost.parameters == 54 + 3
    assert cost.macs == stem.macs
    assert cost.peak_layers == (stem,)
    assert cost.fits is None


def test_the_peak_names_what_the_memory_holds() -> None:
    plan = small_plan()
    cost = cost_of_plan(plan, model_bytes=1000)
    step = plan.steps[0]
    held = {plan.values[index].name: plan.values[index].bytes for index in (*step.inputs, *step.outputs)}
    assert dict(cost.peak_tensors) == {**held, "scratch": step.scratch_bytes}
    assert [size for _, size in cost.peak_tensors] == sorted(dict(cost.peak_tensors).values(), reverse=True)


def test_parameters_are_weights_and_biases() -> None:
    assert count_parameters(small_graph()) == 54 + 3


def test_a_board_with_less_memory_than_the_arena_does_not_fit() -> None:
    cost = cost_of_plan(small_plan(), model_bytes=1000, board=BOARD)
    assert cost.arena_bytes is not None
    assert cost.fits is False
    assert cost.missing_bytes == cost.arena_bytes - 100


def test_a_host_has_room() -> None:
    cost = cost_of_plan(small_plan(), model_bytes=1000, board=load_board("host"))
    assert cost.fits is True
    assert cost.missing_bytes == 0


def test_a_model_file_is_analyzed_by_content(tmp_path: Path) -> None:
    path = tmp_path / "no_suffix"
    path.write_bytes(small_model())
    cost = analyze(path)
    assert cost.model_bytes == path.stat().st_size
    assert cost.exact_model_bytes


def test_a_float_model_needs_no_data() -> None:
    cost = analyze(demo_dir() / "digits_float.tflite", board=load_board("raspberry-pi-4"))
    assert cost.parameters == 6122
    assert cost.fits is True
    assert not cost.exact_model_bytes
    assert cost.arena_bytes is not None
    assert cost.lower_bound_bytes is not None
    assert cost.arena_bytes >= cost.lower_bound_bytes > 0


@pytest.mark.parametrize("board", [None, "host", "raspberry-pi-4"])
def test_memory_and_file_are_those_of_a_conversion_for_the_board(board: str | None) -> None:
    path = demo_dir() / "digits_int8.tflite"
    cost = analyze(path, board=None if board is None else load_board(board))
    model = convert(path, board=board)
    assert (cost.arena_bytes, cost.lower_bound_bytes) == (model.plan.arena_bytes, model.plan.lower_bound_bytes)
    assert cost.model_bytes == len(model.data)


def test_a_source_model_that_is_too_large_for_the_board_is_still_analyzed() -> None:
    cost = analyze(demo_dir() / "digits_int8.tflite", board=BOARD)
    assert cost.fits is False
    assert cost.missing_bytes > 0


def test_float_and_int8_files_of_one_network_need_the_same_work() -> None:
    found = [analyze(demo_dir() / name) for name in ("digits_float.tflite", "digits_int8.tflite")]
    assert found[0].macs == found[1].macs
    assert found[0].parameters == found[1].parameters


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"
    path.write_text("hello")
    with pytest.raises(BadInputError):
        analyze(path)
    with pytest.raises(StorageError):
        analyze(tmp_path / "absent.tflite")

# SPDX-License-Identifier: Apache-2.0
"""Predicted cycles: tables that say how good they are, and figures that grow with the work."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from coded_layers import coded_layer
from graphs import graph_of_case
from small_models import small_plan

from edgeq.analysis import predict as module
from edgeq.analysis.cost import analyze, cost_of_plan
from edgeq.analysis.predict import (
    FEATURES,
    FEW_CHANNELS,
    OTHER,
    SCALAR_MAC,
    UNIT,
    CostTable,
    cost_table,
    features,
    kind_of,
    predict,
    step_cycles,
)
from edgeq.board import board_names, load_board
from edgeq.compile.planner import make_plan
from edgeq.device.cycle_model import CORES
from edgeq.ops.base import Rounding
from edgeq.ops.dynamic_linear import DynamicLinear
from edgeq.paths import demo_dir

PLAN = small_plan()
TABLE = CostTable(
    source="made up",
    low=0.5,
    high=2.0,
    kinds={"conv2d/few_channels": {"call": 100, "mac": 0.5, "patch": 1}, OTHER: {"output": 3}},
    models={},
)


@pytest.mark.parametrize("cpu", CORES)
def test_every_core_that_is_modelled_has_a_table(cpu: str) -> None:
    table = cost_table(cpu)
    assert table is not None
    assert 0 < table.low <= 1 <= table.high < 2
    assert table.low - 5e-4 <= min(table.models.values()) <= max(table.models.values()) <= table.high + 5e-4
    assert OTHER in table.kinds
    for kind, costs in table.kinds.items():
        assert set(costs) <= set(FEATURES), kind
        assert costs, kind
        assert min(costs.values()) > 0, kind


def test_a_step_costs_the_sum_of_its_features() -> None:
    stem, gate = PLAN.steps
    assert kind_of(stem) == "conv2d/few_channels"
    found = features(PLAN, stem)
    assert found["mac"] == 36 * 3 * 3 * 3 * 2
    assert found["output"] == 36 * 3
    assert found["patch"] == 36 * 3 * 3 * 2
    assert features(PLAN, gate)["edge"] == 0
    assert found["row"] == 6
    assert found["edge"] == (36 - 16) * 3  # of 6 x 6 windows of 3 x 3, 4 x 4 lie in the image
    assert step_cycles(PLAN, stem, TABLE) == 100 + 0.5 * found["mac"] + found["patch"]
    assert step_cycles(PLAN, gate, TABLE) == 3 * 36 * 3  # a kind that the table does not know


def test_a_prediction_has_the_range_of_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cost_table", lambda cpu: TABLE)
    found = predict(PLAN, load_board("raspberry-pi-4"))
    assert found is not None
    assert found.median == sum(found.steps) > 0
    assert (found.low, found.high) == (0.5 * found.median, 2 * found.median)
    assert found.unit == UNIT


@pytest.mark.parametrize("name", [name for name in board_names() if load_board(name).cpu in CORES])
def test_more_products_never_cost_less(name: str) -> None:
    board = load_board(name)
    predictions = [predict(small_plan(channels=channels), board) for channels in (1, 2, 3, 8, 9, 32, 64)]
    cycles = [found.median for found in predictions if found is not None]
    assert len(cycles) == len(predictions)
    assert cycles == sorted(cycles)
    assert cycles[0] < cycles[-1]


def test_kinds_of_convolutions_are_told_apart() -> None:
    digits = analyze(demo_dir() / "digits_int8.tflite").plan
    assert digits is not None
    kinds = {planned.name: kind_of(planned) for planned in digits.steps if planned.step.name == "conv2d"}
    assert {kind.removeprefix("conv2d/") for kind in kinds.values()} == {"dense", "few_channels", "pointwise"}
    wide = dataclasses.replace(PLAN.steps[0].step, input=(1, 6, 6, FEW_CHANNELS + 1))
    assert kind_of(dataclasses.replace(PLAN.steps[0], step=wide)) == "conv2d/window"


def test_a_cost_holds_the_prediction_of_a_board_and_of_each_layer() -> None:
    cost = cost_of_plan(PLAN, model_bytes=1, board=load_board("raspberry-pi-4"))
    assert cost.time is not None
    assert cost.time.low < cost.time.median < cost.time.high
    assert [layer.cycles for layer in cost.layers] == list(cost.time.steps)


@pytest.mark.parametrize("name", ["host", "raspberry-pi-zero"])
def test_a_board_without_a_table_has_no_prediction(name: str) -> None:
    cost = cost_of_plan(PLAN, model_bytes=1, board=load_board(name))
    assert cost.time is None
    assert [layer.cycles for layer in cost.layers] == [None, None]


def test_each_step_is_predicted_with_the_table_of_the_core() -> None:
    table = cost_table("cortex-a72")
    assert table is not None
    found = predict(PLAN, load_board("raspberry-pi-4"))
    assert found is not None
    assert found.steps == tuple(step_cycles(PLAN, planned, table) for planned in PLAN.steps)


@pytest.mark.parametrize(("name", "cycles"), [("int4", 2.0), ("ternary", 2.0), ("log4", 8.0), ("fp8", 8.0)])
def test_layers_with_low_bits_cost_what_their_scalar_kernel_does(name: str, cycles: float) -> None:
    case = coded_layer(name, np.random.default_rng(0))
    plan = make_plan(graph_of_case(case), rounding=Rounding.NATIVE)
    (planned,) = plan.steps
    outputs = 3 * 5 * 5 * 6  # OTHER's cost in TABLE
    assert step_cycles(plan, planned, TABLE) == outputs + cycles * planned.step.macs()
    cost = cost_of_plan(plan, model_bytes=0, board=load_board("raspberry-pi-4"))
    assert (cost.parameters, cost.macs) == (6 * 3 * 3 * 8 + 6, 25 * 6 * 72)
    assert cost.time is not None


def test_products_with_run_time_scales_cost_what_the_scalar_kernel_does() -> None:
    case = DynamicLinear.sample(np.random.default_rng(1))
    (planned,) = (plan := make_plan(graph_of_case(case), rounding=Rounding.NATIVE)).steps
    others = 3 * sum(tensor.elements for tensor in case.outputs)  # OTHER's cost in TABLE
    assert planned.step.macs() > 0
    assert step_cycles(plan, planned, TABLE) == others + SCALAR_MAC * planned.step.macs()

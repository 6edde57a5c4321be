# SPDX-License-Identifier: Apache-2.0
"""Predict the cycles of a plan on a core from a small table of costs per kind of step.

The table of a core, ``costs/<cpu>.toml``, is fitted by tools/fit_costs.py to cycles that were counted and modelled for
whole models: a step costs the sum of its features, each times a coefficient that is never negative.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from edgeq.board import Board
from edgeq.compile.plan import Plan, PlannedStep
from edgeq.compile.traffic import bytes_moved
from edgeq.ir.coding import CodeKind
from edgeq.ops.coded_conv2d import CodedConv2dStep
from edgeq.ops.conv2d import Conv2dStep
from edgeq.ops.depthwise_conv2d import DepthwiseConv2dStep

UNIT = "cycles:modelled"
FEATURES = ("call", "row", "output", "byte", "mac", "patch", "edge")
OTHER = "other"  # what a kind of step costs that no measured model has
FEW_CHANNELS = 4  # input channels up to which a convolution is a first layer
# Cycles of a product in steps that no measured model has, with low-bit weights, int16 or run-time scales: rounded from
# the scalar kernels, which are the only ones, on a desktop core. The table's range does not cover them.
CODED_MAC = {CodeKind.SHIFTS: 8.0, CodeKind.MINIFLOAT: 8.0}
SCALAR_MAC = 2.0
COSTS = Path(__file__).with_name("costs")


@dataclass(frozen=True)
class CostTable:
    """Coefficients by kind of step and feature; measured cycles were ``low`` to ``high`` times the predicted ones.

    ``models`` holds measured over predicted for each model, predicted with a table fitted to the other models.
    """

    source: str
    low: float
    high: float
    kinds: Mapping[str, Mapping[str, float]]
    models: Mapping[str, float]


@dataclass(frozen=True)
class Prediction:
    """Cycles of an inference, with the range that the table's error allows, and of each step."""

    median: float
    low: float
    high: float
    steps: tuple[float, ...]
    unit: str = UNIT


def predict(plan: Plan, board: Board) -> Prediction | None:
    """Predict one inference of a plan on one core of a board; None for a core without a table."""
    table = cost_table(board.cpu)
    if table is None:
        return None
    steps = tuple(step_cycles(plan, planned, table) for planned in plan.steps)
    total = sum(steps)
    return Prediction(total, table.low * total, table.high * total, steps)


@cache
def cost_table(cpu: str) -> CostTable | None:
    """Read the table of a core, None when there is none."""
    path = COSTS / f"{cpu}.toml"
    return CostTable(**tomllib.loads(path.read_text())) if path.is_file() else None


def step_cycles(plan: Plan, planned: PlannedStep, table: CostTable) -> float:
    """Return the predicted cycles of one step."""
    costs = table.kinds.get(kind_of(planned), table.kinds[OTHER])
    found = features(plan, planned)
    total = sum(cost * found[name] for name, cost in costs.items())
    if isinstance(planned.step, CodedConv2dStep):
        return total + CODED_MAC.get(CodeKind(planned.step.kind), SCALAR_MAC) * planned.step.macs()
    return total if kind_of(planned) in table.kinds else total + SCALAR_MAC * planned.step.macs()


def kind_of(planned: PlannedStep) -> str:
    """Return the row of the table: the kind of step, convolutions apart by what their inner loops do."""
    step = planned.step
    if not isinstance(step, Conv2dStep):
        return step.name
    if step.output[1] == step.output[2] == 1 and step.input[1:3] == step.kernel:
        return "conv2d/dense"  # one output pixel that sees the whole input
    if step.input[3] // step.groups <= FEW_CHANNELS:
        return "conv2d/few_channels"
    return "conv2d/pointwise" if step.kernel == (1, 1) else "conv2d/window"


def features(plan: Plan, planned: PlannedStep) -> dict[str, float]:
    """Return what the costs of a step scale with, by FEATURES.

    "row" counts output rows, "patch" the bytes of all windows of a convolution, each as often as it is in a window,
    and "edge" the output elements whose windows reach over the image's border.
    """
    step = planned.step
    shapes = [plan.values[value].shape for value in planned.outputs]
    outputs = sum(int(np.prod(shape, dtype=np.int64)) for shape in shapes)
    rows = sum(int(np.prod(shape[:-2] if len(shape) == 4 else shape[:-1], dtype=np.int64)) for shape in shapes)
    patch = edge = 0
    if isinstance(step, Conv2dStep) and step.kernel != (1, 1):
        patch = step.macs() // step.output[3] * step.groups
    if isinstance(step, (Conv2dStep, DepthwiseConv2dStep)):
        inside = _inside(step, 0) * _inside(step, 1)
        edge = outputs - step.output[0] * inside * step.output[3]
    values = (1, rows, outputs, bytes_moved(plan, planned), step.macs(), patch, edge)
    return {name: float(value) for name, value in zip(FEATURES, values, strict=True)}


def _inside(step: Conv2dStep | DepthwiseConv2dStep, axis: int) -> int:
    """Return how many windows along an axis lie wholly in the image."""
    size, stride, before = step.input[axis + 1], step.stride[axis], step.padding[axis]
    first = -(-before // stride)
    last = (size + before - (step.kernel[axis] - 1) * step.dilation[axis] - 1) // stride
    return max(0, min(last, step.output[axis + 1] - 1) - first + 1)

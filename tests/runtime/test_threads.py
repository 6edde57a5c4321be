# SPDX-License-Identifier: Apache-2.0
"""Threads: the same integers for any number of them, here and in eqrun."""

from __future__ import annotations

import numpy as np
import pytest
from graphbuilder import Builder, conv, normal
from needs import needs_program

from edgeq.api import Model, connect
from edgeq.board import load_board
from edgeq.compile.planner import make_plan
from edgeq.errors import UsageError
from edgeq.format.write import write_model
from edgeq.ops.add import Add
from edgeq.ops.base import MAX_PARTS, Rounding
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.logistic import Logistic
from edgeq.ops.reshape import Reshape
from edgeq.quantize.static import quantize_for_shape

OPERATORS = ("conv2d", "logistic", "add", "depthwise_conv2d", "fully_connected")


def _model(board: str) -> Model:
    """Windows, pixels, look-ups, sums, depthwise lines and channels of one pixel, each large enough to be divided."""
    build = Builder()
    x = conv(build, build.input(1, 40, 40, 8), 40)
    x = build.node(Conv2d(), x, build.constant(normal(48, 1, 1, 40)))
    x = build.node(Add(), x, build.node(Logistic(), x))
    x = build.node(DepthwiseConv2d(padding="same"), x, build.constant(normal(1, 5, 5, 48)))
    x = build.node(Conv2d(stride=(10, 10)), x, build.constant(normal(104, 3, 3, 48)))
    x = build.node(Reshape((1, 16 * 104)), x)
    x = build.node(FullyConnected(), x, build.constant(normal(1003, 16 * 104)))
    plan = make_plan(quantize_for_shape(build.graph(x)), rounding=Rounding.NATIVE, board=load_board(board))
    return Model(plan, write_model(plan))


def _codes(model: Model) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.integers(-128, 128, port.shape).astype(np.int8) for port in model.inputs]


def test_large_steps_are_divided_where_a_board_has_several_cores() -> None:
    divided = {step.op for step in _model("raspberry-pi-4").plan.steps if step.parts == MAX_PARTS}
    assert divided == set(OPERATORS)
    assert all(step.parts == 1 for step in _model("raspberry-pi-zero").plan.steps)


@pytest.mark.parametrize("threads", range(1, MAX_PARTS + 1))
def test_any_number_of_threads_computes_the_same(threads: int) -> None:
    model = _model("host")
    codes = _codes(model)
    expected = model.run_codes(codes, engine="reference", crcs=True)
    model.threads = threads
    for _ in range(20):
        assert model.run_codes(codes, crcs=True).step_crcs == expected.step_crcs


def test_another_number_of_threads_is_refused() -> None:
    model = _model("host")
    for threads in (0, MAX_PARTS + 1):
        with pytest.raises(UsageError, match="from 1 to 4"):
            model.threads = threads


def test_eqrun_computes_the_same_with_threads() -> None:
    needs_program("qemu-aarch64")
    model = _model("raspberry-pi-4")
    codes = _codes(model)
    expected = model.run_codes(codes, engine="reference", crcs=True)
    with connect("raspberry-pi-4", threads=3) as session:
        session.load(model)
        assert session.run_codes(codes, crcs=True).step_crcs == expected.step_crcs

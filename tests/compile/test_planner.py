# SPDX-License-Identifier: Apache-2.0
"""What the planner decides: which buffers share memory, which keep theirs."""

from __future__ import annotations

import numpy as np
import pytest

from edgeq.board import Board
from edgeq.compile.plan import Plan
from edgeq.compile.planner import make_plan
from edgeq.errors import DoesNotFitError, UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Graph, Node, Port, Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Rounding
from edgeq.ops.logistic import Logistic
from edgeq.ops.reshape import Reshape
from edgeq.ops.transpose import Transpose

QUANT = QuantParams.of(1 / 256, -128)


def _chain(*, extra_output: bool = False, dtype: DType = DType.S8) -> Graph:
    """x -> logistic a -> reshape b -> logistic c -> transpose d; with extra_output, a leaves the model too."""
    shapes = {"x": (2, 32), "a": (2, 32), "b": (8, 8), "c": (8, 8), "d": (8, 8)}
    tensors = tuple(Tensor(name, shape, dtype, QUANT) for name, shape in shapes.items())
    nodes = (
        Node("first", Logistic(), (0,), (1,)),
        Node("view", Reshape((8, 8)), (1,), (2,)),
        Node("second", Logistic(), (2,), (3,)),
        Node("turn", Transpose((1, 0)), (3,), (4,)),
    )
    outputs = [Port("d", 4, dtype)] + ([Port("a", 1, dtype)] if extra_output else [])
    return Graph("chain", tensors, nodes, (Port("x", 0, dtype),), tuple(outputs))


def _offsets(plan: Plan) -> dict[str, int]:
    return {tensor.name: plan.values[tensor.value].offset for tensor in plan.tensors}


def test_elementwise_steps_run_in_place_and_reshape_costs_nothing() -> None:
    plan = make_plan(_chain(), rounding=Rounding.NATIVE)
    offsets = _offsets(plan)
    assert [planned.op for planned in plan.steps] == ["logistic", "logistic", "transpose"]
    assert offsets["x"] == offsets["a"] == offsets["b"] == offsets["c"] != offsets["d"]
    assert plan.arena_bytes == plan.lower_bound_bytes == 128


def test_a_model_output_is_not_overwritten() -> None:
    offsets = _offsets(make_plan(_chain(extra_output=True), rounding=Rounding.NATIVE))
    assert offsets["a"] not in (offsets["c"], offsets["d"])


def test_keeping_tensors_gives_each_its_own_memory() -> None:
    plan = make_plan(_chain(), rounding=Rounding.NATIVE, keep_tensors=True)
    offsets = _offsets(plan)
    assert len({offsets[name] for name in "xacd"}) == 4
    assert offsets["a"] == offsets["b"]


def test_an_arena_larger_than_the_board_is_refused_with_both_figures() -> None:
    board = Board(name="toy", title="Toy", kind="linux", cpu="core", isa="armv6", source="none", ram_bytes=100)
    with pytest.raises(DoesNotFitError, match=r"128 bytes.*toy has 100"):
        make_plan(_chain(), rounding=Rounding.NATIVE, board=board)


def test_every_node_without_integer_form_is_named() -> None:
    with pytest.raises(UnsupportedError) as caught:
        make_plan(_chain(dtype=DType.F32), rounding=Rounding.NATIVE)
    assert [name for name, *_ in caught.value.reasons] == ["first", "second", "turn"]


def test_live_bytes_peak_at_the_lower_bound() -> None:
    plan = make_plan(_chain(), rounding=Rounding.NATIVE)
    assert max(plan.live_bytes()) == plan.lower_bound_bytes
    assert np.argmax(plan.live_bytes()) == 2

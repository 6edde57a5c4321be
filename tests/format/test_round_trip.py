# SPDX-License-Identifier: Apache-2.0
"""Plan to bytes to Plan to bytes: nothing is lost, whatever the operator."""

from __future__ import annotations

import dataclasses

import numpy as np
from graphbuilder import Builder
from graphs import graph_of_case, rounding_for
from hypothesis import given, settings
from hypothesis import strategies as st
from loader import open_status

from edgeq.compile.planner import make_plan
from edgeq.format import layout
from edgeq.format.params import params_bytes
from edgeq.format.read import read_model
from edgeq.format.write import write_model
from edgeq.ops import all_ops
from edgeq.ops.base import Op, Rounding
from edgeq.ops.logistic import Logistic
from edgeq.ops.lut import LutStep
from edgeq.quantize.static import quantize_for_shape

OPS = [op for op in all_ops() if op.name != "dequantize"]  # the float boundary has no integer form


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(OPS),
    st.integers(0, (1 << 32) - 1),
    st.sampled_from(list(Rounding)),
    st.booleans(),
    st.integers(0, (1 << 32) - 1),
    st.text(max_size=40),
)
def test_a_written_model_reads_back_whole(
    op: type[Op], seed: int, rounding: Rounding, keep_tensors: bool, version: int, name: str
) -> None:
    case = op.sample(np.random.default_rng(seed))
    graph, rounding = graph_of_case(case), rounding_for(case, rounding)
    tensors = [dataclasses.replace(tensor, name=f"{name}{i}") for i, tensor in enumerate(graph.tensors)]
    plan = make_plan(graph.replace(tensors=tensors), rounding=rounding, keep_tensors=keep_tensors)
    data = write_model(plan, model_version=version)
    assert open_status(data) == "EQ_OK"
    loaded = read_model(data)
    assert write_model(loaded, model_version=version) == data
    assert (loaded.arena_bytes, loaded.keeps_tensors, loaded.rounding) == (
        plan.arena_bytes,
        keep_tensors,
        rounding.value,
    )
    assert [planned.name for planned in loaded.steps] == [planned.name for planned in plan.steps]


def test_steps_with_equal_parameters_share_them() -> None:
    b = Builder()
    x = b.input(1, 8)
    graph = quantize_for_shape(b.graph(*[b.node(Logistic(), x) for _ in range(3)]))
    data = write_model(make_plan(graph, rounding=Rounding.NATIVE))
    header = layout.HEADER.unpack(data, 0)
    assert (header["step_count"], header["params_size"]) == (3, params_bytes(LutStep))
    assert open_status(data) == "EQ_OK"
    assert len({planned.step.table.tobytes() for planned in read_model(data).steps}) == 1

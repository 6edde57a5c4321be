# SPDX-License-Identifier: Apache-2.0
"""Programs in the smallest arena that placement, order, copies and bands find: the same integers in less memory."""

from __future__ import annotations

import dataclasses
from itertools import permutations

import numpy as np
import pytest
from coded_layers import coded_layer
from graphbuilder import Builder
from networks import assert_runs_like_the_twin, chain, network

from edgeq.board import load_board
from edgeq.compile.bands import candidates, find_chain, in_bands
from edgeq.compile.lower import MOVE, lower
from edgeq.compile.memory import THREADED_MACS, place_program
from edgeq.compile.planner import make_plan
from edgeq.compile.schedule import _Search, reordered
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Graph, Node, Port
from edgeq.ops.add import Add
from edgeq.ops.base import Rounding
from edgeq.ops.concatenation import Concatenation
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.logistic import Logistic
from edgeq.ops.mean import Mean
from edgeq.ops.slice import Slice
from edgeq.ops.split import Split
from edgeq.quantize.static import quantize_for_shape
from edgeq.runtime.reference import run_reference


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_run_like_the_twin(seed: int) -> None:
    rng = np.random.default_rng([seed, 11])
    graph = network(rng)
    plan = make_plan(graph, rounding=Rounding.NATIVE)
    assert plan.lower_bound_bytes <= plan.arena_bytes
    assert plan.arena_bytes <= place_program(lower(graph, rounding=Rounding.NATIVE), threads=False).arena_bytes
    assert_runs_like_the_twin(plan, rng)


@pytest.mark.parametrize("seed", range(15))
def test_random_chains_fit_in_less_and_give_the_same(seed: int) -> None:
    rng = np.random.default_rng([seed, 12])
    graph = chain(rng)
    plain = make_plan(graph, rounding=Rounding.NATIVE)
    small = make_plan(graph, rounding=Rounding.NATIVE, fit=True)
    assert small.arena_bytes <= plain.arena_bytes
    assert small.macs == plain.macs + small.recomputed_macs
    assert_runs_like_the_twin(small, rng)
    codes = [rng.integers(-128, 128, plain.inputs[0].shape).astype(np.int8)]
    np.testing.assert_array_equal(run_reference(small, codes).outputs[0], run_reference(plain, codes).outputs[0])


def test_every_way_to_divide_a_chain_gives_the_same_integers() -> None:
    divided = 0
    for seed in range(4):
        rng = np.random.default_rng([seed, 13])
        graph = chain(rng)
        found = find_chain(graph)
        assert found is not None
        codes = [rng.integers(-128, 128, graph.tensors[0].shape).astype(np.int8)]
        expected = run_reference(make_plan(graph, rounding=Rounding.NATIVE), codes).outputs[0]
        for bands in list(candidates(graph, found))[::3][:3]:
            plan = make_plan(in_bands(graph, found, bands), rounding=Rounding.NATIVE, keep_tensors=True)
            np.testing.assert_array_equal(run_reference(plan, codes).outputs[0], expected, err_msg=str(bands))
            divided += 1
    assert divided > 5


@pytest.mark.parametrize("name", ["nf4_groups", "log4"])
def test_bands_of_layers_with_low_bits_give_the_same_integers(name: str) -> None:
    rng = np.random.default_rng(2)
    cases = [coded_layer(name, rng, x=(1, 12, 6, 8), w=(8, 3, 3, 8)) for _ in range(2)]
    (source, *first), (_, *second) = (case.inputs for case in cases)
    middle, target = (case.outputs[0] for case in cases)
    tensors = tuple(t for t in (source, *first, middle, *second, target) if t is not None)
    nodes = (Node("a", cases[0].op, (0, 1, 2), (3,)), Node("b", cases[1].op, (3, 4, 5), (6,)))
    graph = Graph("coded", tensors, nodes, (Port("x", 0, DType.S8),), (Port("y", 6, DType.S8),))
    codes = [rng.integers(-128, 128, (1, 12, 6, 8)).astype(np.int8)]
    expected = run_reference(make_plan(graph, rounding=Rounding.NATIVE), codes).outputs[0]
    found = find_chain(graph)
    assert found is not None
    divided = list(candidates(graph, found))
    assert divided
    for bands in divided[:3]:
        plan = make_plan(in_bands(graph, found, bands), rounding=Rounding.NATIVE)
        np.testing.assert_array_equal(run_reference(plan, codes).outputs[0], expected, err_msg=str(bands))
        assert_runs_like_the_twin(plan, rng)


def test_bands_of_a_large_first_layer_need_less_memory() -> None:
    rng = np.random.default_rng(1)
    b = Builder()
    x = b.input(1, 32, 32, 3)
    for count in (16, 32):
        shape = b.tensors[x].shape
        x = b.node(Conv2d((2, 2), "same"), x, b.constant(rng.standard_normal((count, 3, 3, shape[3]))))
    graph = quantize_for_shape(b.graph(b.node(Mean((1, 2)), x)))
    plain = make_plan(graph, rounding=Rounding.NATIVE)
    small = make_plan(graph, rounding=Rounding.NATIVE, fit=True)
    assert small.recomputed_macs > 0
    assert small.arena_bytes < 0.9 * plain.arena_bytes
    assert_runs_like_the_twin(small, rng)


def test_a_chain_of_equal_layers_stays_in_little_more_than_one_of_them() -> None:
    """Each output lies a little below its input; copies bring it back up."""
    rng = np.random.default_rng(2)
    b = Builder()
    x = b.input(1, 25, 5, 64)
    for _ in range(4):
        x = b.node(DepthwiseConv2d((1, 1), "same"), x, b.constant(rng.standard_normal((1, 3, 3, 64))))
        x = b.node(Conv2d(), x, b.constant(rng.standard_normal((64, 1, 1, 64))))
    graph = quantize_for_shape(b.graph(x))
    plan = make_plan(graph, rounding=Rounding.NATIVE)
    copied = [plan.values[step.inputs[0]].bytes for step in plan.steps if step.op == MOVE]
    assert 0 < sum(copied) <= plan.macs / 64
    assert plan.arena_bytes < 1.25 * 8000
    for step in plan.steps:
        source, target = plan.values[step.inputs[0]], plan.values[step.outputs[0]]
        assert source.offset < target.offset + target.bytes
        assert target.offset < source.offset + source.bytes
    assert_runs_like_the_twin(plan, rng)


def test_pieces_lie_in_the_whole_without_being_moved() -> None:
    b = Builder()
    x = b.input(1, 4, 16)
    first = b.node(Split(1, (1, 3)), x)
    part = b.node(Slice((0, 0, 0), (1, 2, 16)), first + 1)
    joined = b.node(Concatenation(1), b.node(Logistic(), first), b.node(Logistic(), part))
    plan = make_plan(quantize_for_shape(b.graph(joined)), rounding=Rounding.NATIVE)
    steps = {step.op: step for step in plan.steps}
    whole = plan.values[steps["split"].inputs[0]].offset
    assert [plan.values[i].offset - whole for i in steps["split"].outputs] == [0, 16]
    assert plan.values[steps["slice"].outputs[0]].offset == whole + 16
    joins = steps["concatenation"]
    assert [plan.values[i].offset - plan.values[joins.outputs[0]].offset for i in joins.inputs] == [0, 16]
    assert plan.arena_bytes == plan.lower_bound_bytes == 64
    assert_runs_like_the_twin(plan, np.random.default_rng(3))


def test_a_piece_that_is_written_over_is_moved_away_first() -> None:
    """The logistic of a slice may not work in the memory of a tensor that is read again."""
    b = Builder()
    x = b.input(1, 4, 16)
    inside = b.node(Logistic(), b.node(Slice((0, 1, 0), (1, 2, 16)), x))
    graph = quantize_for_shape(b.graph(inside, b.node(Add(), x, x)))
    assert_runs_like_the_twin(make_plan(graph, rounding=Rounding.NATIVE), np.random.default_rng(4))


def test_large_steps_stay_apart_where_threads_divide_them() -> None:
    rng = np.random.default_rng(5)
    b = Builder()
    x = b.input(1, 32, 32, 16)
    weights = b.constant(rng.standard_normal((16, 3, 3, 16)))
    graph = quantize_for_shape(b.graph(b.node(Conv2d((1, 1), "same"), x, weights)))
    lowered = lower(graph, rounding=Rounding.NATIVE)
    assert lowered.macs > THREADED_MACS
    assert place_program(lowered, threads=True).arena_bytes >= 2 * 16384
    assert place_program(lowered, threads=False).arena_bytes < 1.2 * 16384
    board = load_board("raspberry-pi-4")
    assert make_plan(graph, rounding=Rounding.NATIVE, board=board).arena_bytes >= 2 * 16384
    assert make_plan(graph, rounding=Rounding.NATIVE, board=board, fit=True).arena_bytes < 1.2 * 16384


def _branches(heights: list[int]) -> Graph:
    """Branches that grow and shrink again, one layer of each after the other, then their sum."""
    rng = np.random.default_rng(6)
    b = Builder()
    x = b.input(1, 4, 4, 4)
    wide = [b.node(Conv2d(), x, b.constant(rng.standard_normal((count, 1, 1, 4)))) for count in heights]
    narrow = [b.node(Conv2d(), y, b.constant(rng.standard_normal((2, 1, 1, b.tensors[y].shape[3])))) for y in wide]
    total = narrow[0]
    for y in narrow[1:]:
        total = b.node(Add(), total, y)
    return quantize_for_shape(b.graph(total))


@pytest.mark.parametrize("heights", [[64, 32, 48], [8, 8], [16, 64, 16]])
def test_the_order_is_the_best_of_all(heights: list[int]) -> None:
    program = lower(_branches(heights), rounding=Rounding.NATIVE)
    search = _Search(program)
    legal = []
    for order in permutations(range(len(program.steps))):
        at = {index: position for position, index in enumerate(order)}
        needs = ((i, j) for j in range(len(order)) for i in range(len(order)) if search._needs[j] >> i & 1)
        if all(at[i] < at[j] for i, j in needs):
            legal.append(search.peak(list(order)))
    best = min(legal)
    found = reordered(program)
    given = search.peak(range(len(program.steps)))
    assert (given if found is None else _Search(found).peak(range(len(found.steps)))) <= best


def test_wide_branches_run_one_after_the_other() -> None:
    graph = _branches([64, 64, 64, 64])
    lowered = lower(graph, rounding=Rounding.NATIVE)
    plan = make_plan(graph, rounding=Rounding.NATIVE)
    assert plan.arena_bytes < 0.6 * place_program(lowered, threads=False).arena_bytes
    assert_runs_like_the_twin(plan, np.random.default_rng(7))


def test_the_greedy_order_runs_every_step_once_its_inputs_are_there() -> None:
    program = lower(_branches([64] * 6), rounding=Rounding.NATIVE)
    order = _Search(program)._greedy_order()
    assert sorted(order) == list(range(len(program.steps)))
    assert (
        place_program(
            dataclasses.replace(program, steps=tuple(program.steps[i] for i in order)), threads=False
        ).arena_bytes
        < 0.6 * place_program(program, threads=False).arena_bytes
    )

# SPDX-License-Identifier: Apache-2.0
"""The kernels that eqrun picks on each CPU, those that it is told to use, and every operator with each of them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from coded_layers import FORMATS, coded_layer
from device.plans import program
from graphs import graph_of_case, random_codes, rounding_for
from isas import Cpu, assert_same, each_emulated_cpu, each_emulated_isa, emulated_board, forced_isa, run_emulated

from edgeq.api import Model, convert
from edgeq.compile.planner import make_plan
from edgeq.device.build import build_eqrun
from edgeq.device.device import connect
from edgeq.device.machine import LocalMachine
from edgeq.errors import UsageError
from edgeq.format.write import write_model
from edgeq.ir.result import RunResult
from edgeq.ops import all_ops
from edgeq.ops.base import Rounding
from edgeq.ops.packing import layout_code
from edgeq.paths import demo_dir
from edgeq.runtime.reference import run_reference

A72 = emulated_board(Cpu("raspberry-pi-4", "cortex-a72", ("neon",)))
BOUNDARY_ONLY = {"dequantize"}
FEW, MANY = 1, 6  # cases of each operator
SHARE = 4  # of the operators, one in so many runs where the kernels are the portable ones


@each_emulated_cpu
def test_eqrun_prints_the_kernels_that_it_picked(cpu: Cpu) -> None:
    small, board = program(), emulated_board(cpu)
    machine = LocalMachine(board)
    try:
        eqrun = machine.store(build_eqrun(board).read_bytes(), executable=True)
        model = machine.store(small.model)
        with forced_isa(None):
            ended = machine.run([eqrun, model], seconds=120)
    finally:
        machine.close()
    assert ended.code == 0, ended.reason
    assert ended.stdout.splitlines()[0] == f"EQRUN ISA {cpu.isas[-1]}"


@each_emulated_isa
def test_eqrun_uses_the_kernels_asked_for(cpu: Cpu, isa: str) -> None:
    small = program()
    (found,) = run_emulated(cpu, isa, [(Model(small.plan, small.model), small.samples)])
    for sample, result in zip(small.samples, found, strict=True):
        assert_same(result, run_reference(small.plan, sample, crcs=True), f"{cpu.cpu} {isa}")


def test_kernels_that_the_cpu_lacks_are_refused_with_those_it_has() -> None:
    small = program()
    with connect(A72) as device, forced_isa("dotprod"):
        device.load(small.plan, small.model)
        message = "raspberry-pi-4 .*: there are no kernels called 'dotprod' for this CPU, it has scalar, neon$"
        with pytest.raises(UsageError, match=message):
            device.run(small.samples[0])
        assert device.isa == ""


@pytest.mark.parametrize(
    ("board", "isa", "message"),
    [
        ("raspberry-pi-5", None, "an order that this CPU's kernels do not read"),
        ("raspberry-pi-4", "scalar", "an order that the kernels called scalar do not read"),
    ],
)
def test_a_model_packed_for_other_kernels_is_refused_by_name(board: str, isa: str | None, message: str) -> None:
    model = convert(demo_dir() / "digits_int8.tflite", board=board)
    with connect(A72) as device, forced_isa(isa):
        device.load(model.plan, model.data)
        with pytest.raises(UsageError, match=f"'digits_int8' holds its weights in {message}; convert it for this"):
            device.profile(_random_inputs(model, 0))


@each_emulated_cpu
def test_a_model_packed_for_a_board_runs_with_the_kernels_that_read_it(cpu: Cpu) -> None:
    """A CPU with faster kernels than its board's must still take those of the model."""
    model = convert(demo_dir() / "digits_int8.tflite", board=cpu.board)
    samples = [_random_inputs(model, seed) for seed in range(2)]
    with connect(emulated_board(cpu)) as device, forced_isa(None):
        device.load(model.plan, model.data)
        found = device.run_many(samples, crcs=True)
        assert model.plan.layout == layout_code(emulated_board(cpu).weights)
        assert device.isa == ("dotprod" if cpu.cpu == "max" else cpu.isas[-1])
    for sample, result in zip(samples, found, strict=True):
        assert_same(result, run_reference(model.plan, sample, crcs=True), cpu.cpu)


def _random_inputs(model: Model, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    found = []
    for port in model.inputs:
        dtype = model.plan.values[port.value].dtype
        found.append(rng.integers(*dtype.limits, port.shape, endpoint=True).astype(dtype.numpy))
    return found


@cache
def _case(op: str, seed: int) -> tuple[Model, list[np.ndarray], RunResult]:
    """Return one case of an operator as a model, its inputs and what the twin makes of them."""
    kind = next(found for found in all_ops() if found.name == op)
    rng = np.random.default_rng([seed, len(op)])
    case = kind.sample(rng)
    plan = make_plan(graph_of_case(case), rounding=rounding_for(case, list(Rounding)[seed % len(Rounding)]))
    inputs = [random_codes(rng, t) for t in case.inputs if t is not None and t.data is None]
    return Model(plan, write_model(plan)), inputs, run_reference(plan, inputs, crcs=True)


def _check_operators(cpu: Cpu, isa: str, names: list[str], count: int) -> None:
    keys = [(name, seed) for name in names for seed in range(count)]
    found = run_emulated(cpu, isa, [(model, [inputs]) for model, inputs, _ in (_case(*key) for key in keys)])
    for (name, seed), (result,) in zip(keys, found, strict=True):
        assert_same(result, _case(name, seed)[2], f"{name}, seed {seed}: {cpu.cpu} {isa}")


OPERATORS = [op.name for op in all_ops() if op.name not in BOUNDARY_ONLY]


@each_emulated_isa
def test_operators_equal_the_twin(cpu: Cpu, isa: str) -> None:
    _check_operators(cpu, isa, OPERATORS[:: SHARE if isa == "scalar" else 1], FEW)


@each_emulated_cpu
def test_layers_with_low_bits_equal_the_twin(cpu: Cpu) -> None:
    """The interpreter on every CPU; tables of all ISAs have the scalar kernel."""
    rng = np.random.default_rng(6)
    cases = []
    for name in FORMATS:
        plan = make_plan(graph_of_case(coded_layer(name, rng, group=40)), rounding=Rounding.NATIVE)
        inputs = [rng.integers(-128, 128, plan.inputs[0].shape).astype(np.int8)]
        cases.append((Model(plan, write_model(plan)), inputs, run_reference(plan, inputs, crcs=True)))
    found = run_emulated(cpu, cpu.isas[-1], [(model, [inputs]) for model, inputs, _ in cases])
    for name, (_, _, expected), (result,) in zip(FORMATS, cases, found, strict=True):
        assert_same(result, expected, f"{name}: {cpu.cpu}")


@pytest.mark.slow
@each_emulated_isa
def test_many_cases_of_all_operators_equal_the_twin(cpu: Cpu, isa: str) -> None:
    _check_operators(cpu, isa, OPERATORS, MANY)

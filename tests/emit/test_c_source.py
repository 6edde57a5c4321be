# SPDX-License-Identifier: Apache-2.0
"""Emitted C: the same integers as the twin, and a folder that compiles by itself and holds no more than it needs."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import numpy as np
import pytest
from coded_layers import FORMATS, coded_layer
from emitted import AARCH64, ARM32, HOST, Toolchain, run_emitted
from graphs import graph_of_case, random_codes, rounding_for
from needs import needs_program

from edgeq.compile.plan import Plan
from edgeq.compile.planner import make_plan
from edgeq.emit.folder import emit_c, prefix_of, write_c_folder
from edgeq.emit.kernel_tables import kernel_table
from edgeq.errors import StorageError, UsageError
from edgeq.ops import all_ops
from edgeq.ops.base import Case, Op, Rounding
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.logistic import Logistic
from edgeq.ops.relu import Relu
from edgeq.runtime.reference import run_reference

BOUNDARY_ONLY = {"dequantize"}


def _case(op: type[Op], seed: int) -> tuple[Plan, list[np.ndarray]]:
    rng = np.random.default_rng([seed, len(op.name)])
    case: Case = op.sample(rng)
    plan = make_plan(graph_of_case(case), rounding=rounding_for(case, list(Rounding)[seed % 3]))
    return plan, [random_codes(rng, t) for t in case.inputs if t is not None and t.data is None]


@pytest.mark.parametrize(("toolchain", "count"), [(HOST, 3), (AARCH64, 2), (ARM32, 2)], ids=["host", "aarch64", "arm"])
def test_every_operator_equals_the_twin(toolchain: Toolchain, count: int) -> None:
    cases = [_case(op, seed) for op in all_ops() if op.name not in BOUNDARY_ONLY for seed in range(count)]
    for (plan, inputs), found in zip(cases, run_emitted(cases, toolchain), strict=True):
        for want, have in zip(run_reference(plan, inputs).outputs, found, strict=True):
            np.testing.assert_array_equal(have, want, f"{plan.name}: {plan.steps}")


@pytest.mark.parametrize("isa", ["scalar", "neon"])  # with portable and with packed weights
def test_every_operator_is_given_the_kernels_that_it_calls(isa: str) -> None:
    cases = [_case(op, seed) for op in all_ops() if op.name not in BOUNDARY_ONLY for seed in (6, 7)]
    found = run_emitted(cases, HOST if isa == "scalar" else AARCH64, kernel_table(isa))
    for (plan, inputs), outputs in zip(cases, found, strict=True):
        for want, have in zip(run_reference(plan, inputs).outputs, outputs, strict=True):
            np.testing.assert_array_equal(have, want, f"{plan.name}: {plan.steps}")


@pytest.mark.parametrize("toolchain", [HOST, AARCH64, ARM32], ids=["host", "aarch64", "arm"])
def test_layers_with_low_bits_equal_the_twin(toolchain: Toolchain) -> None:
    rng = np.random.default_rng(5)
    cases = []
    for name in FORMATS:
        for channels in (8, 136):  # for sums of 32 bits and, where integers are large, of 64
            case = coded_layer(name, rng, x=(1, 4, 3, channels), w=(5, 3, 3, channels), group=40)
            plan = make_plan(graph_of_case(case), rounding=Rounding.NATIVE)
            cases.append((plan, [rng.integers(-128, 128, (1, 4, 3, channels)).astype(np.int8)]))
    for (plan, inputs), found in zip(cases, run_emitted(cases, toolchain), strict=True):
        np.testing.assert_array_equal(found[0], run_reference(plan, inputs).outputs[0], f"{plan.steps}")


@pytest.mark.parametrize("compiler", ["gcc", "clang-19"])
@pytest.mark.parametrize("op", [Conv2d, Logistic])
def test_the_folder_compiles_alone_without_warnings(op: type[Op], compiler: str, tmp_path: Path) -> None:
    plan, inputs = _case(op, 3)
    write_c_folder(plan, tmp_path / "c", prefix="net")
    needs_program(compiler)
    sources = [tmp_path / "c" / "main.c", *(tmp_path / "c" / "src").rglob("*.c")]
    flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-I", str(tmp_path / "c" / "src")]
    program = tmp_path / "program"
    subprocess.run([compiler, *flags, *map(str, sources), "-o", str(program)], check=True)
    printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout.split()
    zeros = run_reference(plan, [np.zeros_like(codes) for codes in inputs]).outputs[0]
    assert bytes.fromhex("".join(printed)) == zeros.tobytes()


def test_the_cmake_file_builds_the_example(tmp_path: Path) -> None:
    cmake = needs_program("cmake")
    needs_program("ninja")
    write_c_folder(_case(Logistic, 0)[0], tmp_path / "c")
    subprocess.run([cmake, "-G", "Ninja", "-S", tmp_path / "c", "-B", tmp_path / "b"], check=True, capture_output=True)
    subprocess.run([cmake, "--build", tmp_path / "b"], check=True, capture_output=True)
    assert subprocess.run([tmp_path / "b" / "logistic_example"], check=True, capture_output=True).stdout


def test_only_the_operators_and_kernels_in_use_are_there() -> None:
    files = emit_c(_case(Relu, 0)[0], prefix="net")
    assert "src/ops/lut.c" in files
    assert "src/kernels/lut_u8_scalar.c" in files
    assert not [name for name in files if "conv" in name or "gemm" in name]
    assert "gemm" not in files["src/kernels/scalar/kernels.inc"]


def test_the_same_plan_gives_the_same_text() -> None:
    first, second = (emit_c(_case(Conv2d, 1)[0], prefix="net") for _ in range(2))
    assert first == second


def test_names_of_a_model_cannot_leave_their_comments(tmp_path: Path) -> None:
    plan, inputs = _case(Logistic, 1)
    bad = '*/ int x; /* "\\\n??/ \u00fc'
    steps = tuple(dataclasses.replace(planned, name=bad) for planned in plan.steps)
    ports = tuple(dataclasses.replace(port, name=bad) for port in plan.inputs)
    renamed = dataclasses.replace(plan, name=bad, steps=steps, inputs=ports)
    np.testing.assert_array_equal(run_emitted([(renamed, inputs)])[0][0], run_reference(plan, inputs).outputs[0])
    assert prefix_of(bad).isidentifier()


@pytest.mark.parametrize("prefix", ["", "1st", "a-b", "eq_model", "x" * 32, "\u00e4", "main", "stdint", "String"])
def test_a_prefix_that_is_no_c_name_is_refused(prefix: str) -> None:
    with pytest.raises(UsageError, match="prefix"):
        emit_c(_case(Logistic, 0)[0], prefix=prefix)


@pytest.mark.parametrize("name", ["main", "string", "test", "install"])
def test_a_model_may_be_called_like_a_header_or_a_target(name: str, tmp_path: Path) -> None:
    cmake = needs_program("cmake")
    needs_program("ninja")
    write_c_folder(dataclasses.replace(_case(Logistic, 0)[0], name=name), tmp_path / "c")
    subprocess.run([cmake, "-G", "Ninja", "-S", tmp_path / "c", "-B", tmp_path / "b"], check=True, capture_output=True)
    subprocess.run([cmake, "--build", tmp_path / "b"], check=True, capture_output=True)
    assert subprocess.run([tmp_path / "b" / f"{prefix_of(name)}_example"], check=True, capture_output=True).stdout


def test_a_folder_of_someone_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "thesis.txt").write_text("mine")
    with pytest.raises(StorageError, match="not written by edgeq"):
        write_c_folder(_case(Logistic, 0)[0], tmp_path / "c")
    assert [path.name for path in tmp_path.rglob("*")] == ["c", "thesis.txt"]


def test_an_older_folder_is_replaced_whole(tmp_path: Path) -> None:
    write_c_folder(_case(Conv2d, 0)[0], tmp_path / "c", prefix="first")
    write_c_folder(_case(Logistic, 0)[0], tmp_path / "c", prefix="second")
    assert not list(tmp_path.rglob("*conv2d*"))
    assert not list(tmp_path.rglob("first*"))
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_missing_parent_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="absent"):
        write_c_folder(_case(Logistic, 0)[0], tmp_path / "absent" / "c")

# SPDX-License-Identifier: Apache-2.0
"""A model whose scales are powers of two requantizes by shifts alone: seen in the program made of its emitted C."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from graphbuilder import Builder
from multiplications import compile_for
from needs import needs_program

from edgeq.compile.plan import Plan
from edgeq.compile.planner import make_plan
from edgeq.emit.folder import write_c_folder
from edgeq.ir.fixed_point import Mode
from edgeq.ops.add import Add
from edgeq.ops.base import Activation, Rounding
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.paths import native_dir
from edgeq.quantize.recipes import parse_recipe
from edgeq.quantize.static import quantize_static
from edgeq.runtime.reference import run_reference

REQUANTIZE = ("eq_requant_s8", "eq_add_s8_scalar")  # what ends linear layers, and sums
RUNNERS = {"aarch64": "qemu-aarch64", "armv6": "qemu-arm"}
OTHER_ISAS = tuple(f"_{path.parent.name}" for path in native_dir().glob("kernels/*/kernels.inc"))
MODE = "add_compile_definitions(EQ_ONLY_MODE=4)\n"


def plan_of(recipe: str) -> Plan:
    """A convolution, a depthwise one, a sum and a fully connected layer."""
    rng = np.random.default_rng(4)
    b = Builder()
    x = b.input(1, 6, 6, 3)
    x = b.node(Conv2d(activation=Activation.RELU), x, b.constant(rng.standard_normal((8, 3, 3, 3))))
    weights = b.constant(rng.standard_normal((1, 3, 3, 8)))
    x = b.node(Add(), b.node(DepthwiseConv2d(padding="same"), x, weights), x)
    y = b.node(FullyConnected(), x, b.constant(rng.standard_normal((5, 4 * 4 * 8))), b.constant(np.arange(-2, 3)))
    batches = [[rng.standard_normal((1, 6, 6, 3)).astype(np.float32)] for _ in range(4)]
    return make_plan(quantize_static(b.graph(y), batches, parse_recipe(recipe)), rounding=Rounding.NATIVE)


def test_the_folder_names_the_mode_of_all_steps(tmp_path: Path) -> None:
    plan = plan_of("int8-pot")
    assert {planned.step.name for planned in plan.steps} == {"conv2d", "depthwise_conv2d", "add"}
    assert {planned.step.mode for planned in plan.steps} == {Mode.SHIFT}  # type: ignore[attr-defined]
    write_c_folder(plan, tmp_path / "pot", prefix="net")
    assert MODE in (tmp_path / "pot/CMakeLists.txt").read_text()
    write_c_folder(plan_of("int8"), tmp_path / "int8", prefix="net")
    assert MODE not in (tmp_path / "int8/CMakeLists.txt").read_text()


@pytest.mark.parametrize("target", RUNNERS)
def test_the_program_does_not_multiply_to_requantize(target: str, tmp_path: Path) -> None:
    plan = plan_of("int8-pot")
    write_c_folder(plan, tmp_path / "c", prefix="net")
    sources = [tmp_path / "c/main.c", *(tmp_path / "c/src").rglob("*.c")]
    scalar = [path for path in sources if path.stem.endswith("_scalar") or not path.stem.endswith(OTHER_ISAS)]
    flags = ["-O2", "-ffunction-sections", "-Wl,--gc-sections", f"-I{tmp_path}/c/src", "-DEQ_ONLY_ISA=scalar"]
    found = compile_for(target, scalar, tmp_path / "program", *flags, "-DEQ_ONLY_MODE=4")
    assert {name: found[name] for name in REQUANTIZE} == {name: [] for name in REQUANTIZE}
    command = [needs_program(RUNNERS[target]), tmp_path / "program"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    zeros = run_reference(plan, [np.zeros((1, 6, 6, 3), np.int8)]).outputs[0]
    assert bytes.fromhex("".join(printed)) == zeros.tobytes()

    for path in scalar:  # where all modes are, multiplications are found
        if path.stem in {"requant", "add_s8_scalar"}:
            found = compile_for(target, [path], tmp_path / f"{path.stem}.o", *flags, "-c")
            assert any(found[name] for name in REQUANTIZE if name in found)

# SPDX-License-Identifier: Apache-2.0
"""Whole models as emitted C: the same integers as the twin, on this machine and on emulated ARM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from emitted import AARCH64, ARM32, HOST, Toolchain, run_emitted
from shared_files import shared

from edgeq.compile.plan import Plan
from edgeq.paths import demo_dir
from edgeq.pipeline import convert_graph, read_source
from edgeq.quantize.recipe import Recipe
from edgeq.runtime.reference import run_reference

MODELS = ("kws_ref_int8", "resnet8_int8", "ad01_int8", "str_ww_int8", "micro_speech_int8", "hello_world_int8")
toolchains = pytest.mark.parametrize("toolchain", [HOST, AARCH64, ARM32], ids=["host", "aarch64", "arm"])


def _case(path: Path, seed: int) -> tuple[Plan, list[np.ndarray]]:
    plan = convert_graph(read_source(path), recipe=Recipe()).plan
    rng = np.random.default_rng(seed)
    inputs = []
    for port in plan.inputs:
        dtype = plan.values[port.value].dtype
        low, high = dtype.limits
        inputs.append(rng.integers(low, high + 1, port.shape).astype(dtype.numpy))
    return plan, inputs


def _check(paths: list[Path], toolchain: Toolchain) -> None:
    cases = [_case(path, seed) for path in paths for seed in range(2)]
    for (plan, inputs), found in zip(cases, run_emitted(cases, toolchain), strict=True):
        for want, have in zip(run_reference(plan, inputs).outputs, found, strict=True):
            np.testing.assert_array_equal(have.reshape(want.shape), want, plan.name)


@toolchains
def test_the_demo_model_equals_the_twin(toolchain: Toolchain) -> None:
    _check([demo_dir() / "digits_int8.tflite"], toolchain)


@toolchains
def test_real_models_equal_the_twin(toolchain: Toolchain) -> None:
    _check([shared(f"models/{name}.tflite") for name in MODELS], toolchain)

# SPDX-License-Identifier: Apache-2.0
"""Ternary weights and weights of powers of two cost no multiplication: seen in the disassembly of their inner loops."""

from __future__ import annotations

from pathlib import Path

import pytest
from multiplications import TARGETS, compile_for

from edgeq.paths import native_dir

SOURCE = native_dir() / "kernels/scalar/coded_gemm_s8_scalar.c"
WITHOUT = ("sum_ternary", "sum_terms32", "sum_terms64")
WITH = "sum_products"  # which shows that a multiplication would be found


@pytest.mark.parametrize("level", ["-O2", "-O3"])
@pytest.mark.parametrize("target", TARGETS)
def test_sums_of_shifts_and_signs_take_no_multiplication(target: str, level: str, tmp_path: Path) -> None:
    root = native_dir()
    flags = (level, "-fno-inline", f"-I{root}/include", f"-I{root}", "-c")
    found = compile_for(target, [SOURCE], tmp_path / "kernel.o", *flags)
    assert found[WITH], f"no multiplication where there must be one: {sorted(found)}"
    assert {name: found[name] for name in WITHOUT} == {name: [] for name in WITHOUT}

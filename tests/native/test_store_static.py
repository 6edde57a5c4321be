# SPDX-License-Identifier: Apache-2.0
"""The store on every Cortex-M core, as its compiler sees it: warnings, size, stack."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from needs import needs_program

from edgeq.paths import native_dir

ROOT = native_dir()
FLAGS = ("-mthumb", "-std=c11", "-O2", "-ffreestanding", "-fstack-usage", f"-I{ROOT}/include", f"-I{ROOT}")
STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Wvla", "-Werror")
CODE_BYTES = {False: 3400, True: 5300}  # with and without signatures, Monocypher apart
FRAME_BYTES = 560  # of any function of the store


@pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])
@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55"])
def test_the_store_compiles_small_and_without_a_warning(core: str, signed: bool, tmp_path: Path) -> None:
    gcc = needs_program("arm-none-eabi-gcc")
    sources = sorted(str(path) for path in (ROOT / "store").glob("*.c"))
    macros = ["-DEQ_SIGNED"] if signed else []
    subprocess.run([gcc, f"-mcpu={core}", *FLAGS, *STRICT, *macros, "-c", *sources], check=True, cwd=tmp_path)
    objects = sorted(str(path) for path in tmp_path.glob("*.o"))
    sizes = subprocess.run(["arm-none-eabi-size", *objects], capture_output=True, text=True, check=True).stdout
    rows = [[int(number) for number in row.split()[:3]] for row in sizes.splitlines()[1:]]
    assert sum(text for text, _, _ in rows) <= CODE_BYTES[signed]
    assert [(data, bss) for _, data, bss in rows] == [(0, 0)] * len(sources)
    frames = {
        (name, int(size), kind)
        for path in tmp_path.glob("*.su")
        for name, size, kind in re.findall(r":(\w+)\t(\d+)\t(\w+)", path.read_text())
    }
    assert {kind for _, _, kind in frames} == {"static"}
    assert max(size for _, size, _ in frames) <= FRAME_BYTES

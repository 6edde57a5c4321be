# SPDX-License-Identifier: Apache-2.0
"""Compile a plan's emitted C with this machine's compiler and run it."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeq.board import load_board
from edgeq.compile.plan import Plan
from edgeq.device.toolchain import compile_sources, find_compiler, link_executable
from edgeq.emit.folder import write_c_folder
from edgeq.errors import DeviceError

_PREFIX = "program"
_TIMEOUT_S = 300


def run_emitted(plan: Plan, feeds: Sequence[Sequence[np.ndarray]]) -> list[list[np.ndarray]]:
    """Run the emitted C on each feed of input codes; return each one's outputs.

    Raises ToolchainError when there is no C compiler or it fails, DeviceError when the program does not end well or
    does not write exactly what it should.
    """
    with tempfile.TemporaryDirectory(prefix="edgeq-") as name:
        folder = Path(name) / "c"
        write_c_folder(plan, folder, prefix=_PREFIX)
        (folder / "main.c").write_text(_main(plan))
        compiler = find_compiler(load_board("host"))
        sources = [folder / "main.c", *sorted(folder.glob("src/**/*.c"))]
        objects = compile_sources(compiler, sources, includes=[folder / "src"])
        program = link_executable(compiler, objects, _PREFIX)
        given = b"".join(np.ascontiguousarray(codes).tobytes() for feed in feeds for codes in feed)
        try:
            done = subprocess.run([str(program)], input=given, capture_output=True, timeout=_TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DeviceError(f"the emitted C does not run: {error}") from None
    sizes = [plan.values[port.value].bytes for port in plan.outputs]
    if done.returncode != 0 or len(done.stdout) != sum(sizes) * len(feeds):
        raise DeviceError(
            f"the emitted C ended with code {done.returncode} after {len(done.stdout)} bytes, "
            f"{sum(sizes) * len(feeds)} expected"
        )
    return [_outputs(plan, done.stdout[start : start + sum(sizes)]) for start in range(0, len(done.stdout), sum(sizes))]


def _outputs(plan: Plan, data: bytes) -> list[np.ndarray]:
    outputs, start = [], 0
    for port in plan.outputs:
        value = plan.values[port.value]
        raw = np.frombuffer(data[start : start + value.bytes], value.dtype.numpy)
        outputs.append(raw.reshape(port.shape))
        start += value.bytes
    return outputs


def _main(plan: Plan) -> str:
    """Return a program that reads inputs from standard input and writes outputs, inference after inference."""
    upper = _PREFIX.upper()
    read = "".join(
        f"    if (fread({_PREFIX}_input_{i}(), {upper}_INPUT_{i}_BYTES, 1, stdin) != 1) return {i};\n"
        for i in range(len(plan.inputs))
    )
    write = "".join(
        f"    fwrite({_PREFIX}_output_{i}(), 1, {upper}_OUTPUT_{i}_BYTES, stdout);\n" for i in range(len(plan.outputs))
    )
    return (
        f'#include <stdio.h>\n\n#include "{_PREFIX}.h"\n\n'
        f"int main(void) {{\n  for (;;) {{\n{read}    {_PREFIX}_run();\n{write}  }}\n}}\n"
    )

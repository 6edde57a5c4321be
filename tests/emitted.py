# SPDX-License-Identifier: Apache-2.0
"""Run many plans through emitted C with few compiler calls, on this machine or in an emulator of another one."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from needs import needs_program

from edgeq.compile.plan import Plan
from edgeq.emit.c_source import model_header, model_source
from edgeq.emit.kernel_tables import KernelTable
from edgeq.paths import native_dir

BATCH = 64  # plans in one C file


@dataclass(frozen=True)
class Toolchain:
    """A compiler with its flags, and what runs its programs."""

    compiler: tuple[str, ...]
    runner: tuple[str, ...] = ()

    def check(self) -> None:
        for program in (self.compiler[0], *self.runner[:1]):
            needs_program(program)


HOST = Toolchain(("cc",))
AARCH64 = Toolchain(("aarch64-linux-gnu-gcc", "-static"), ("qemu-aarch64",))
ARM32 = Toolchain(("arm-linux-gnueabihf-gcc", "-static"), ("qemu-arm",))


def run_emitted(
    cases: Sequence[tuple[Plan, Sequence[np.ndarray]]], toolchain: Toolchain = HOST, table: KernelTable | None = None
) -> list[list[np.ndarray]]:
    """Run one inference of each plan on codes in one program; return its outputs in the shapes of the ports.

    With a table each plan gets the kernels of it that it calls, and no others.
    """
    toolchain.check()
    with tempfile.TemporaryDirectory(prefix="edgeq-emitted-") as name:
        folder = Path(name)
        batches = [range(start, min(start + BATCH, len(cases))) for start in range(0, len(cases), BATCH)]
        objects = []
        for number, batch in enumerate(batches):
            source = folder / f"batch{number}.c"
            source.write_text("".join(_case_source(cases[i][0], i, table) for i in batch))
            objects.append(_compiled(toolchain, source))
        main = folder / "main.c"
        main.write_text(_main(cases))
        program = folder / "program"
        objects.append(_compiled(toolchain, main))
        _call([*toolchain.compiler, *map(str, objects), str(_library(toolchain)), "-o", str(program)])
        given = b"".join(np.ascontiguousarray(codes).tobytes() for _, inputs in cases for codes in inputs)
        (folder / "in").write_bytes(given)
        _call([*toolchain.runner, str(program), str(folder / "in"), str(folder / "out")])
        return _outputs(cases, (folder / "out").read_bytes())


def _case_source(plan: Plan, index: int, table: KernelTable | None) -> str:
    """The header and source of one plan as one piece of a larger file."""
    prefix = f"m{index}"
    source = model_source(plan, prefix, table).replace(f'#include "{prefix}.h"\n', "")
    return model_header(plan, prefix) + source


def _main(cases: Sequence[tuple[Plan, Sequence[np.ndarray]]]) -> str:
    """A program that reads every input from one file and writes every output to another."""
    declarations, calls = [], []
    for i, (plan, _) in enumerate(cases):
        declarations.append(f"void m{i}_run(void);")
        body = []
        for kind, ports in (("input", plan.inputs), ("output", plan.outputs)):
            for j, port in enumerate(ports):
                declarations.append(f"void *m{i}_{kind}_{j}(void);")
                body.append(f"  {kind}(m{i}_{kind}_{j}(), {plan.values[port.value].bytes});")
        body.insert(len(plan.inputs), f"  m{i}_run();")
        calls.append(f"static void run_{i}(void) {{\n" + "\n".join(body) + "\n}")
    return _MAIN.format(
        declarations="\n".join(declarations),
        cases="\n".join(calls),
        calls="\n".join(f"  run_{i}();" for i in range(len(cases))),
    )


_MAIN = """\
#include <stdio.h>
#include <stdlib.h>
{declarations}
static FILE *from, *to;
static void input(void *memory, size_t bytes) {{
  if (fread(memory, 1, bytes, from) != bytes) exit(2);
}}
static void output(const void *memory, size_t bytes) {{
  if (fwrite(memory, 1, bytes, to) != bytes) exit(3);
}}
{cases}
int main(int argc, char **argv) {{
  from = argc == 3 ? fopen(argv[1], "rb") : NULL;
  to = from != NULL ? fopen(argv[2], "wb") : NULL;
  if (to == NULL) return 1;
{calls}
  return fclose(to) == 0 ? 0 : 4;
}}
"""


def _outputs(cases: Sequence[tuple[Plan, Sequence[np.ndarray]]], raw: bytes) -> list[list[np.ndarray]]:
    found, position = [], 0
    for plan, _ in cases:
        outputs = []
        for port in plan.outputs:
            value = plan.values[port.value]
            codes = np.frombuffer(raw, value.dtype.numpy, value.bytes // value.dtype.bytes, position)
            position += value.bytes
            outputs.append(codes.reshape(port.shape))
        found.append(outputs)
    assert position == len(raw), f"{len(raw)} bytes of outputs, {position} expected"
    return found


def _compiled(toolchain: Toolchain, source: Path) -> Path:
    target = source.with_suffix(".o")
    root = native_dir()
    flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror"]
    _call([*toolchain.compiler, *flags, f"-I{root}/include", f"-I{root}", "-c", str(source), "-o", str(target)])
    return target


@cache
def _library(toolchain: Toolchain) -> Path:
    """The operators and kernels of native/ as one object file, made once per content and compiler."""
    root = native_dir()
    sources = sorted([*root.glob("ops/*.c"), *root.glob("kernels/**/*.c")])
    headers = sorted([*root.glob("**/*.h"), *root.glob("**/*.inc")])
    content = b"".join(path.read_bytes() for path in [*sources, *headers]) + repr(toolchain).encode()
    target = Path(tempfile.gettempdir()) / f"edgeq-emitted-{hashlib.sha256(content).hexdigest()[:16]}.o"
    if not target.exists():
        built = target.with_suffix(f".{np.random.default_rng().integers(1 << 30)}.o")
        flags = ["-std=c11", "-O2", f"-I{root}/include", f"-I{root}", "-r", "-nostdlib"]
        compiler = [part for part in toolchain.compiler if part != "-static"]
        _call([*compiler, *flags, *map(str, sources), "-o", str(built)])
        built.rename(target)
    return target


def _call(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {done.stderr[-4000:]}"

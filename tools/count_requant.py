#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Count what each form of requantization costs per output on each core; the record of Rounding.NATIVE's mode.

The loops are in requant_forms.c: int32 sums, per-channel constants, zero point, clamp, int8 codes. QEMU executes them
one instruction at a time, each is checked against fixed_point.h, and llvm-mca models the cycles of the A53's and A72's.
Needs QEMU 7 or 8 (user and system), aarch64-linux-gnu-gcc, arm-none-eabi-gcc, gcc and llvm-mca-19.

                                       single  double up     double      exact
    A53, A72 instructions, narrow        2.06       2.06       2.31       3.00
    A53, A72 instructions, wide          2.56       2.56       3.00       3.44
    cortex-a53 cycles, narrow            4.56       4.56       4.81       5.56
    cortex-a53 cycles, wide              5.00       5.00       5.88       6.13
    cortex-a72 cycles, narrow            1.26       1.26       1.26       1.57
    cortex-a72 cycles, wide              1.57       1.57       1.86       1.89
    M4 instructions, narrow             15.00      16.00      17.00      17.00
    M4 instructions, wide               17.00      19.00      25.00      19.00
    M55 instructions, narrow             2.50       2.50       3.00       3.50
    M55 instructions, wide               3.00       3.00       3.75       4.00
    x86 AVX2 instructions, narrow        1.75       2.12       2.38       1.75
    x86 AVX2 instructions, wide          1.75       2.12       2.75       2.00
    not nearest, per million                0       3128       3196          0
    mean error, millionths                 96       3225         99         96

All figures are per output (gcc 12, QEMU 7.2, LLVM 19); narrow loops serve layers in which every shift is <= -2, wide
ones any layer. "double up" is mode double with all ties toward +infinity: SQRDMULH and SRSHL, VQRDMULH and VRSHL. Mode
single is that pair with a truncating product, SQDMULH, since the floor of a floor is the floor of the whole. So it
costs the same where a product can be rounded for nothing and less elsewhere, and it always gives the nearest integer,
while two roundings miss it now and then and, with all ties up, are biased.
"""

from __future__ import annotations

import collections
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeq.ir.fixed_point import Mode, requant, srdhm
from edgeq.paths import native_dir

SOURCE = Path(__file__).with_name("requant_forms.c")
FORMS = ("single", "double_up", "double", "exact")
OUTPUTS = 256  # of the first call of each loop; the second makes twice as many
FLAGS = ("-std=gnu11", "-O2", "-ffreestanding", "-fno-tree-loop-distribute-patterns", "-nostdlib", "-static")
BARE = ("-mthumb", "-Wl,--section-start=.vectors=0,-Ttext=0x100,--omagic", "-lgcc")
MACHINE = ("qemu-system-arm", "-nographic", "-semihosting", "-M")
MCA_TURNS = 200


@dataclass(frozen=True)
class Core:
    """A core whose instructions are counted: how to build for it and how to run it."""

    name: str
    prefix: str  # of gcc and binutils
    flags: tuple[str, ...]
    qemu: tuple[str, ...]  # the program's path follows
    models: tuple[str, ...] = ()  # cores whose cycles llvm-mca models


CORES = (
    Core("A53, A72", "aarch64-linux-gnu-", (), ("qemu-aarch64",), ("cortex-a53", "cortex-a72")),
    Core("M4", "arm-none-eabi-", ("-mcpu=cortex-m4", "-mfloat-abi=soft", *BARE), (*MACHINE, "mps2-an386", "-kernel")),
    Core("M55", "arm-none-eabi-", ("-mcpu=cortex-m55", "-mfloat-abi=hard", *BARE), (*MACHINE, "mps3-an547", "-kernel")),
    Core("x86 AVX2", "", ("-mavx2",), ("qemu-x86_64", "-cpu", "max")),
)


def output_of(command: Sequence[str | Path], *, text: str = "") -> str:
    """Run a command and return what it prints; exit with what it complains of if it fails."""
    try:
        done = subprocess.run([str(part) for part in command], input=text, capture_output=True, text=True, check=False)
    except OSError as error:
        sys.exit(f"cannot start {command[0]}: {error.strerror}")
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def executed(core: Core, program: Path, loops: dict[str, range]) -> list[int]:
    """Return the addresses of all instructions executed within the loops' functions, in order."""
    log = program.with_suffix(".log")
    span = f"0x{min(code.start for code in loops.values()):x}..0x{max(code.stop for code in loops.values()):x}"
    options = ("-singlestep", "-d", "exec,nochain", "-dfilter", span, "-D", log)
    output_of([core.qemu[0], *options, *core.qemu[1:], program])
    return [int(pc, 16) for pc in re.findall(r"^Trace \d+: \S+ \[\w+/(\w+)/", log.read_text(), re.M)]


def count(core: Core, folder: Path) -> dict[str, dict[str, float]]:
    """Return {what is counted: {loop: figure per output}} of one core."""
    program = folder / core.name.replace(" ", "")
    output_of([f"{core.prefix}gcc", *FLAGS, f"-I{native_dir() / 'include'}", SOURCE, "-o", program, *core.flags])
    symbols = re.findall(r"^(\w+) (\w+) \w (\w+)$", output_of([f"{core.prefix}nm", "-S", program]), re.M)
    names = {f"{form}_{shifts}" for form in FORMS for shifts in ("narrow", "wide")}
    loops = {name: range(int(at, 16), int(at, 16) + int(size, 16)) for at, size, name in symbols if name in names}
    trace = executed(core, program, loops)
    found: dict[str, dict[str, float]] = collections.defaultdict(dict)
    for name, code in loops.items():
        run = [pc for pc in trace if pc in code]
        second = len(run) - 1 - run[::-1].index(code.start)  # where the second of the two calls begins
        found[f"{core.name} instructions"][name] = (len(run) - 2 * second) / OUTPUTS
        times = collections.Counter(run)
        body = [pc for pc in sorted(times) if times[pc] > 2]  # 2 is once a call
        outputs = 3 * OUTPUTS / times[body[0]]
        for model in core.models:
            found[f"{model} cycles"][name] = modelled_cycles(core, program, body, model) / outputs
    return found


def modelled_cycles(core: Core, program: Path, body: Sequence[int], model: str) -> float:
    """Return llvm-mca's cycles of one turn of a loop, whose last instruction is its branch."""
    listing = output_of([f"{core.prefix}objdump", "-d", "--no-show-raw-insn", program])
    lines = {int(at, 16): text for at, text in re.findall(r"^ *(\w+):\t([^/\n]*)", listing, re.M)}
    assembly = [re.sub(r"\w+ <.*>", "turn", lines[pc]) for pc in body]
    options = ("-mtriple=aarch64", f"-mcpu={model}", f"-iterations={MCA_TURNS}")
    report = output_of(["llvm-mca-19", *options], text="\n".join(["turn:", *assembly, ""]))
    total = re.search(r"^Total Cycles: +(\d+)", report, re.M)
    assert total is not None, report
    return int(total[1]) / MCA_TURNS


def errors() -> dict[str, dict[str, float]]:
    """Return how far each form is from the real product, over random sums that give int8 codes."""
    rng = np.random.default_rng(0)
    shifts = rng.integers(-14, -4, 2_000_000)
    m = rng.integers(2**30, 2**31, shifts.size)
    x = np.round(rng.uniform(-128, 128, shifts.size) * 2.0 ** (31 - shifts) / m).astype(np.int64)
    up = (srdhm(x, m) + (1 << (-shifts - 1))) >> -shifts
    codes = {"double_up": up} | {
        mode.name.lower(): requant(x, m, shifts, mode) for mode in (Mode.SINGLE, Mode.DOUBLE, Mode.EXACT)
    }
    found: dict[str, dict[str, float]] = collections.defaultdict(dict)
    for form in FORMS:
        error = ((codes[form] << (31 - shifts)) - x * m) / 2.0 ** (31 - shifts)
        found["not nearest, per million"][form] = float(np.mean(np.abs(error) > 0.5) * 1e6)
        found["mean error, millionths"][form] = float(np.mean(error) * 1e6)
    return found


def row(label: str, figures: Sequence[float], decimals: int) -> str:
    """Format a line of the table."""
    return f"{label:30}" + "".join(f"{figure:11.{decimals}f}" for figure in figures)


def main() -> int:
    """Print the table."""
    print(" " * 30 + "".join(f"{form.replace('_', ' '):>11}" for form in FORMS))
    with tempfile.TemporaryDirectory() as folder:
        for core in CORES:
            for what, figures in count(core, Path(folder)).items():
                for shifts in ("narrow", "wide"):
                    print(row(f"{what}, {shifts}", [figures[f"{form}_{shifts}"] for form in FORMS], 2))
    for what, figures in errors().items():
        print(row(what, [figures[form] for form in FORMS], 0))
    return 0


if __name__ == "__main__":
    sys.exit(main())

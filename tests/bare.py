# SPDX-License-Identifier: Apache-2.0
"""Cortex-M cores in emulation, as the kernel harness sees them: newlib, semihosting, no operating system."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from needs import needs_program

from edgeq.device.machine import Ended
from edgeq.device.toolchain import Compiler, build_plugin, compile_sources, native_includes
from edgeq.paths import native_dir

GCC = "arm-none-eabi-gcc"
QEMU = "qemu-system-arm"
NEWLIB_FLAGS = ("-D__int64_t_defined=1",)  # GCC's own stdint.h leaves it out, and newlib's inttypes.h then PRIu64
HARNESS = Path(__file__).parent / "native"
ENVIRONMENT = HARNESS / "environment_bare.c"
SCRIPT = HARNESS / "environment_bare.ld"
MIB = 1 << 20


@dataclass(frozen=True)
class Area:
    """Some memory of a machine."""

    start: int
    size: int


@dataclass(frozen=True)
class Core:
    """A core, its kernels, how to compile for it, QEMU's machine that has it and where that has memory."""

    cpu: str
    isas: tuple[str, ...]  # behind scalar, slowest first
    flags: tuple[str, ...]
    machine: tuple[str, ...]
    code: Area
    data: Area  # with the stack
    slots: Area  # for the harness's buffers
    edge: Area  # for one of them: the last memory before a hole


MPS2 = {"code": Area(0, 4 * MIB), "data": Area(0x2000_0000, 3 * MIB)}
PSRAM = {"slots": Area(0x2100_0000, 16 * MIB), "edge": Area(0x2070_0000, MIB)}  # the end of the data's RAM, mirrored
NRF51 = ("microbit", "-global", f"nrf51-soc.sram-size={32 * MIB}", "-global", f"nrf51-soc.flash-size={4 * MIB}")

CORES = (
    Core("cortex-m0", ("thumb",), (), NRF51, code=Area(0, 4 * MIB), data=Area(0x2000_0000, 4 * MIB),
         slots=Area(0x2040_0000, 16 * MIB), edge=Area(0x2180_0000, 8 * MIB)),
    Core("cortex-m3", ("thumb2",), (), ("mps2-an385",), **MPS2, **PSRAM),
    Core("cortex-m4", ("dsp",), (), ("mps2-an386",), **MPS2, **PSRAM),
    Core("cortex-m7", ("dsp",), (), ("mps2-an500",), **MPS2,
         slots=Area(0x6000_0000, 15 * MIB), edge=Area(0x60F0_0000, MIB)),
    Core("cortex-m33", ("dsp",), (), ("mps2-an505",), code=Area(0x1000_0000, 4 * MIB), data=Area(0x3800_0000, 2 * MIB),
         slots=Area(0x8000_0000, 15 * MIB), edge=Area(0x80F0_0000, MIB)),
    Core("cortex-m55", ("mve",), ("-mfloat-abi=hard",), ("mps3-an547",), code=Area(0x1000_0000, MIB // 2),
         data=Area(0x7000_0000, 4 * MIB), slots=Area(0x7040_0000, 16 * MIB), edge=Area(0x3000_0000, MIB // 2)),
)  # fmt: skip


def find_core(cpu: str) -> Core:
    """Return the core of a name. Skips the test, or fails it in CI, without its emulator or its compiler."""
    needs_program(GCC)
    needs_program(QEMU)
    return next(core for core in CORES if core.cpu == cpu)


def bare_compiler(core: Core) -> Compiler:
    """Return a compiler whose executables start on the core by themselves and print by semihosting."""
    version = subprocess.run([GCC, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    target = (f"-mcpu={core.cpu}", "-mthumb", *core.flags)
    named = {"CODE": core.code.start, "DATA": core.data.start, "DATA_BYTES": core.data.size}
    named |= {"SLOTS": core.slots.start, "SLOTS_BYTES": core.slots.size}
    named |= {"EDGE": core.edge.start, "EDGE_BYTES": core.edge.size}
    return Compiler(
        name="gcc",
        identity=version,
        command=(GCC,),
        compile_flags=(
            "-std=c11", "-O2", "-ffunction-sections", "-fdata-sections", "-DNDEBUG", *NEWLIB_FLAGS, *target,
        ),
        executable_flags=(
            *target, "--specs=rdimon.specs", "-nostartfiles", "-Wl,--gc-sections",
            "-T", str(SCRIPT), "-Wl,--no-warn-rwx-segments",
            *(f"-Wl,--defsym={name}={value:#x}" for name, value in named.items()),
        ),
        library_flags=(),
    )  # fmt: skip


def build_bare(core: Core, native: Path | None = None) -> list[Path]:
    """Compile the harness, its checks and the kernels, or those of a copy of the library in another folder."""
    root = native_dir() if native is None else native
    includes = native_includes() if native is None else (native / "include", native)
    folders = ("", "scalar/", *(f"{isa}/" for isa in core.isas))
    kernels = [path for folder in folders for path in sorted(root.glob(f"kernels/{folder}*.c"))]
    harness = [*sorted(HARNESS.glob("check_*.c")), ENVIRONMENT]
    return compile_sources(bare_compiler(core), [*kernels, *harness], includes=(*includes, HARNESS))


def run_bare(core: Core, objects: Sequence[Path], arguments: Sequence[str], *, seconds: float) -> Ended:
    """Link objects of ``build_bare`` and run them."""
    with tempfile.TemporaryDirectory() as folder:
        return _run(core, objects, arguments, Path(folder), (), seconds)


def count_bare(
    core: Core, objects: Sequence[Path], arguments: Sequence[str], folder: Path, *, seconds: float
) -> tuple[Ended, str]:
    """Run them in a folder with the instruction counter; return how that ended and what the counter reported."""
    emulator = shutil.which(QEMU)
    assert emulator is not None
    plugin = ("-plugin", f"{build_plugin(emulator)},out=counts")
    ended = _run(core, objects, arguments, folder, plugin, seconds)
    return ended, (folder / "counts").read_text()


def _run(
    core: Core, objects: Sequence[Path], arguments: Sequence[str], folder: Path, more: Sequence[str], seconds: float
) -> Ended:
    compiler = bare_compiler(core)
    linked = [*compiler.command, *compiler.executable_flags, *map(str, objects), "-o", str(folder / "program")]
    subprocess.run(linked, check=True)
    words = ",".join(f"arg={word}" for word in ("program", *arguments))
    command = [
        QEMU, "-machine", *core.machine, "-display", "none", "-monitor", "none", "-serial", "none",
        "-semihosting-config", f"enable=on,target=native,{words}", *more, "-kernel", str(folder / "program"),
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
    )
    return Ended(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

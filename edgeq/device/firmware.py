# SPDX-License-Identifier: Apache-2.0
"""Build the firmware of a microcontroller board."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeq.board import Board
from edgeq.compile.plan import Plan
from edgeq.device.cross import compiler_of, defining, find_cross_compiler
from edgeq.device.elf import UF2_FAMILIES, binary, intel_hex, load_image, sections, uf2
from edgeq.device.firmware_source import fixed_kernels, fixed_model_source, linker_script
from edgeq.device.toolchain import Compiler, call_compiler, compile_sources, native_includes, native_sources
from edgeq.emit.c_source import used_steps
from edgeq.emit.native_sources import needed_files
from edgeq.errors import ToolchainError, UsageError
from edgeq.paths import native_dir

SIGNED_STACK_BYTES = 4096  # Monocypher's check of a signature takes about 2.2 kB
LIBRARY_DEFINITIONS = ("EQ_FIXED_MODEL",)  # of the library in firmware with a model in it, which has tables of its own
_BOOT_BYTES = 252  # of the RP2040's second stage, before its CRC (RP2040 datasheet, 2.8.1.3.1)


@dataclass(frozen=True)
class Firmware:
    """Linked firmware: the file with symbols, the linker's map where it writes one, and what flashing programs take."""

    board: str
    compiler: str
    elf: bytes
    map: str | None
    bin: bytes
    hex: str
    uf2: bytes | None

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of every section that takes memory, by name."""
        return {name: section.bytes for name, section in sections(self.elf).items()}


def build_firmware(
    board: Board,
    plan: Plan,
    model: bytes,
    *,
    toolchain: str | None = None,
    definitions: Sequence[str] = (),
) -> Firmware:
    """Build a board's firmware with a model in it; ``model`` is the file written from ``plan``.

    ``definitions`` are macros for its own files, beside those that the board says. Raises ToolchainError when the
    compiler is missing or fails, also for want of memory, and UsageError when no kernel of the core reads the model.
    """
    compiler = find_cross_compiler(board, toolchain=toolchain)
    objects = _compiled(defining(compiler, LIBRARY_DEFINITIONS), _needed_sources(plan, board))
    objects += _compiled(defining(compiler, (*board_definitions(board), *definitions)), own_sources(board))
    with tempfile.TemporaryDirectory(prefix="edgeq-") as folder:
        source = Path(folder) / "model.c"
        source.write_text(fixed_model_source(plan, model, board))
        objects += compile_sources(compiler, [source], includes=native_includes())
        return _linked(compiler, board, objects, Path(folder))


def build_slots_firmware(
    board: Board, *, key: bytes | None = None, toolchain: str | None = None, definitions: Sequence[str] = ()
) -> Firmware:
    """Build a board's firmware for models that the link writes into its store.

    With ``key``, an Ed25519 public key of 32 bytes, it takes signed models only. Raises UsageError for a board that has
    no store, ToolchainError when the compiler is missing or fails.
    """
    if board.store is None:
        raise UsageError(f"{board.name} has no memory for two models", hint="leave out --slots")
    compiler = find_cross_compiler(board, toolchain=toolchain)
    macros = [*board_definitions(board), *definitions]
    root = native_dir()
    library = [*native_sources(), *sorted((root / "link").glob("*.c")), *sorted((root / "store").glob("*.c"))]
    if key is not None:
        board = replace(board, stack_bytes=SIGNED_STACK_BYTES)
        compiler = defining(compiler, ["EQ_SIGNED"])
        macros.append("EQ_KEY=" + ",".join(map(str, key)))
        library += sorted((root / "store/monocypher").glob("*.c"))
    own = [root / "firmware/slots_model.c" if path.name == "fixed_model.c" else path for path in own_sources(board)]
    objects = _compiled(compiler, library) + _compiled(defining(compiler, macros), own)
    with tempfile.TemporaryDirectory(prefix="edgeq-") as folder:
        return _linked(compiler, board, objects, Path(folder), slots=True)


def library_sources() -> list[Path]:
    """List the C files that firmware with a model in it shares with every other for the same core."""
    of_files = {
        native_dir() / "runtime" / name for name in ("model.c", "repack.c", "steps.c")
    }  # what opens model files
    return [path for path in native_sources() if path not in of_files] + sorted((native_dir() / "link").glob("*.c"))


def _needed_sources(plan: Plan, board: Board) -> list[Path]:
    """List those of ``library_sources`` that a plan needs, in their order: the linker would drop the others anyway."""
    folders = {native_dir() / "ops", native_dir() / "kernels"}
    operators, kernels = needed_files(used_steps(plan), fixed_kernels(plan, board).values())
    return [
        path for path in library_sources() if path in operators or path in kernels or folders.isdisjoint(path.parents)
    ]


def own_sources(board: Board) -> list[Path]:
    """List the C files that know their board, of firmware with a model in it; they are linked behind the others."""
    root = native_dir()
    names = ("counter.c", "fault.c", "fixed_model.c", "main.c", "memory.c", "startup.c")
    family = sorted((root / "port" / board.port).glob("*.c"))
    return [*(root / "firmware" / name for name in names), root / "port/uart.c", *family]


def board_definitions(board: Board) -> tuple[str, ...]:
    """Return the macros by which a board's own files know it."""
    values = {f"EQ_PORT_{name}": value for name, value in board.port_values.items()}
    if board.store is not None:
        facts = ("origin", "bytes", "page_bytes", "write_bytes")
        values |= {f"EQ_STORE_{name.upper()}": getattr(board.store, name) for name in facts}
    return (
        f'EQ_BOARD_NAME="{board.name}"',
        f"EQ_BOARD_CLASS={board.board_class}",
        f"EQ_CLOCK_HZ={board.clock_hz}",
        f"EQ_BAUD={board.baud}",
        *(f"{name}={value:#x}u" if value > 9999 else f"{name}={value}" for name, value in values.items()),
    )


def _compiled(compiler: Compiler, sources: Sequence[Path]) -> list[Path]:
    """Compile sources of native/, each for speed or for size, and return their objects in order."""
    groups: dict[Compiler, list[Path]] = {}
    for source in sources:
        groups.setdefault(compiler_of(compiler, source), []).append(source)
    made: dict[Path, Path] = {}
    for chosen, group in groups.items():
        made.update(zip(group, compile_sources(chosen, group, includes=native_includes()), strict=True))
    return [made[source] for source in sources]


def _linked(
    compiler: Compiler, board: Board, objects: Sequence[Path], folder: Path, *, slots: bool = False
) -> Firmware:
    script, elf, listing = folder / "firmware.ld", folder / "firmware.elf", folder / "firmware.map"
    script.write_text(linker_script(board, slots=slots))
    # zig links its own library of such functions, and writes no map
    only_gcc = ["-lgcc", f"-Wl,-Map={listing}"] if compiler.name == "gcc" else []
    call_compiler(
        compiler,
        [
            *compiler.executable_flags,
            *("-T", str(script), "-Wl,--gc-sections"),
            *map(str, objects),
            *only_gcc,
            *("-o", str(elf)),
        ],
        f"the firmware for {board.name}",
    )
    linked = _with_boot_crc(elf.read_bytes())
    image = load_image(linked)
    family = UF2_FAMILIES.get(board.pyocd_target)
    return Firmware(
        board=board.name,
        compiler=compiler.identity,
        elf=linked,
        map=listing.read_text() if listing.exists() else None,
        bin=binary(image),
        hex=intel_hex(image),
        uf2=None if family is None else uf2(image, family),
    )


def _with_boot_crc(elf: bytes) -> bytes:
    """Return the firmware with the CRC of its second boot stage filled in, where it has one."""
    boot = sections(elf).get(".boot")
    if boot is None:
        return elf
    if boot.bytes != _BOOT_BYTES + 4:
        raise ToolchainError(f"the second boot stage was linked to {boot.bytes} bytes, {_BOOT_BYTES + 4} expected")
    end = boot.offset + _BOOT_BYTES
    return elf[:end] + struct.pack("<I", boot_crc(elf[boot.offset : end])) + elf[end + 4 :]


def boot_crc(code: bytes) -> int:
    """Return the CRC-32/MPEG-2, as the RP2040's ROM does: polynomial 0x04C11DB7, not reflected, begun with ones."""
    crc = 0xFFFFFFFF
    for byte in code:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc

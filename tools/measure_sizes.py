#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure every piece of firmware, and write edgeq/analysis/sizes/: one table a core, and one a board.

    tools/measure_sizes.py [BOARD ...]     all boards by default; a board's core comes with all boards that have it

Everything is compiled as firmware is, for the sizes of sections, what refers to what, and the stack of each function
(-fcallgraph-info=su), and linked once to learn which members of the compiler's library are taken, and in which order.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from object_files import ObjectSection, read_code, read_object

from edgeq.analysis.fit import reachable
from edgeq.analysis.size_tables import ENTRY, KEPT, SIZES, Section
from edgeq.board import Board, board_names, load_board
from edgeq.compile.plan import Plan
from edgeq.device.cross import compiler_of, defining, find_cross_compiler
from edgeq.device.firmware import LIBRARY_DEFINITIONS, board_definitions, library_sources, own_sources
from edgeq.device.firmware_source import fixed_model_source, linker_script
from edgeq.device.toolchain import Compiler, call_compiler, native_includes
from edgeq.emit.kernel_tables import core_table
from edgeq.emit.ways import ALL_WAYS, RARE_DEPTHWISE
from edgeq.errors import InternalError
from edgeq.format.write import write_model
from edgeq.ops import all_steps
from edgeq.paths import demo_dir, native_dir
from edgeq.pipeline import convert_graph, read_source
from edgeq.quantize.recipe import Recipe

Objects = dict[str, list[Section]]
_NODE = re.compile(r'^node: \{ title: "([^"]*)" label: "([^"]*)"', re.MULTILINE)
_EDGE = re.compile(r'^edge: \{ sourcename: "([^"]*)" targetname: "([^"]*)"', re.MULTILINE)
_FRAME = re.compile(r"\\n(\d+) bytes \(([^)]*)\)")
_MEMBER = re.compile(r"^\((\S+/libgcc\.a)\)(\S+\.o)$", re.MULTILINE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("boards", nargs="*", metavar="BOARD")
    parser.add_argument("--output", type=Path, default=SIZES, help="the folder to write to")
    arguments = parser.parse_args()
    firmware = [board for board in map(load_board, board_names()) if board.kind == "firmware"]
    chosen = {load_board(name).cpu for name in arguments.boards} or {board.cpu for board in firmware}
    arguments.output.mkdir(exist_ok=True)
    for cpu in sorted(chosen):
        for name, text in measure([board for board in firmware if board.cpu == cpu]).items():
            (arguments.output / f"{name}.json").write_text(text)
            print(f"{name}: {len(text)} bytes")
    return 0


def measure(boards: Sequence[Board]) -> dict[str, str]:
    """Return the tables of a core and of all boards that have it, as JSON, by name."""
    core = boards[0]
    compiler = find_cross_compiler(core, toolchain="gcc")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = _demo_plan(core)
        source = folder / "model.c"
        source.write_text(fixed_model_source(plan, write_model(plan), core))
        model = _compile(compiler, [source], folder)
        library_paths = _compile(defining(compiler, LIBRARY_DEFINITIONS), _sources_for(core), folder / "library")
        own_paths: dict[str, dict[str, Path]] = {}
        members: dict[str, dict[str, Path]] = {}
        for board in boards:
            named = defining(compiler, board_definitions(board))
            own_paths[board.name] = paths = _compile(named, own_sources(board), folder / board.name)
            linked = [*library_paths.values(), *paths.values(), *model.values()]
            members[board.name] = _members(compiler, board, linked, folder)
        library = _read(library_paths)
        own = {name: _read(paths) for name, paths in own_paths.items()}
        libgcc = _read({name: path for paths in members.values() for name, path in paths.items()})
        (model_sections,) = _read(model).values()
    possible = (
        {f"eq_run_{step.name}" for step in all_steps()}
        | ALL_WAYS
        | {RARE_DEPTHWISE}
        | set(core_table(core).functions.values())
    )
    needed = set[tuple[str, str]]()
    for sections in own.values():
        needed |= reachable({**library, **sections, **libgcc}, {ENTRY, *possible}, KEPT)
    tables: dict[str, dict[str, Any]] = {
        core.cpu: {
            "compiler": compiler.identity,
            "library": _pruned(library, needed),
            "model": model_sections,
            "libgcc": _pruned(libgcc, needed),
        }
    }
    for board in boards:
        taken = [name for name in members[board.name] if name in tables[core.cpu]["libgcc"]]
        tables[board.name] = {"core": core.cpu, "own": _pruned(own[board.name], needed), "libgcc": taken}
    return {name: _json(table) for name, table in tables.items()}


def _sources_for(board: Board) -> list[Path]:
    """List the library's C files but those of other cores' kernels, of which nothing is left here."""
    folders = {"kernels", *core_table(board).folders}
    return [path for path in library_sources() if path.parent.parent.name != "kernels" or path.parent.name in folders]


def _demo_plan(board: Board) -> Plan:
    return convert_graph(read_source(demo_dir() / "digits_int8.tflite"), recipe=Recipe(), board=board).plan


def _compile(compiler: Compiler, sources: Iterable[Path], folder: Path) -> dict[str, Path]:
    """Compile as firmware is compiled, with the stack of each function beside each object; return objects by name."""
    includes = [f"-I{path}" for path in native_includes()]
    root = native_dir()

    def compile_one(source: Path) -> tuple[str, Path]:
        inside = source.is_relative_to(root)
        name = source.relative_to(root).with_suffix("").as_posix() if inside else source.stem
        target = folder / f"{name}.o"
        target.parent.mkdir(parents=True, exist_ok=True)
        chosen = compiler_of(compiler, source) if inside else compiler
        flags = [*chosen.compile_flags, "-fcallgraph-info=su", *includes]
        call_compiler(compiler, [*flags, "-c", str(source), "-o", str(target)], source.name)
        return name, target

    with ThreadPoolExecutor() as pool:
        return dict(pool.map(compile_one, sources))


def _members(compiler: Compiler, board: Board, objects: Sequence[Path], folder: Path) -> dict[str, Path]:
    """Return the members of libgcc that a link takes, in order, unpacked."""
    script = folder / f"{board.name}.ld"
    script.write_text(linker_script(board))
    command = [*compiler.command, *compiler.executable_flags, "-T", str(script), "-Wl,--gc-sections,-t,-t"]
    command += [*map(str, objects), "-lgcc", "-o", str(folder / "linked")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise InternalError(f"the firmware for {board.name} does not link:\n{done.stderr[-2000:]}")
    found = {}
    for archive, member in _MEMBER.findall(done.stdout):
        path = folder / "libgcc" / board.cpu / member
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            subprocess.run(["arm-none-eabi-ar", "p", archive, member], capture_output=True, check=True).stdout
        )
        found[f"libgcc/{member.removesuffix('.o')}"] = path
    return found


def _read(paths: Mapping[str, Path]) -> Objects:
    """Return the sections of objects that have any."""
    code = read_code("arm-none-eabi-objdump", list(paths.values())) if paths else {}
    found = {}
    for name, path in paths.items():
        frames = _frames(path.with_suffix(".ci"))
        sections = read_object(path.read_bytes())
        rows = [_section(section, sections, code.get(path, {}), frames) for section in sections]
        if rows:
            found[name] = rows
    return found


def _section(
    section: ObjectSection,
    others: Sequence[ObjectSection],
    code: Mapping[str, tuple[str, int]],
    frames: Mapping[str, int],
) -> Section:
    def named(targets: set[str | int]) -> tuple[str, ...]:
        return tuple(sorted(target if isinstance(target, str) else others[target].name for target in targets))

    indirect, pushed = code.get(section.name, ("", 0))
    frame = max([pushed, *(frames[name] for name in section.functions if name in frames)])  # assembly is in neither
    calls, jumps = named(section.calls), named(section.jumps)
    return Section(
        section.name, section.size, section.align, tuple(sorted(section.defines)), frame, calls, jumps,
        named(section.refers), indirect,
    )  # fmt: skip


def _frames(path: Path) -> dict[str, int]:
    """Return the bytes of stack of each function that the compiler wrote down.

    Raises InternalError for one that is not bounded, or that calls itself.
    """
    if not path.is_file():
        return {}
    text = path.read_text()
    for source, target in _EDGE.findall(text):
        if source == target:
            raise InternalError(f"{source} calls itself")
    found = {}
    for title, label in _NODE.findall(text):
        frame = _FRAME.search(label)
        if frame is None:
            continue
        if frame[2] not in ("static", "dynamic,bounded"):
            raise InternalError(f"{title} needs stack without bound")
        found[title.rsplit(":", 1)[-1]] = int(frame[1])
    return found


def _pruned(objects: Objects, needed: set[tuple[str, str]]) -> Objects:
    """Return what firmware may be linked from, and no empty objects."""
    kept = {name: [row for row in rows if (name, row.name) in needed] for name, rows in objects.items()}
    return {name: rows for name, rows in kept.items() if rows}


def _json(table: Mapping[str, Any]) -> str:
    """Return JSON with one section a line."""
    parts = []
    for key, value in table.items():
        if isinstance(value, dict):
            objects = (f"{json.dumps(name)}: {_rows(rows)}" for name, rows in value.items())
            parts.append(f"{json.dumps(key)}: {{\n" + ",\n".join(objects) + "\n}")
        else:
            parts.append(f"{json.dumps(key)}: {_rows(value) if key == 'model' else json.dumps(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _rows(rows: Sequence[Section]) -> str:
    return "[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]"


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""What can be said about the device C without running it: warnings, names, memory, stack, recursion."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from needs import needs_program

from edgeq.paths import native_dir

ROOT = native_dir()
FOLDERS = ("runtime", "ops", "store", "link")
SOURCES = sorted([*(path for name in FOLDERS for path in ROOT.glob(f"{name}/*.c")), *ROOT.glob("kernels/**/*.c")])
FLAGS = ("-std=c11", "-ffreestanding", "-fno-pic", "-Wall", "-Wextra", "-Wconversion", "-Wvla", "-Werror")
INCLUDES = (f"-I{ROOT}/include", f"-I{ROOT}")
STACK_BYTES = 2048  # of a whole inference, on a 64-bit machine
HOST_KERNELS = ("kernels/avx2/", "kernels/vnni/")  # of machines with megabytes of stack and registers of 64 bytes
HOST_STACK_BYTES = 12288
ENVIRONMENT = {"memcpy", "memset"}  # what every C environment has, freestanding ones by their port


def _call(*command: str | Path, folder: Path | None = None) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, f"{command[0]}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Objects, stack use and call graphs of every file, by gcc at -O2."""
    folder = tmp_path_factory.mktemp("static")
    gcc = needs_program("gcc")
    for index, source in enumerate(SOURCES):
        output = folder / f"{index}_{source.stem}.o"
        _call(gcc, *FLAGS, "-O2", "-fcallgraph-info=su", *INCLUDES, "-c", source, "-o", output)
    return folder


def test_clang_has_no_warnings() -> None:
    _call(needs_program("clang-19"), *FLAGS, "-fsyntax-only", *INCLUDES, *SOURCES)


@pytest.mark.parametrize("flags", [(), ("-m32",)], ids=" ".join)
def test_gcc_has_no_warnings(flags: tuple[str, ...]) -> None:
    _call(needs_program("gcc"), *FLAGS, *flags, "-fsyntax-only", *INCLUDES, *SOURCES)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [("-O3",), ("-O2", "-m32")], ids=" ".join)
def test_gcc_has_no_warnings_when_it_optimizes(flags: tuple[str, ...], tmp_path: Path) -> None:
    """At -O2 for this machine it has none either, or there would be nothing built."""
    _call(needs_program("gcc"), *FLAGS, *flags, "-S", *INCLUDES, *SOURCES, folder=tmp_path)


def test_cppcheck_finds_nothing() -> None:
    # an arithmetic shift, held by a static assertion; and structs that a function fills, which compilers see better
    suppressed = ["shiftNegativeLHS", "shiftTooManyBitsSigned", "ctuuninitvar"]
    _call(
        needs_program("cppcheck"), "--std=c11", "--enable=warning,portability", "--error-exitcode=1", "-q",
        *[f"--suppress={name}" for name in suppressed], *INCLUDES, *SOURCES,
    )  # fmt: skip


def test_clang_tidy_finds_nothing() -> None:
    """CERT's rules, but for STR34: it takes int8 codes for characters."""
    checks = "-checks=-*,cert-*,-cert-str34-c"
    tidy = needs_program("clang-tidy-19")
    _call(tidy, "-quiet", checks, "--warnings-as-errors=*", *SOURCES, "--", "-std=c11", *INCLUDES)


def _symbols(folder: Path) -> list[tuple[str, str]]:
    """(kind, name) of every symbol after linking the objects together."""
    whole = folder / "whole"
    if not whole.exists():
        _call(needs_program("ld"), "-r", *sorted(folder.glob("*.o")), "-o", whole)
    lines = _call(needs_program("nm"), whole).splitlines()
    return [(line.split()[-2], line.split()[-1]) for line in lines]


def test_nothing_is_asked_of_libc_but_copy_and_fill(built: Path) -> None:
    assert {name for kind, name in _symbols(built) if kind == "U"} <= ENVIRONMENT


def test_there_are_no_writable_globals(built: Path) -> None:
    assert [name for kind, name in _symbols(built) if kind in "dDbBCgGsS"] == []


def test_exported_names_start_with_eq(built: Path) -> None:
    exported = [name for kind, name in _symbols(built) if kind.isupper() and kind != "U"]
    assert exported
    assert [name for name in exported if not name.startswith("eq_")] == []


@dataclass
class _Function:
    file: str = ""  # in native/
    stack_bytes: int = 0
    dynamic: bool = False
    calls: set[str] = field(default_factory=set)


def _call_graph(folder: Path) -> dict[str, _Function]:
    """Functions by name (with the file's where they are static), as gcc's call graph files tell."""
    graph: dict[str, _Function] = {}
    for path in folder.glob("*.ci"):
        text = path.read_text()
        for name, about in re.findall(r'node: \{ title: "([^"]+)" label: "([^"]+)"', text):
            function = graph.setdefault(name, _Function())
            if found := re.search(r"(\d+) bytes \(([^)]+)\)", about):
                function.stack_bytes = int(found[1])
                function.dynamic = found[2] == "dynamic"
                function.file = about.split("\\n")[1].split(":")[0].removeprefix(f"{ROOT}/")
        for caller, callee in re.findall(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"', text):
            graph.setdefault(caller, _Function()).calls.add(callee)
    named = {callee for function in graph.values() for callee in function.calls}
    for name, function in graph.items():
        if "__indirect_call" in function.calls:
            function.calls.remove("__indirect_call")
            function.calls |= {other for other in graph if _may_point(graph, name, other, named)}
    return graph


def _may_point(graph: dict[str, _Function], caller: str, callee: str, named: set[str]) -> bool:
    """Pointers lead from the runtime to the table of steps, from operators to kernels.

    They also lead from operators and kernels to those functions of their file that nobody calls by name. What runs a
    step is called by run.c alone, what checks one by model.c.
    """
    if graph[caller].file == "runtime/run.c":
        return graph[callee].file == "runtime/step_calls.c"
    if graph[caller].file.startswith("runtime/"):
        return graph[callee].file == "runtime/steps.c" and ":check_" in callee
    own_part = ":" in callee and graph[callee].file == graph[caller].file and callee not in named
    if graph[caller].file.startswith("kernels/"):
        return own_part
    is_kernel = graph[callee].file.startswith("kernels/") and callee.startswith("eq_")
    return is_kernel or (caller.startswith("eq_op_") and own_part)


def _deepest(graph: dict[str, _Function], name: str, above: tuple[str, ...] = ()) -> int:
    """The stack of a function and of the deepest chain of calls below it; fails on recursion."""
    assert name not in above, f"{' -> '.join(above)} -> {name}: recursion"
    function = graph.get(name, _Function())
    below = [_deepest(graph, callee, (*above, name)) for callee in sorted(function.calls)]
    return function.stack_bytes + max(below, default=0)


def test_stack_is_bounded_and_there_is_no_recursion(built: Path) -> None:
    graph = _call_graph(built)
    assert [name for name, function in graph.items() if function.dynamic] == []
    device = {name: function for name, function in graph.items() if not function.file.startswith(HOST_KERNELS)}
    depths = {name: _deepest(device, name) for name in ("eq_run", "eq_model_open")}
    assert max(depths.values()) <= STACK_BYTES, depths
    assert _deepest(graph, "eq_run") <= HOST_STACK_BYTES
    assert min(depths.values()) > 256, f"calls through pointers were not followed: {depths}"

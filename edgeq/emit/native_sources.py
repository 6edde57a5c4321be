# SPDX-License-Identifier: Apache-2.0
"""Which files of native/ a model needs: its operators, the kernels that those call, and the headers of both."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from edgeq.emit.kernel_tables import KERNEL
from edgeq.errors import InternalError
from edgeq.paths import native_dir

_INCLUDE = re.compile(r'^(\s*#\s*include\s+)"([^"]+)"', re.MULTILINE)
_OPERATOR = re.compile(r"^void eq_op_(\w+)\(", re.MULTILINE)
_UNCALLED = {"packed_gemm_s8"}  # where kernels are chosen at start-up, weights are portable: gemm_s8 multiplies them
_NAME = re.compile(r"\beq_\w+")
_DEFINED = re.compile(r"^(?!static\b)[A-Za-z][\w ]*[ *](eq_\w+)\([^;{}]*?\) \{", re.MULTILINE)
_CHOICE = ("cpu", "select")  # files of native/kernels/ that choose a table at start-up


def needed_sources(steps: Iterable[str], functions: Collection[str] | None = None) -> dict[str, str]:
    """Map files of a folder that compiles by itself, without include paths, to their text.

    Sources lie in ``ops`` and ``kernels``, headers below them and in ``edgeq``; includes are relative to the file they
    stand in. ``functions`` are the kernels to take; without them, all that the steps may call on any ISA are taken,
    with lists of them that hold no others, so that no table refers to another one. Raises InternalError for a step
    without C source.
    """
    root = native_dir()
    operators, kernels = needed_files(steps, functions)
    homes = {
        path: f"{folder}/{path.name}" for folder, paths in (("ops", operators), ("kernels", kernels)) for path in paths
    }
    kept = {path.stem for path in kernels}
    for header in sorted(_headers(root, [*operators, *kernels, root / "kernels" / "kernels.h"])):
        base = root / "include" if header.is_relative_to(root / "include") else root
        homes[header] = header.relative_to(base).as_posix()
    files: dict[str, str] = {}
    for path, home in homes.items():
        text = path.read_text()
        if path.suffix == ".inc":
            text = KERNEL.sub(lambda line: line[0] if f"{line[1]}_{line[2]}" in kept else "", text).lstrip("\n")
            text = re.sub(r"\n{2,}", "\n", text)
        files[home] = _with_relative_includes(text, root, homes, home)
    return files


def needed_files(steps: Iterable[str], functions: Collection[str] | None = None) -> tuple[list[Path], list[Path]]:
    """Return the files of native/ops and those of native/kernels that ``needed_sources`` takes."""
    root = native_dir()
    operators = _operator_files(root, steps)
    kernels = _kernel_files(root, operators) if functions is None else _chosen_kernel_files(root, operators, functions)
    return operators, kernels


def _with_relative_includes(text: str, root: Path, homes: Mapping[Path, str], home: str) -> str:
    """Return a file's text with includes that start from the folder it will stand in."""
    return _INCLUDE.sub(
        lambda line: f'{line[1]}"{posixpath.relpath(homes[_included(root, line[2], home)], posixpath.dirname(home))}"',
        text,
    )


def _operator_files(root: Path, steps: Iterable[str]) -> list[Path]:
    """Return the files that define the steps, and those of native/ops that define none but serve all."""
    shared, home = [], {}
    for path in sorted(root.glob("ops/*.c")):
        defined = _OPERATOR.findall(path.read_text())
        home.update(dict.fromkeys(defined, path))
        if not defined:
            shared.append(path)
    missing = sorted(set(steps) - set(home))
    if missing:
        raise InternalError(f"native/ops defines no eq_op_{missing[0]}")
    return shared + sorted({home[step] for step in steps})


def _kernel_files(root: Path, operators: Iterable[Path]) -> list[Path]:
    """Return the kernels that the operators call, on every ISA, and what all kernels share."""
    shared = [path for path in sorted(root.glob("kernels/**/*.c")) if path.parent == root / "kernels"]
    twins: dict[str, set[Path]] = {}  # of each kernel; an ISA's table may name one of another ISA
    for listing in sorted(root.glob("kernels/*/kernels.inc")):
        for name, isa in KERNEL.findall(listing.read_text()):
            twins.setdefault(name, set()).add(root / "kernels" / isa / f"{name}_{isa}.c")
    listed = {path for paths in twins.values() for path in paths}
    shared += [path for path in sorted(root.glob("kernels/*/*.c")) if path not in listed]
    headers = [path for path in _headers(root, operators) if path.parent == root / "ops"]
    text = "".join(path.read_text() for path in [*operators, *headers])
    used = {name for name in twins if re.search(rf"(->|\.){name}\b", text)} - _UNCALLED
    while True:  # a twin may hand its tails to another kernel
        text = "".join(path.read_text() for path in shared + [path for name in used for path in twins[name]])
        more = {name for name in twins if re.search(rf"\beq_{name}_(?!fn\b)\w+\(", text)} - used
        if not more:
            break
        used |= more
    return shared + sorted(path for name in used for path in twins[name])


def _chosen_kernel_files(root: Path, operators: Sequence[Path], functions: Collection[str]) -> list[Path]:
    """Return the files of native/kernels/ that define functions, or what those and the operators call.

    The choice at start-up is left out.
    """
    paths = [path for path in sorted(root.glob("kernels/**/*.c")) if path.stem not in _CHOICE]
    homes = {name: path for path in paths for name in _DEFINED.findall(path.read_text())}
    homes |= {f"eq_{path.stem}": path for path in paths}  # kernels, also those that macros define
    found: set[Path] = set()
    waiting = {*functions, *_mentioned(root, operators) & homes.keys()}
    while waiting:
        name = waiting.pop()
        if name not in homes:
            raise InternalError(f"native/kernels defines no {name}")
        if homes[name] not in found:
            found.add(homes[name])
            waiting |= _mentioned(root, [homes[name]]) & homes.keys()
    return sorted(found)


def _mentioned(root: Path, sources: Sequence[Path]) -> set[str]:
    """Return the names with the prefix of the library in sources and the headers they include."""
    return {name for path in {*sources, *_headers(root, sources)} for name in _NAME.findall(path.read_text())}


def _headers(root: Path, sources: Iterable[Path]) -> set[Path]:
    """Return the files of native/ that the sources include, directly or not."""
    found: set[Path] = set()
    waiting = list(sources)
    while waiting:
        path = waiting.pop()
        if path.suffix != ".c":
            found.add(path)
        for _, name in _INCLUDE.findall(path.read_text()):
            target = _included(root, name, path.name)
            if target not in found:
                waiting.append(target)
    return found


def _included(root: Path, name: str, file: str) -> Path:
    """Return the file of native/ that an include names. Raises InternalError when there is none."""
    target = next((base / name for base in (root, root / "include") if (base / name).is_file()), None)
    if target is None:
        raise InternalError(f"{file} includes {name}, which is not in native/")
    return target

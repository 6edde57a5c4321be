# SPDX-License-Identifier: Apache-2.0
"""Which files of native/ a model needs: its operators, the kernels that those call, and the headers of both."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from edgeq.errors import InternalError
from edgeq.paths import native_dir

_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
_OPERATOR = re.compile(r"^void eq_op_(\w+)\(", re.MULTILINE)
_UNCALLED = {"packed_gemm_s8"}  # emitted parameters hold portable weights, which the operators multiply with gemm_s8
_KERNEL = re.compile(r"^\s*EQ_KERNEL\((\w+),\s*(\w+)\)", re.MULTILINE)


def needed_sources(steps: Iterable[str]) -> dict[str, str]:
    """Map files of a folder that compiles by itself with ``-I include`` to their text.

    Sources lie in ``src/ops`` and ``src/kernels``, headers and kernel lists in ``include``. The lists hold only the
    kernels that the steps call, so that no table refers to another one. Raises InternalError for a step without C
    source.
    """
    root = native_dir()
    operators = _operator_files(root, steps)
    kernels = _kernel_files(root, operators)
    files: dict[str, str] = {}
    for folder, paths in (("ops", operators), ("kernels", kernels)):
        files.update({f"src/{folder}/{path.name}": path.read_text() for path in paths})
    kept = {path.stem for path in kernels}
    for header in sorted(_headers(root, [*operators, *kernels, root / "kernels" / "kernels.h"])):
        base = root / "include" if header.is_relative_to(root / "include") else root
        text = header.read_text()
        if header.suffix == ".inc":
            text = _KERNEL.sub(lambda line: line[0] if f"{line[1]}_{line[2]}" in kept else "", text).lstrip("\n")
            text = re.sub(r"\n{2,}", "\n", text)
        files[f"include/{header.relative_to(base).as_posix()}"] = text
    return files


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
        for name, isa in _KERNEL.findall(listing.read_text()):
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


def _headers(root: Path, sources: Iterable[Path]) -> set[Path]:
    """Return the files of native/ that the sources include, directly or not."""
    found: set[Path] = set()
    waiting = list(sources)
    while waiting:
        path = waiting.pop()
        if path.suffix != ".c":
            found.add(path)
        for name in _INCLUDE.findall(path.read_text()):
            target = next((base / name for base in (root, root / "include") if (base / name).is_file()), None)
            if target is None:
                raise InternalError(f"{path.name} includes {name}, which is not in native/")
            if target not in found:
                waiting.append(target)
    return found

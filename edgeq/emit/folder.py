# SPDX-License-Identifier: Apache-2.0
"""A Plan as a folder of C that compiles by itself: model, operators, kernels, examples, build files."""

from __future__ import annotations

import re
from pathlib import Path

from edgeq.board import Board
from edgeq.compile.plan import Plan
from edgeq.emit.c_source import TAKEN_PREFIXES, check_prefix, model_header, model_source, used_steps
from edgeq.emit.kernel_tables import called_kernels, core_table
from edgeq.emit.manifests import MARK, manifests
from edgeq.emit.native_sources import needed_sources
from edgeq.errors import StorageError
from edgeq.paths import write_folder


def prefix_of(name: str) -> str:
    """Make a legal prefix of a model's name."""
    cleaned = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_").lower()[:24]
    if re.match(r"[a-z]", cleaned) and not cleaned.startswith("eq_") and cleaned not in TAKEN_PREFIXES:
        return cleaned
    return f"model_{cleaned}".rstrip("_")


def emit_c(plan: Plan, *, prefix: str, board: Board | None = None) -> dict[str, str]:
    """Map file names, relative to one folder, to their text; the same plan gives the same text.

    For a microcontroller the folder has the kernels of its core alone, named in one table, and weights in their order;
    else those of every CPU, and the fastest are chosen at start-up. Raises UsageError for a prefix that cannot start C
    names and UnsupportedError for a plan that C cannot hold.
    """
    check_prefix(prefix)
    table = core_table(board) if board is not None and board.kind == "firmware" else None
    functions = None if table is None else [table.functions[name] for name in called_kernels(plan, table.layout)]
    sources = {
        f"{prefix}.h": model_header(plan, prefix),
        f"{prefix}.c": model_source(plan, prefix, table),
        **needed_sources(used_steps(plan), functions),
    }
    return {
        **manifests(plan, prefix=prefix, board=board if table is not None else None),
        **{f"src/{name}": text for name, text in sources.items()},
    }


def write_c_folder(plan: Plan, out_dir: Path, *, prefix: str | None = None, board: Board | None = None) -> None:
    """Write the C folder whole or not at all; an older one written by edgeq is replaced.

    Raises StorageError naming the folder when it cannot be written or holds anything else.
    """
    files = emit_c(plan, prefix=prefix_of(plan.name) if prefix is None else prefix, board=board)
    if out_dir.exists() and not _replaceable(out_dir):
        raise StorageError(f"cannot write {str(out_dir)!r}: it exists and was not written by edgeq")
    write_folder(out_dir, {name: text.encode("ascii") for name, text in files.items()})


def _replaceable(folder: Path) -> bool:
    try:
        if not any(folder.iterdir()):
            return True
        return (folder / "CMakeLists.txt").read_text().startswith(MARK)
    except (OSError, UnicodeDecodeError):
        return False

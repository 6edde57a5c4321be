# SPDX-License-Identifier: Apache-2.0
"""How commands print: a table for people, JSON for scripts, a progress bar on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgeq.paths import write_bytes
from edgeq.report.json_report import to_text
from edgeq.report.table import printable


def emit(report: Mapping[str, Any], show: Callable[[], None], *, json: str | None, quiet: bool) -> None:
    """Write the report as JSON where that is asked, and call ``show`` unless quiet or standard output has the JSON."""
    if json == "-":
        sys.stdout.write(to_text(report))
        return
    if json is not None:
        write_bytes(Path(json), to_text(report).encode())
    if not quiet:
        show()


def teller(*, json: str | None = None, quiet: bool = False) -> Callable[[str], None]:
    """Return what prints a sentence at once, or nothing where standard output is for JSON or should stay quiet."""
    if quiet or json == "-":
        return lambda sentence: None
    return lambda sentence: print(printable(sentence), flush=True)


@contextmanager
def progress(what: str, *, total: int | None = None, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """Give a function that is told how many items are done; draws a bar when standard error is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)

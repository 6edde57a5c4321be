# SPDX-License-Identifier: Apache-2.0
"""edgeq diff: what changed between two models, or two profiles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli._options import JsonOption, QuietOption


def command(
    a: Annotated[Path, typer.Argument(metavar="A", show_default=False, help="a model, or a profile made by --json")],
    b: Annotated[Path, typer.Argument(metavar="B", show_default=False, help="what to compare it with")],
    json: JsonOption = None,
    quiet: QuietOption = False,
) -> None:
    """Compare two models, or two profiles."""
    from edgeq.analysis.diff import diff_models, diff_profiles, is_profile
    from edgeq.cli._model import open_model
    from edgeq.cli._output import emit
    from edgeq.cli._paths import require_new_files
    from edgeq.errors import UsageError
    from edgeq.paths import read_bytes
    from edgeq.report import table
    from edgeq.report.json_report import diff_report

    require_new_files([json], inputs=[a, b])
    bytes_a, bytes_b = read_bytes(a), read_bytes(b)
    if is_profile(bytes_a) != is_profile(bytes_b):
        raise UsageError("one is a profile, the other a model", hint="give two of one kind")
    if is_profile(bytes_a):
        found = diff_profiles(bytes_a, bytes_b)
    else:
        left, right = open_model(a), open_model(b)
        found = diff_models(left.plan, right.plan, bytes_a=len(left.data), bytes_b=len(right.data))
    emit(diff_report(found), lambda: table.show_diff(table.make_console(), found), json=json, quiet=quiet)

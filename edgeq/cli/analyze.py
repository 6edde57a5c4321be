# SPDX-License-Identifier: Apache-2.0
"""edgeq analyze: what a model needs, before any data and before any board."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli._options import BoardOption, HtmlOption, JsonOption, QuietOption


def command(
    model: Annotated[Path, typer.Argument(metavar="M", show_default=False, help="an .eqm file or a source model")],
    board: BoardOption = None,
    json: JsonOption = None,
    html: HtmlOption = None,
    quiet: QuietOption = False,
) -> None:
    """Show operators, MACs, memory and whether a board has room; needs no data.

    Ends with exit code 2 when operators are unsupported, 3 when the board is too small; the report comes first.
    """
    from edgeq.analysis.cost import analyze
    from edgeq.board import load_board
    from edgeq.cli._output import emit
    from edgeq.cli._paths import require_new_files
    from edgeq.errors import DoesNotFitError, UnsupportedError
    from edgeq.paths import write_bytes
    from edgeq.report import table
    from edgeq.report.html import cost_page
    from edgeq.report.json_report import analyze_report

    require_new_files([json, html], inputs=[model])
    cost = analyze(model, board=None if board is None else load_board(board))
    if html is not None:
        write_bytes(html, cost_page(cost).encode())
    emit(analyze_report(cost), lambda: table.show_cost(table.make_console(), cost), json=json, quiet=quiet)
    if cost.unsupported:
        raise UnsupportedError(
            f"{cost.model}: {len(cost.unsupported)} unsupported operators, the first is "
            f'{cost.unsupported[0].op} "{cost.unsupported[0].node}": {cost.unsupported[0].reason}'
        )
    if cost.fit is not None and not cost.fit.fits:
        raise DoesNotFitError(f"the firmware of {cost.model!r} needs {cost.fit.shortage}", hint=cost.remedy)
    if cost.fits is False:
        raise DoesNotFitError(
            f"arena needs {cost.arena_bytes} bytes, board {cost.board} has {cost.ram_bytes}: "
            f"{cost.missing_bytes} are missing",
            hint="choose a smaller model or a board with more memory",
        )

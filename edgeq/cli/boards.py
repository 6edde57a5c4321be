# SPDX-License-Identifier: Apache-2.0
"""edgeq boards: the targets there are."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeq.cli._options import JsonOption, QuietOption


def command(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", show_default=False, help="show one board")] = None,
    json: JsonOption = None,
    quiet: QuietOption = False,
) -> None:
    """List the boards, or show what is known of one."""
    from edgeq.board import board_names, load_board
    from edgeq.cli._output import emit
    from edgeq.report import table
    from edgeq.report.json_report import boards_report

    boards = [load_board(board) for board in ([name] if name is not None else board_names())]
    emit(boards_report(boards), lambda: table.show_boards(table.make_console(), boards), json=json, quiet=quiet)

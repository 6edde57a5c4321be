# SPDX-License-Identifier: Apache-2.0
"""edgeq profile: where an inference spends its work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli._options import (
    BoardOption,
    HtmlOption,
    JsonOption,
    ModelArgument,
    PortOption,
    QuietOption,
    SshOption,
    ThreadsOption,
    ToolchainOption,
)


def command(
    model: ModelArgument,
    board: BoardOption = None,
    port: PortOption = None,
    ssh: SshOption = None,
    toolchain: ToolchainOption = None,
    threads: ThreadsOption = 1,
    inferences: Annotated[int, typer.Option("--inferences", metavar="N", min=1, help="inferences to measure")] = 20,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="D", help="take the input from here; zeros are fed without")
    ] = None,
    json: JsonOption = None,
    html: HtmlOption = None,
    trace: Annotated[
        Path | None, typer.Option("--trace", metavar="FILE", help="write a trace that loads in Perfetto")
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Measure each layer on a board or here; an emulator counts instructions, models cycles and never tells time."""
    from edgeq.cli._arrays import codes_of, zero_codes
    from edgeq.cli._engine import board_at, open_engine
    from edgeq.cli._model import open_model
    from edgeq.cli._output import emit
    from edgeq.cli._paths import naming, require_new_files
    from edgeq.errors import BadInputError
    from edgeq.paths import write_files
    from edgeq.report import table
    from edgeq.report.html import profile_page
    from edgeq.report.json_report import profile_report
    from edgeq.report.trace import trace_text

    require_new_files([json, html, trace], inputs=[model, data])
    board = board_at(port, board)
    opened = open_model(model, board=board)
    with naming(data):
        codes = zero_codes(opened) if data is None else next(codes_of(opened, data, limit=1), None)
    if codes is None:
        raise BadInputError(f"{data} holds fewer samples than one inference takes")
    with open_engine(opened, board=board, port=port, ssh=ssh, toolchain=toolchain, threads=threads) as engine:
        found = engine.profile(codes, inferences)
    written = {} if html is None else {html: profile_page(found, opened.plan).encode()}
    if trace is not None:
        written[trace] = trace_text(found, opened.plan).encode()
    write_files(written)
    emit(profile_report(found), lambda: table.show_profile(table.make_console(), found), json=json, quiet=quiet)

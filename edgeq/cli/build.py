# SPDX-License-Identifier: Apache-2.0
"""edgeq build: the files that a board needs to run a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli._options import BoardOption, ModelArgument, QuietOption, ToolchainOption


def command(
    model: ModelArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", show_default=False, help="the folder to write")
    ],
    board: BoardOption = None,
    toolchain: ToolchainOption = None,
    aot: Annotated[
        bool, typer.Option("--aot", help="write the model as C source that compiles by itself; no board is needed")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Build an executable and a shared library for a board, or a folder of C source.

    The folder is written whole or not at all; an earlier build in it is replaced.
    """
    from edgeq.board import load_board
    from edgeq.cli._model import open_model
    from edgeq.device.build import build_board
    from edgeq.emit.folder import write_c_folder
    from edgeq.errors import UsageError
    from edgeq.ops.packing import LAYOUT_NAMES, reads_layout
    from edgeq.report import table

    if board is None and not aot:
        raise UsageError("--board is missing: it says what to build for", hint="or write C source with --aot")
    profile = None if board is None else load_board(board)
    opened = open_model(model, board=board)
    if aot or profile is None:
        write_c_folder(opened.plan, output, board=profile)
        rows = [("C source", str(output)), ("build it with", f"cmake -B build -S {output} && cmake --build build")]
    else:
        if profile.kind != "host" and not reads_layout(profile.weights, opened.plan.layout):
            order = LAYOUT_NAMES[opened.plan.layout]
            raise UsageError(
                f"{str(model)!r} holds its weights in the order {order}, which no kernels of {profile.name} read",
                hint="convert it for this board, or without --board",
            )
        built = build_board(opened.name, opened.data, profile, output, toolchain=toolchain)
        rows = [("compiler", built.compiler), *((name, table.size(size)) for name, size in built.files.items())]
    if not quiet:
        console = table.make_console()
        table.facts(console, rows)

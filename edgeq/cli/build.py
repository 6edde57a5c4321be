# SPDX-License-Identifier: Apache-2.0
"""edgeq build: the files that a board needs to run a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeq.cli._options import BoardOption, ModelArgument, QuietOption, ToolchainOption

if TYPE_CHECKING:
    from edgeq.device.build import BuiltFiles


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
    slots: Annotated[
        bool, typer.Option("--slots", help="firmware whose models are swapped over the link, with edgeq push")
    ] = False,
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", help="with --slots: take models signed with this public key only"),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Build an executable and a shared library, or a microcontroller's firmware, for a board; or a folder of C source.

    The folder is written whole or not at all; an earlier build in it is replaced.
    """
    from edgeq.analysis.fit import require_fit
    from edgeq.board import load_board
    from edgeq.cli._model import open_model
    from edgeq.device.build import build_board
    from edgeq.device.firmware_folder import build_firmware_folder
    from edgeq.device.keys import load_public_key
    from edgeq.emit.folder import write_c_folder
    from edgeq.errors import UsageError
    from edgeq.ops.packing import LAYOUT_NAMES, reads_layout
    from edgeq.report import table

    if board is None and not aot:
        raise UsageError("--board is missing: it says what to build for", hint="or write C source with --aot")
    profile = None if board is None else load_board(board)
    firmware = profile is not None and profile.kind == "firmware" and not aot
    if slots and not firmware:
        raise UsageError("--slots is for the firmware of microcontrollers", hint="leave it out")
    if key is not None and not slots:
        raise UsageError("--key is for firmware that takes models over the link", hint="give --slots, too")
    opened = open_model(model, board=board)
    if aot or profile is None:
        write_c_folder(opened.plan, output, board=profile)
        rows = [("C source", str(output)), ("build it with", f"cmake -B build -S {output} && cmake --build build")]
    elif firmware:
        fit = None if slots else require_fit(opened.plan, opened.data, profile)
        public = None if key is None else load_public_key(key)
        built = build_firmware_folder(
            opened.plan, opened.data, profile, output, slots=slots, key=public, toolchain=toolchain
        )
        rows = _built_rows(built)
        if fit is not None and fit.compiler != built.compiler:
            flash = f"{fit.flash_bytes:,} bytes of flash with {fit.compiler}"
            rows.append(("note", f"predicted were {flash}; this build has {built.files['firmware.bin']:,}"))
    else:
        if profile.kind != "host" and not reads_layout(profile.weights, opened.plan.layout):
            order = LAYOUT_NAMES[opened.plan.layout]
            raise UsageError(
                f"{str(model)!r} holds its weights in the order {order}, which no kernels of {profile.name} read",
                hint="convert it for this board, or without --board",
            )
        built = build_board(opened.name, opened.data, profile, output, toolchain=toolchain)
        rows = _built_rows(built)
    if not quiet:
        console = table.make_console()
        table.facts(console, rows)


def _built_rows(built: BuiltFiles) -> list[tuple[str, str]]:
    from edgeq.report import table

    return [("compiler", built.compiler), *((name, table.size(size)) for name, size in built.files.items())]

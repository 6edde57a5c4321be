# SPDX-License-Identifier: Apache-2.0
"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelArgument = Annotated[
    Path, typer.Argument(metavar="M", show_default=False, help="an .eqm file, or a source model that needs no data")
]
BoardOption = Annotated[str | None, typer.Option("--board", metavar="NAME", help="a board, see edgeq boards")]
SshOption = Annotated[
    str | None,
    typer.Option("--ssh", metavar="USER@HOST[:PORT]", help="the real board, instead of its emulator"),
]
PortOption = Annotated[
    str | None,
    typer.Option("--port", metavar="PORT", help="the board itself, at a serial port or URL such as socket://HOST:PORT"),
]
SerialNumberOption = Annotated[
    str | None, typer.Option("--serial-number", metavar="S", help="which of several USB devices of a kind")
]
JsonOption = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="write the report as JSON; - is standard output")
]
HtmlOption = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="write the report as one HTML page")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="print errors only")]
ToolchainOption = Annotated[
    str | None, typer.Option("--toolchain", metavar="zig|gcc", help="the cross compiler; found by itself if not named")
]
RoundingOption = Annotated[
    str | None,
    typer.Option(
        "--rounding",
        metavar="native|tflite|tflm",
        help="whose integers are computed; native for what edgeq quantizes, tflite for what came quantized",
    ),
]
ThreadsOption = Annotated[
    int, typer.Option("--threads", metavar="N", min=1, max=4, help="threads that share the steps of an inference")
]

# SPDX-License-Identifier: Apache-2.0
"""edgeq flash: what edgeq build made, onto a board."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli._options import BoardOption, PortOption, QuietOption, SerialNumberOption


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", show_default=False, help="a folder that edgeq build wrote")],
    board: BoardOption = None,
    port: PortOption = None,
    serial_number: SerialNumberOption = None,
    flasher: Annotated[
        str | None,
        typer.Option("--flasher", metavar="uf2|pyocd|stm32loader|qemu", help="how; the board's own way if not named"),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Put firmware on a board and ask it whether it runs.

    Every file is compared with its SHA-256 first. An emulated board is started and kept running until Ctrl-C.
    """
    from edgeq.cli._link import await_firmware
    from edgeq.cli._output import teller
    from edgeq.device.built import read_build
    from edgeq.device.flashers import Job, flash

    tell = teller(quiet=quiet)
    build = read_build(folder, board=board)
    tell(flash(Job(build, port=port, serial_number=serial_number, tell=tell), flasher=flasher))
    await_firmware(build, port=port, serial_number=serial_number, tell=tell)

# SPDX-License-Identifier: Apache-2.0
"""edgeq demo: the whole way on bundled models, every number compared."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeq.cli._options import BoardOption, ToolchainOption


def command(
    samples: Annotated[int, typer.Option("--samples", metavar="N", min=1, max=360, help="pictures to compare on")] = 40,
    board: BoardOption = "raspberry-pi-4",
    toolchain: ToolchainOption = None,
) -> None:
    """Convert bundled models and compare every engine with the NumPy twin.

    Needs no network and no board. Ends with exit code 0 only when everything compared was equal.
    """
    from edgeq.cli._demo import run_demo

    run_demo(samples=samples, board=board or "raspberry-pi-4", toolchain=toolchain)

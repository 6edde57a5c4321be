# SPDX-License-Identifier: Apache-2.0
"""edgeq verify: a board's integers, step by step, against the NumPy twin's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli._options import (
    BoardOption,
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
    inputs: Annotated[int, typer.Option("--inputs", metavar="N", min=1, help="random inputs to compare on")] = 10,
    seed: Annotated[int, typer.Option("--seed", metavar="S", min=0, help="what the random inputs are drawn from")] = 0,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="D", help="samples to compare on, instead of random inputs")
    ] = None,
    json: JsonOption = None,
    quiet: QuietOption = False,
) -> None:
    """Compare every step's CRC and every output number with the NumPy twin; without a board, the runtime here.

    Ends with exit code 5 and the first difference when they differ.
    """
    from edgeq.analysis.compare import random_inputs
    from edgeq.analysis.compare import verify as compare
    from edgeq.cli._arrays import codes_of
    from edgeq.cli._engine import board_at, open_engine, twin
    from edgeq.cli._model import open_model
    from edgeq.cli._output import emit, progress
    from edgeq.cli._paths import naming, require_new_files
    from edgeq.errors import DeviceDiffersError
    from edgeq.report import table
    from edgeq.report.json_report import verify_report
    from edgeq.runtime.reference import reference_tensors

    require_new_files([json], inputs=[model, data])
    board = board_at(port, board)
    opened = open_model(model, board=board)
    plan = opened.plan
    feeds = random_inputs(plan, count=inputs, seed=seed) if data is None else codes_of(opened, data, limit=inputs)
    with (
        naming(data),
        open_engine(opened, board=board, port=port, ssh=ssh, toolchain=toolchain, threads=threads) as engine,
        progress("comparing", total=inputs, quiet=quiet) as seen,
    ):
        result = compare(
            plan,
            feeds,
            expected=twin(opened),
            found=lambda feeds: engine.run(feeds, True),
            expected_tensors=lambda codes: reference_tensors(plan, codes),
            found_tensors=engine.tensors,
            progress=seen,
        )
    what = f"random inputs with seed {seed}" if data is None else f"inputs from {data}"

    def show() -> None:
        console = table.make_console()
        table.facts(console, [("model", plan.name), ("compared", f"{result.inferences} {what}")])
        table.show_verification(console, result, against=engine.label)

    emit(verify_report(result), show, json=json, quiet=quiet)
    if not result.equal:
        raise DeviceDiffersError(table.describe_difference(result, against=engine.label))

# SPDX-License-Identifier: Apache-2.0
"""edgeq run: a model on arrays from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli._options import BoardOption, ModelArgument, QuietOption, SshOption, ThreadsOption, ToolchainOption


def command(
    model: ModelArgument,
    input: Annotated[
        Path,
        typer.Option(
            "--input", "-i", metavar="X.npz", show_default=False, help="arrays named as the inputs, or in0, in1 ..."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="Y.npz", show_default=False, help="arrays named as the outputs, or out0, out1 ..."
        ),
    ],
    board: BoardOption = None,
    ssh: SshOption = None,
    toolchain: ToolchainOption = None,
    threads: ThreadsOption = 1,
    engine: Annotated[
        str, typer.Option("--engine", metavar="native|reference", help="the C runtime, or the NumPy twin")
    ] = "native",
    quiet: QuietOption = False,
) -> None:
    """Run a model on the arrays of a file, here or on a board.

    Arrays of exactly the inputs' shapes are one inference; others hold samples along their first axis. Outputs are
    numbered when the inputs are.
    """
    import numpy as np

    from edgeq.analysis.samples import leading_size, one_by_one, run_samples
    from edgeq.cli._arrays import read_inputs, write_arrays
    from edgeq.cli._engine import open_engine
    from edgeq.cli._model import open_model
    from edgeq.cli._output import progress
    from edgeq.cli._paths import naming, require_new_files
    from edgeq.errors import BadInputError, UsageError

    if engine != "native" and board is not None:
        raise UsageError("--engine is for this machine, --board for another: give one of them")
    if engine == "reference" and threads != 1:
        raise UsageError("--threads is for the C runtime, the NumPy twin has one: leave it out")
    require_new_files([output], inputs=[model, input])
    opened = open_model(model, board=board)
    inputs = read_inputs(input, opened.inputs)
    done = 0
    with (
        naming(input),
        open_engine(opened, board=board, ssh=ssh, toolchain=toolchain, threads=threads) as target,
        progress("running", quiet=quiet) as seen,
    ):
        here = one_by_one(lambda feed: opened.run(feed, engine=engine))
        runner = here if board is None else target.runner(opened)
        if inputs.single is not None:
            outputs = list(runner([inputs.single])[0])
        else:
            size = leading_size([port.shape for port in opened.inputs])
            parts: list[list[np.ndarray]] = []
            for batch in inputs.batches:
                parts.append(run_samples(runner, batch, size=size))
                done += len(batch[0])
                seen(done)
            if not parts:
                raise BadInputError(f"{input}: the arrays hold no samples")
            outputs = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    write_arrays(output, [port.name for port in opened.outputs], outputs, numbered=inputs.numbered)
    if not quiet:
        print(f"ran {'one inference' if inputs.single is not None else f'{done} samples'}, wrote {output}")

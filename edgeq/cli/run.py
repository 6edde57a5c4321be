# SPDX-License-Identifier: Apache-2.0
"""edgeq run: a model on arrays from a file, or a first look at it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeq.cli._options import (
    BoardOption,
    ModelArgument,
    PortOption,
    QuietOption,
    SshOption,
    ThreadsOption,
    ToolchainOption,
)

if TYPE_CHECKING:
    import numpy as np

    from edgeq.api import Model
    from edgeq.cli._engine import Engine

PROFILED_RUNS = 20
SHOWN_VALUES = 16  # of each output


def command(
    model: ModelArgument,
    input: Annotated[
        Path | None,
        typer.Option(
            "--input",
            "-i",
            metavar="X.npz",
            show_default=False,
            help="arrays named as the inputs, or in0, in1 ...; random codes without",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="Y.npz",
            show_default=False,
            help="arrays named as the outputs, or out0, out1 ...; without, one inference is shown",
        ),
    ] = None,
    board: BoardOption = None,
    port: PortOption = None,
    ssh: SshOption = None,
    toolchain: ToolchainOption = None,
    threads: ThreadsOption = 1,
    engine: Annotated[
        str, typer.Option("--engine", metavar="native|reference", help="the C runtime, or the NumPy twin")
    ] = "native",
    seed: Annotated[int, typer.Option("--seed", metavar="S", min=0, help="what random codes are drawn from")] = 0,
    quiet: QuietOption = False,
) -> None:
    """Run a model, here or on a board: on the arrays of a file, or once on random codes.

    Arrays of exactly the inputs' shapes are one inference; others hold samples along their first axis. Outputs are
    numbered when the inputs are. Without --output, one inference's outputs are shown, what each layer takes, and
    memory.
    """
    import numpy as np

    from edgeq.analysis.samples import leading_size, one_by_one, run_samples
    from edgeq.cli._arrays import read_inputs, write_arrays
    from edgeq.cli._engine import board_at, open_engine
    from edgeq.cli._model import open_model
    from edgeq.cli._output import progress
    from edgeq.cli._paths import naming, require_new_files
    from edgeq.errors import BadInputError, UsageError

    if engine != "native" and (board is not None or port is not None):
        raise UsageError("--engine is for this machine, --board for another: give one of them")
    if engine == "reference" and threads != 1:
        raise UsageError("--threads is for the C runtime, the NumPy twin has one: leave it out")
    if input is None and output is not None:
        raise UsageError("--output without --input: random codes are for a first look, which is shown")
    require_new_files([output], inputs=[model, input])
    board = board_at(port, board)
    opened = open_model(model, board=board)
    inputs = None if input is None else read_inputs(input, opened.inputs)
    done = 0
    with (
        naming(input),
        open_engine(opened, board=board, port=port, ssh=ssh, toolchain=toolchain, threads=threads) as target,
    ):
        if output is None:
            if inputs is not None and inputs.single is None:
                raise UsageError(f"{input} holds several samples", hint="name a file for their outputs with --output")
            _show(opened, target, inputs.single if inputs is not None else None, engine=engine, seed=seed)
            return
        assert inputs is not None
        here = one_by_one(lambda feed: opened.run(feed, engine=engine))
        runner = here if board is None else target.runner(opened)
        with progress("running", quiet=quiet) as seen:
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


def _show(model: Model, target: Engine, feed: Sequence[np.ndarray] | None, *, engine: str, seed: int) -> None:
    """Run one inference and print its outputs; then what each layer takes, unless the NumPy twin ran it."""
    from edgeq.analysis.compare import random_inputs
    from edgeq.report import table

    if feed is None:
        *_, codes = random_inputs(model.plan, count=3, seed=seed)  # the first two are extremes
    else:
        codes = model.encode(feed)
    twin = engine == "reference"
    result = model.run_codes(codes, engine=engine) if twin else target.run([codes], False)[0]
    console = table.make_console()
    rows = [("inputs", f"random codes with seed {seed}" if feed is None else "the file's arrays")]
    for port, array in zip(model.outputs, model.decode(result.outputs), strict=True):
        values = " ".join(f"{value:.4g}" for value in array.reshape(-1)[:SHOWN_VALUES])
        more = f" ... ({array.size} values)" if array.size > SHOWN_VALUES else ""
        rows.append((f"output {port.name}", f"{values}{more}"))
    table.facts(console, rows)
    if not twin:
        table.show_profile(console, target.profile(codes, PROFILED_RUNS))

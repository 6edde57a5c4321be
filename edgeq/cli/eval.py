# SPDX-License-Identifier: Apache-2.0
"""edgeq eval: accuracy of a source model or a converted one on labelled samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeq.cli._options import BoardOption, JsonOption, QuietOption, SshOption, ToolchainOption

if TYPE_CHECKING:
    from edgeq.analysis.accuracy import Accuracy


def command(
    model: Annotated[Path, typer.Argument(metavar="M", show_default=False, help="an .eqm file or a source model")],
    data: Annotated[
        Path, typer.Option("--data", metavar="D", show_default=False, help="samples with labels in y, .npz or .py")
    ],
    minimum: Annotated[
        str | None, typer.Option("--min", metavar="V", help="fail below this value: 0.97 or 97%")
    ] = None,
    max_drop: Annotated[
        str | None,
        typer.Option("--max-drop", metavar="P", help="fail when it is worse than --source by more: 0.01 or 1%"),
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--source", metavar="M0", help="the model that --max-drop means")
    ] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", metavar="top1|mse", help="top1 for class labels, mse for real targets")
    ] = None,
    board: BoardOption = None,
    ssh: SshOption = None,
    toolchain: ToolchainOption = None,
    json: JsonOption = None,
    quiet: QuietOption = False,
) -> None:
    """Measure accuracy with a 95 % interval; a float model is evaluated in float.

    Ends with exit code 4 when --min or --max-drop is missed; the report comes first.
    """
    from edgeq.analysis.accuracy import Gate
    from edgeq.cli._output import emit
    from edgeq.cli._paths import require_new_files
    from edgeq.errors import UsageError
    from edgeq.report import table
    from edgeq.report.json_report import eval_report

    if (max_drop is None) != (source is None):
        raise UsageError("--max-drop and --source go together: the drop is counted from the source model")
    is_fraction = metric != "mse"
    gate = Gate(
        None if minimum is None else _number(minimum, "--min", is_fraction=is_fraction),
        None if max_drop is None else _number(max_drop, "--max-drop", is_fraction=is_fraction),
    )
    require_new_files([json], inputs=[model, data, source])
    found = _evaluate(model, data, metric, board=board, ssh=ssh, toolchain=toolchain, quiet=quiet)
    if found.metric == "mse" and minimum is not None:
        raise UsageError("--min is for metrics that should be high, mse should be low", hint="use --max-drop")
    original = None if source is None else _evaluate(source, data, found.metric, quiet=quiet)
    emit(
        eval_report(found),
        lambda: table.show_accuracy(table.make_console(), found, model=str(model), source=original),
        json=json,
        quiet=quiet,
    )
    gate.check(found, original)


def _evaluate(
    model: Path,
    data: Path,
    metric: str | None,
    *,
    board: str | None = None,
    ssh: str | None = None,
    toolchain: str | None = None,
    quiet: bool,
) -> Accuracy:
    from edgeq.analysis.accuracy import evaluate
    from edgeq.analysis.samples import leading_size, one_by_one
    from edgeq.cli._arrays import port_specs
    from edgeq.cli._engine import open_engine
    from edgeq.cli._model import open_model, read_float
    from edgeq.cli._output import progress
    from edgeq.cli._paths import naming
    from edgeq.errors import UsageError
    from edgeq.ops.execute import run_float
    from edgeq.quantize.data import load_data
    from edgeq.rewrite.batch import evaluation_batch

    graph = read_float(model)
    if graph is not None:
        if board is not None:
            raise UsageError(f"{str(model)!r} is a float model, a board runs integers", hint="convert it first")
        samples = load_data(data, graph)
        several, size = evaluation_batch(graph, 32)
        with naming(data), progress("evaluating", total=samples.count, quiet=quiet) as seen:
            run = one_by_one(lambda feed: run_float(several, feed))
            return evaluate(run, samples.read(), size=size, metric=metric, progress=seen)
    opened = open_model(model, board=board)
    samples = load_data(data, port_specs(opened.inputs))
    size = leading_size([port.shape for port in opened.inputs])
    with (
        naming(data),
        open_engine(opened, board=board, ssh=ssh, toolchain=toolchain) as engine,
        progress("evaluating", total=samples.count, quiet=quiet) as seen,
    ):
        return evaluate(engine.runner(opened), samples.read(), size=size, metric=metric, progress=seen)


def _number(text: str, option: str, *, is_fraction: bool) -> float:
    """Read a bound; as a fraction it is 0 to 1 or has a percent sign, so that 1 is never mistaken for 1 %."""
    from edgeq.errors import UsageError

    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise UsageError(f"{option} is a number, {text!r} found") from None
    largest = 1.0 if option == "--min" or text.endswith("%") else 0.999999
    if is_fraction and not 0 <= value <= largest:
        raise UsageError(f"{option} {text} is no fraction of 1", hint="write 0.01 or 1% for one in a hundred")
    if not value >= 0:
        raise UsageError(f"{option} is a number of at least 0, {text!r} found")
    return value

# SPDX-License-Identifier: Apache-2.0
"""edgeq eval: accuracy of a source model or a converted one on labelled samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeq.cli._options import BoardOption, JsonOption, QuietOption, SshOption, ToolchainOption

if TYPE_CHECKING:
    from edgeq.analysis.accuracy import Accuracy
    from edgeq.analysis.metrics import Metric


def command(
    model: Annotated[Path, typer.Argument(metavar="M", show_default=False, help="an .eqm file or a source model")],
    data: Annotated[
        Path, typer.Option("--data", metavar="D", show_default=False, help="samples with labels in y, .npz or .py")
    ],
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="FILE", help="labels for data without y, .npy, .npz or .csv")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="top1, top5 (any number), f1, f1:micro, f1:weighted, f1:binary, auc, mse, nats, perplexity or "
            "FILE.py:FUNCTION; if not named, top1 for class labels and mse for others",
        ),
    ] = None,
    minimum: Annotated[
        str | None, typer.Option("--min", metavar="V", help="fail below this value: 0.97 or 97%")
    ] = None,
    maximum: Annotated[
        str | None, typer.Option("--max", metavar="V", help="fail above this value, for mse and the like")
    ] = None,
    max_drop: Annotated[
        str | None,
        typer.Option("--max-drop", metavar="P", help="fail when it is worse than --source by more: 0.01 or 1%"),
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--source", metavar="M0", help="the model to compare with on the same samples")
    ] = None,
    board: BoardOption = None,
    ssh: SshOption = None,
    toolchain: ToolchainOption = None,
    json: JsonOption = None,
    quiet: QuietOption = False,
) -> None:
    """Measure accuracy with a 95 % interval; a float model is evaluated in float.

    With --source, also the difference from that model with its own interval, how often both have the same argmax, and
    the signal-to-noise ratio of the outputs. The function of FILE.py:FUNCTION gets arrays (outputs, labels) and returns
    one score per sample or one number; larger is better unless it has an attribute larger_is_better = False.

    Ends with exit code 4 when --min, --max or --max-drop is missed; the report comes first.
    """
    from edgeq.analysis.accuracy import Gate
    from edgeq.analysis.metrics import parse_metric
    from edgeq.cli._bounds import read_bound
    from edgeq.cli._output import emit
    from edgeq.cli._paths import require_new_files
    from edgeq.errors import UsageError
    from edgeq.report.accuracy_table import show_accuracy
    from edgeq.report.json_report import eval_report
    from edgeq.report.table import make_console

    if max_drop is not None and source is None:
        raise UsageError("--max-drop needs --source, the model that the drop is counted from")
    chosen = None if metric is None else parse_metric(metric)
    is_fraction = maximum is None if chosen is None else chosen.is_fraction
    gate = Gate(
        minimum=read_bound(minimum, "--min", is_fraction=is_fraction),
        maximum=read_bound(maximum, "--max", is_fraction=is_fraction),
        max_drop=read_bound(max_drop, "--max-drop", is_fraction=is_fraction),
    )
    if chosen is not None:
        gate.require_direction(chosen.name, larger_is_better=chosen.larger_is_better)
    require_new_files([json], inputs=[model, data, labels, source])
    found = _evaluate(
        model, data, labels, chosen, source=source, board=board, ssh=ssh, toolchain=toolchain, quiet=quiet
    )
    gate.require_direction(found.metric, larger_is_better=found.larger_is_better)
    emit(
        eval_report(found),
        lambda: show_accuracy(make_console(), found, model=str(model), source=None if source is None else str(source)),
        json=json,
        quiet=quiet,
    )
    gate.check(found)


def _evaluate(
    model: Path,
    data: Path,
    labels: Path | None,
    metric: Metric | None,
    *,
    source: Path | None,
    board: str | None,
    ssh: str | None,
    toolchain: str | None,
    quiet: bool,
) -> Accuracy:
    from contextlib import ExitStack

    from edgeq import api
    from edgeq.analysis.accuracy import evaluate
    from edgeq.cli._engine import open_engine
    from edgeq.cli._model import open_model, read_float
    from edgeq.cli._output import progress
    from edgeq.cli._paths import naming
    from edgeq.errors import UsageError

    with ExitStack() as opened:
        if read_float(model) is None:
            integers = open_model(model, board=board)
            engine = opened.enter_context(open_engine(integers, board=board, ssh=ssh, toolchain=toolchain))
            run = api.runner(integers, lambda codes: engine.run(codes, False))
            subject = api.subject_of(integers, data, labels=labels, run=run)
        elif board is not None or ssh is not None:
            raise UsageError(f"{str(model)!r} is a float model, a board runs integers", hint="convert it first")
        else:
            subject = api.subject_of(model, data, labels=labels)
        original = None if source is None else api.subject_of(source, data, labels=labels)
        with naming(data), progress("evaluating", total=subject.samples.count, quiet=quiet) as seen:
            return evaluate(subject, metric=metric, source=original, progress=seen)

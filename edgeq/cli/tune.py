# SPDX-License-Identifier: Apache-2.0
"""edgeq tune: the recipe that keeps a board's budgets, found by trying."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeq.cli._options import HtmlOption, JsonOption, QuietOption

if TYPE_CHECKING:
    from edgeq.analysis.tune import Options, Tuning
    from edgeq.ir.graph import Graph


def command(
    source: Annotated[Path, typer.Argument(metavar="M", show_default=False, help="the float model, a .tflite file")],
    data: Annotated[
        Path,
        typer.Option("--data", metavar="D", show_default=False, help="samples to calibrate with, .npz or .py"),
    ],
    board: Annotated[
        str, typer.Option("--board", metavar="NAME", show_default=False, help="a board, see edgeq boards")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="M.eqm", help="write the chosen model, its recipe beside it"),
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option("--validation", metavar="V", help="samples to score models on, with labels y; if not given, D"),
    ] = None,
    max_flash: Annotated[
        str | None, typer.Option("--max-flash", metavar="SIZE", help="bytes of the model file: 38400, 38.4kB, 64KiB")
    ] = None,
    max_ram: Annotated[str | None, typer.Option("--max-ram", metavar="SIZE", help="bytes of the arena")] = None,
    max_ms: Annotated[
        float | None, typer.Option("--max-ms", metavar="T", help="predicted milliseconds of an inference on one core")
    ] = None,
    max_drop: Annotated[
        str | None,
        typer.Option(
            "--max-drop",
            metavar="P",
            help="how much worse than the float model: 0.01 or 1%; if not given, 1% where the metric is a fraction",
        ),
    ] = None,
    choice: Annotated[
        list[str] | None,
        typer.Option(
            "--choice",
            metavar="NAME",
            help="what a layer may get, once for each: int16x8, int8, int4, int4-group, codebook4, codebook3, log4, "
            "apot4, ternary; all if not given",
        ),
    ] = None,
    points: Annotated[
        int, typer.Option("--points", metavar="N", min=0, help="models of the front that are built besides")
    ] = 4,
    jobs: Annotated[int, typer.Option("--jobs", "-j", metavar="N", min=1, help="processes that work at once")] = 1,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="draws the samples that measure layers")] = 0,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="FILE", help="where results are kept, so that a run can go on; else the cache"),
    ] = None,
    front: Annotated[
        Path | None, typer.Option("--front", metavar="F.csv", help="write the models that nothing beats as CSV")
    ] = None,
    html: HtmlOption = None,
    json: JsonOption = None,
    quiet: QuietOption = False,
) -> None:
    """Try recipes from the plainest on and stop at the first that keeps every budget.

    After int8 in several ways each layer gets a format of its own: the noise that each choice alone makes at the
    output is measured, and the choices with the least noise within the budgets are built and measured whole. A run that
    was interrupted goes on where it stopped. Ends with exit code 3 when flash, RAM or time is missed by everything that
    was tried, 4 when only the drop is; the report comes first and says what to relax.
    """
    from edgeq import api
    from edgeq.analysis.trials import Store
    from edgeq.analysis.tune import Budgets, Options, tune
    from edgeq.board import load_board
    from edgeq.cli._bounds import read_bound, read_size
    from edgeq.cli._model import read_float
    from edgeq.cli._output import emit
    from edgeq.cli._paths import naming, recipe_path, require_new_files
    from edgeq.errors import UsageError
    from edgeq.paths import write_files
    from edgeq.report.table import make_console
    from edgeq.report.tuning import front_csv, show_tuning, tune_report, tuning_page

    beside = None if output is None else recipe_path(output)
    require_new_files([output, beside, front, html, json, state], inputs=[source, data, validation])
    target = load_board(board)
    graph = read_float(source)
    if graph is None:
        raise UsageError(f"{str(source)!r} is no float model", hint="give the model before quantization")
    with naming(validation or data):
        is_fraction = _is_fraction(validation or data, graph)
    drop = read_bound(max_drop or ("1%" if is_fraction else None), "--max-drop", is_fraction=is_fraction)
    if max_ms is not None and not 0 < max_ms < float("inf"):
        raise UsageError(f"--max-ms is a number above 0, {max_ms:g} found")
    budgets = Budgets(read_size(max_flash, "--max-flash"), read_size(max_ram, "--max-ram"), max_ms, drop)
    options = Options(points=points, jobs=jobs, seed=seed)
    if choice:
        options = Options(menu=tuple(choice), points=points, jobs=jobs, seed=seed)
    inputs = _fingerprint([source, data, validation], board, options)
    store = Store(state or _state_path(inputs), inputs=inputs)
    found = tune(
        graph,
        data,
        board=target,
        budgets=budgets,
        validation=validation,
        options=options,
        store=store,
        progress=None if quiet else _say,
    )
    files: dict[Path, bytes] = {}
    if output is not None and beside is not None and found.chosen is not None:
        model = api.convert(source, data=data, recipe=found.chosen.recipe, board=board)
        assert model.recipe is not None
        files |= {output: model.data, beside: model.recipe.to_toml().encode()}
    if front is not None:
        files[front] = front_csv(found).encode()
    if html is not None:
        files[html] = tuning_page(found).encode()
    write_files(files)
    emit(tune_report(found), lambda: show_tuning(make_console(), found), json=json, quiet=quiet)
    _require_chosen(found)


def _say(what: str) -> None:
    """Tell on standard error what is done next, where a person watches."""
    import sys

    if sys.stderr.isatty():
        print(f"{what} ...", file=sys.stderr, flush=True)


def _is_fraction(data: Path, graph: Graph) -> bool:
    """Say whether the metric of these data is a fraction: that of class labels, or of an argmax without labels."""
    from edgeq.analysis.metrics import default_metric
    from edgeq.quantize.data import load_data

    _, labels = load_data(data, graph).first(1)
    if labels is not None:
        return default_metric(labels).is_fraction
    return graph.tensors[graph.outputs[0].tensor].elements > 1


def _fingerprint(files: list[Path | None], board: str, options: Options) -> str:
    """Return a digest of all that results depend on; budgets make no difference to them."""
    import hashlib

    from edgeq import __version__
    from edgeq.paths import read_bytes

    found = hashlib.sha256(f"{__version__} {board} {options.samples} {options.seed}".encode())
    for path in files:
        found.update(hashlib.sha256(b"" if path is None else read_bytes(path)).digest())
    return found.hexdigest()[:32]


def _state_path(inputs: str) -> Path:
    """Return the file in the cache that belongs to inputs."""
    from edgeq.errors import StorageError
    from edgeq.paths import cache_dir

    folder = cache_dir() / "tune"
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot create {str(folder)!r}: {error.strerror}", hint="name a --state") from None
    return folder / f"{inputs}.json"


def _require_chosen(found: Tuning) -> None:
    """Raise DoesNotFitError or AccuracyError where nothing kept the budgets."""
    from edgeq.errors import AccuracyError, DoesNotFitError

    if found.chosen is not None:
        return
    hint = "; ".join(found.advice)
    if any(set(missed) == {"drop"} for _, missed in found.trail):
        raise AccuracyError(f"no recipe for {found.name!r} that keeps the other budgets is accurate enough", hint=hint)
    raise DoesNotFitError(f"no recipe for {found.name!r} keeps the budgets on {found.board}", hint=hint)

# SPDX-License-Identifier: Apache-2.0
"""edgeq explain: where a quantized model loses accuracy, why, and what would bring it back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli._options import HtmlOption, JsonOption, QuietOption


def command(
    model: Annotated[Path, typer.Argument(metavar="M.eqm", show_default=False, help="the converted model")],
    source: Annotated[
        Path, typer.Option("--source", metavar="M", show_default=False, help="the float model that it was made from")
    ],
    data: Annotated[
        Path, typer.Option("--data", metavar="D", show_default=False, help="samples, with labels in y if there are any")
    ],
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", metavar="R", help="the recipe of the model, if not the one that lies beside it"),
    ] = None,
    html: HtmlOption = None,
    json: JsonOption = None,
    quiet: QuietOption = False,
) -> None:
    """Measure every layer alone and with all before it, name causes, and try what would help.

    Weights, activations and both are quantized on exact inputs; "accumulated" is what all layers before add to it, and
    "output" what the layer alone does to the model's output. Up to 256 samples are used.
    """
    from edgeq import api
    from edgeq.analysis.explain import SAMPLES, explain
    from edgeq.cli._model import read_float
    from edgeq.cli._output import emit, progress
    from edgeq.cli._paths import naming, recipe_path, require_new_files
    from edgeq.errors import UsageError
    from edgeq.paths import write_bytes
    from edgeq.quantize.data import load_data
    from edgeq.quantize.recipes import parse_recipe
    from edgeq.report.explanation import explain_report, explanation_page, show_explanation
    from edgeq.report.table import make_console
    from edgeq.rewrite.simplify import simplify_float

    require_new_files([html, json], inputs=[model, source, data])
    converted = api.load(model)
    if recipe is None and not recipe_path(model).is_file():
        raise UsageError(
            f"{str(recipe_path(model))!r}, the recipe of {str(model)!r}, is not there",
            hint="give it with --recipe, a file or a built-in name",
        )
    chosen = parse_recipe(recipe or str(recipe_path(model)))
    graph = read_float(source)
    if graph is None:
        raise UsageError(f"{str(source)!r} is no float model", hint="give the model from which edgeq quantized")
    with naming(data):
        samples, labels = load_data(data, graph).first(SAMPLES)
    with progress("explaining", quiet=quiet) as seen:
        found = explain(simplify_float(graph), samples, chosen, labels=labels, plan=converted.plan, progress=seen)
    if html is not None:
        write_bytes(html, explanation_page(found).encode())
    emit(explain_report(found), lambda: show_explanation(make_console(), found), json=json, quiet=quiet)

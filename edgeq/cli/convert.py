# SPDX-License-Identifier: Apache-2.0
"""edgeq convert: a source model to a model file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeq.cli._options import BoardOption, JsonOption, QuietOption, RoundingOption
from edgeq.errors import UsageError

if TYPE_CHECKING:
    from edgeq.quantize.recipe import Recipe


def command(
    source: Annotated[Path, typer.Argument(metavar="M", show_default=False, help="the source model, a .tflite file")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="M.eqm", show_default=False, help="the model file to write")
    ],
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="D", help="samples to calibrate a float model with, .npz or .py"),
    ] = None,
    recipe: Annotated[str, typer.Option("--recipe", metavar="R", help="a built-in recipe or a .toml file")] = "int8",
    board: BoardOption = None,
    rounding: RoundingOption = None,
    observer: Annotated[
        str | None,
        typer.Option(
            "--observer", metavar="METHOD", help="how ranges are found: mse, minmax, percentile:99.99 and others"
        ),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--inputs",
            metavar="RANGE",
            help="what is known of the inputs where there are no data: 0..1, or mean and deviation, 0+-1; once for all "
            "or for each in turn",
        ),
    ] = None,
    keep_tensors: Annotated[
        bool, typer.Option("--keep-tensors", help="let no tensors share memory, so that all can be read after a run")
    ] = False,
    fit: Annotated[
        bool, typer.Option("--fit", help="the smallest arena, at the cost of time; the integers stay the same")
    ] = False,
    emit_tflite: Annotated[
        Path | None,
        typer.Option(
            "--emit-tflite", metavar="F", help="also write a .tflite of the same integers; needs --rounding tflite"
        ),
    ] = None,
    json: JsonOption = None,
    quiet: QuietOption = False,
) -> None:
    """Convert a source model to an integer-only .eqm file, with the recipe it used beside it."""
    from edgeq import api
    from edgeq.cli._output import emit, progress
    from edgeq.cli._paths import recipe_path, require_new_files
    from edgeq.paths import write_files
    from edgeq.quantize.recipes import parse_recipe
    from edgeq.report import table
    from edgeq.report.json_report import inspect_report

    require_new_files([output, emit_tflite, json], inputs=[source, data])
    chosen = parse_recipe(recipe)
    if observer is not None:
        chosen = dataclasses.replace(chosen, observer=observer)
    if inputs:
        chosen = dataclasses.replace(chosen, inputs=tuple(inputs))
    if emit_tflite is not None:
        _require_tflite(chosen, rounding=rounding or chosen.rounding)
    with progress("calibrating", quiet=quiet) as seen:
        model = api.convert(
            source,
            data=data,
            recipe=chosen,
            board=board,
            rounding=rounding,
            keep_tensors=keep_tensors,
            fit=fit,
            progress=seen,
        )
    assert model.recipe is not None
    files = {output: model.data, recipe_path(output): model.recipe.to_toml().encode()}
    if emit_tflite is not None:
        files[emit_tflite] = model.tflite()
    write_files(files)

    def show() -> None:
        table.show_conversion(
            table.make_console(),
            model.plan,
            file_bytes=len(model.data),
            source_bytes=source.stat().st_size,
            output=str(output),
        )

    emit(inspect_report(model.plan, file_bytes=len(model.data)), show, json=json, quiet=quiet)


def _require_tflite(recipe: Recipe, *, rounding: str | None) -> None:
    """Raise UsageError for what a .tflite cannot hold: another rounding, or numbers other than int8 and int16."""
    if rounding != "tflite":
        raise UsageError("a .tflite holds LiteRT's integers only", hint="give --rounding tflite with --emit-tflite")
    if recipe.run_time_scales != "none":
        raise UsageError(
            f"a .tflite has no place for scales that recipe {recipe.name!r} finds at run time",
            hint="use a recipe that finds them beforehand, such as int8 or int16x8",
        )
    named = [recipe.weights, recipe.activations]
    for scope in recipe.scopes:
        named += [text for text in (scope.weights, scope.activations) if text is not None]
    for text in named:
        if text.partition(":")[0] not in ("int8", "int16"):
            raise UsageError(
                f"a .tflite has no place for {text!r} of recipe {recipe.name!r}",
                hint="use int8 weights with int8 or int16 activations, as the recipes int8 and int16x8 do",
            )

# SPDX-License-Identifier: Apache-2.0
"""Trials of a search for recipes: models that are built whole and measured, in several processes, once each."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import tomllib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeq.analysis.estimates import difference
from edgeq.analysis.layer_errors import likeness, run_decided
from edgeq.analysis.metrics import Metric, default_metric, parse_metric
from edgeq.analysis.predict import predict
from edgeq.analysis.samples import leading_size, one_by_one, run_samples
from edgeq.analysis.sensitivity import MENU, ChoiceCosts, Measured, measure_choice
from edgeq.board import Board
from edgeq.errors import BadInputError, EdgeqError, UsageError
from edgeq.format.write import write_model
from edgeq.ir.boundary import dequantize
from edgeq.ir.graph import Graph
from edgeq.ops.execute import run_float
from edgeq.paths import read_bytes, write_bytes
from edgeq.pipeline import convert_graph
from edgeq.quantize.data import DataSet, load_data, of_arrays
from edgeq.quantize.fidelity import run_codes
from edgeq.quantize.recipe import Recipe, read_recipe
from edgeq.quantize.static import decide
from edgeq.rewrite.batch import evaluation_batch, rebatch
from edgeq.rewrite.simplify import simplify_float

TOGETHER = 64  # samples that run at once

Data = Path | Sequence[np.ndarray]


def open_data(data: Data, graph: Graph) -> DataSet:
    """Open data given by their path or as one array (n, ...) per input."""
    return load_data(data, graph) if isinstance(data, Path) else of_arrays(data, graph)


@dataclass(frozen=True, eq=False)
class Work:
    """What all trials share: the float model, the board, calibration data, and samples on which models are scored.

    ``few`` are the samples on which layers are measured. ``labels`` go with ``rows``; without any in the data they are
    what the float model says. ``exact`` is the float model's first output on the rows.
    """

    graph: Graph
    board: Board
    data: Data
    few: list[np.ndarray]
    rows: list[np.ndarray]
    labels: np.ndarray
    metric: str
    exact: np.ndarray

    def scorer(self) -> Metric:
        """Return the metric that ``metric`` names."""
        return parse_metric("top1" if self.metric == "agreement" else self.metric)


def prepare(
    graph: Graph, data: Data, board: Board, *, validation: Data | None, few: list[np.ndarray], most: int
) -> Work:
    """Read the first ``most`` samples that models are scored on, those of ``validation`` if given, and run the float
    model on them."""
    rows, labels = open_data(data if validation is None else validation, graph).first(most)
    runner, size = evaluation_batch(simplify_float(graph), TOGETHER)
    exact = run_samples(one_by_one(lambda feed: run_float(runner, feed)), rows, size=size)[0]
    if labels is not None:
        return Work(graph, board, data, few, rows, labels, default_metric(labels).name, exact)
    flat = exact.reshape(len(exact), -1)
    if flat.shape[1] > 1:
        return Work(graph, board, data, few, rows, flat.argmax(axis=1), "agreement", exact)
    return Work(graph, board, data, few, rows, exact, "mse", exact)


@dataclass(frozen=True)
class Built:
    """A recipe and the model it gives: file and arena in bytes, predicted ms of an inference, None where not known.

    ``drop`` is how much worse the model is than the float one on the same samples, in the metric's own units, with its
    95 % interval.
    """

    label: str
    recipe: Recipe
    flash_bytes: int
    ram_bytes: int
    ms: float | None
    score: float
    drop: float
    interval: tuple[float, float]


def build(work: Work, label: str, recipe: Recipe) -> Built:
    """Convert by a recipe as ``edgeq convert`` does, and measure the result."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they come again when the chosen recipe is converted
        batches = open_data(work.data, work.graph).batches()
        converted = convert_graph(work.graph, recipe=recipe, batches=batches, board=work.board)
    plan, time = converted.plan, predict(converted.plan, work.board)
    metric = work.scorer()
    outputs = _outputs(converted.graph, work)
    found, source = (metric.estimate(metric.keep(array, work.labels)) for array in (outputs, work.exact))
    between = difference(found, source)
    low, high = between.interval
    sign = -1 if metric.larger_is_better else 1
    return Built(
        label=label,
        recipe=converted.recipe,
        flash_bytes=len(write_model(plan, board_class=work.board.board_class)),
        ram_bytes=plan.arena_bytes,
        ms=milliseconds(None if time is None else time.median, work.board),
        score=found.value,
        drop=sign * between.value,
        interval=(min(sign * low, sign * high), max(sign * low, sign * high)),
    )


def milliseconds(cycles: float | None, board: Board) -> float | None:
    """Return the time of cycles on a board's clock, None where either is not known."""
    return None if cycles is None or board.clock_hz is None else 1000 * cycles / board.clock_hz


def _outputs(quantized: Graph, work: Work) -> np.ndarray:
    """Return the first output (n, ...) of a quantized graph on the rows, as real numbers, by its integer twins."""
    _, size = evaluation_batch(simplify_float(work.graph), TOGETHER)
    own = leading_size([quantized.tensors[port.tensor].shape for port in quantized.inputs])
    twin = quantized if size == own else rebatch(quantized, size)
    codes = run_samples(one_by_one(lambda feed: run_codes(twin, feed)), work.rows, size=size)[0]
    params = twin.tensors[twin.outputs[0].tensor].quant
    return codes if params is None else dequantize(codes, params)


# ------------------------------------------------------------------------------------------------ done once


class Store:
    """Results by key in a JSON file, so that a search that was interrupted goes on; without a path, in memory.

    ``inputs`` tells apart the models, data and boards that results are for.
    """

    def __init__(self, path: Path | None = None, *, inputs: str = "") -> None:
        """Read what is there. Raises BadInputError for a file that is no store, UsageError for one of other inputs."""
        self.path, self.inputs = path, inputs
        self.results: dict[str, dict[str, Any]] = {}
        if path is None or not path.exists():
            return
        try:
            held = json.loads(read_bytes(path))
            found, results = held["inputs"], dict(held["results"])
        except (ValueError, KeyError, TypeError):
            raise BadInputError(
                f"{str(path)!r} holds no results of a search", hint="give the state another name"
            ) from None
        if found != inputs:
            raise UsageError(
                f"{str(path)!r} is the state of a search with another model, other data or another board",
                hint="give the state another name",
            )
        self.results = results

    def put(self, key: str, result: dict[str, Any]) -> None:
        """Add a result and write all of them, whole or not at all."""
        self.results[key] = result
        if self.path is not None:
            write_bytes(self.path, json.dumps({"inputs": self.inputs, "results": self.results}, indent=1).encode())


@dataclass(frozen=True)
class Failed:
    """A trial that cannot be."""

    reason: str


def run_builds(
    work: Work, recipes: Iterable[tuple[str, Recipe]], store: Store, *, jobs: int = 1
) -> list[Built | Failed]:
    """Build recipes, each under its label, or return what is stored of them."""
    wanted = [(f"build {recipe.to_toml()}", _build, (work, label, recipe)) for label, recipe in recipes]
    return [_built(result) for result in _run(wanted, store, jobs=jobs)]


def run_choices(
    work: Work, recipe: Recipe, names: Sequence[str], store: Store, *, jobs: int = 1
) -> dict[str, ChoiceCosts]:
    """Measure choices of the menu for every layer, or return what is stored; those that cannot be are left out."""
    wanted = [(f"choice {name} {recipe.to_toml()}", _measure, (work, recipe, name)) for name in names]
    found = zip(names, _run(wanted, store, jobs=jobs), strict=True)
    return {
        name: ChoiceCosts({layer: Measured(**values) for layer, values in result["layers"].items()}, result["arena"])
        for name, result in found
        if "failed" not in result
    }


def run_noises(work: Work, recipes: Mapping[str, Recipe], store: Store, *, jobs: int = 1) -> dict[str, float]:
    """Return the noise at the first output, error power over signal power, that recipes make on ``few``."""
    wanted = [(f"noise {recipe.to_toml()}", _noise, (work, recipe)) for recipe in recipes.values()]
    return {name: result["noise"] for name, result in zip(recipes, _run(wanted, store, jobs=jobs), strict=True)}


_Task = tuple[str, Callable[..., dict[str, Any]], tuple[Any, ...]]


def _run(tasks: Sequence[_Task], store: Store, *, jobs: int) -> list[dict[str, Any]]:
    """Return the results of tasks (key, function, arguments) in order; those that the store has are not run again."""
    missing = {key: (function, arguments) for key, function, arguments in tasks if key not in store.results}
    if jobs == 1 or len(missing) <= 1:
        for key, (function, arguments) in missing.items():
            store.put(key, function(*arguments))
    else:
        # a fresh interpreter for each: threads of numerical libraries do not survive a fork
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(jobs, len(missing)), mp_context=context) as pool:
            futures = {pool.submit(function, *arguments): key for key, (function, arguments) in missing.items()}
            for future in as_completed(futures):
                store.put(futures[future], future.result())
    return [store.results[key] for key, _, _ in tasks]


def _build(work: Work, label: str, recipe: Recipe) -> dict[str, Any]:
    try:
        built = build(work, label, recipe)
    except EdgeqError as error:  # which would not come back whole from another process
        return {"failed": str(error)}
    return {**dataclasses.asdict(built), "recipe": built.recipe.to_toml()}


def _built(result: dict[str, Any]) -> Built | Failed:
    if "failed" in result:
        return Failed(result["failed"])
    recipe = read_recipe(tomllib.loads(result["recipe"]), Recipe())
    return Built(**{**result, "recipe": recipe, "interval": tuple(result["interval"])})


def _noise(work: Work, recipe: Recipe) -> dict[str, Any]:
    exact, found = run_decided(decide(simplify_float(work.graph), [work.few], recipe), work.few)
    return {"noise": 10 ** (-likeness([exact], [found]).sqnr_db / 10)}


def _measure(work: Work, recipe: Recipe, name: str) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = measure_choice(simplify_float(work.graph), work.few, recipe, MENU[name], board=work.board)
    except EdgeqError as error:
        return {"failed": str(error)}
    return {
        "layers": {key: dataclasses.asdict(value) for key, value in found.layers.items()},
        "arena": found.arena_bytes,
    }

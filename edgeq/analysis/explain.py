# SPDX-License-Identifier: Apache-2.0
"""Explain where a quantized model loses accuracy, why, and what each remedy would bring, by trying it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgeq.analysis.causes import Cause, InputCheck, Remedy, check_inputs, find_causes
from edgeq.analysis.layer_errors import LayerError, likeness, measure_layers, run_decided
from edgeq.compile.plan import Plan
from edgeq.errors import BadInputError, UnsupportedError
from edgeq.ir.graph import Graph
from edgeq.quantize.recipe import Recipe
from edgeq.quantize.static import Decisions, decide
from edgeq.quantize.walk import fake_quantize

SAMPLES = 256  # are enough
MEASURED = 128  # samples on which layers are compared
PROPAGATED = 32  # samples on which a layer's effect at the model's output is measured
FOLLOWED = 24  # layers whose effect at the model's output is measured, those that lose most
EXPLAINED = 6  # layers whose causes are looked for


@dataclass(frozen=True)
class Counterfactual:
    """A remedy that was tried: the SQNR of the layer and of the model's output, and the score, before and after."""

    remedy: str
    recipe: Recipe
    layer_db: tuple[float, float]
    output_db: tuple[float, float]
    score: tuple[float, float]


@dataclass(frozen=True)
class Finding:
    """A cause in a layer, and what the remedies for it bring, the best first."""

    layer: str
    op: str
    cause: Cause
    counterfactuals: tuple[Counterfactual, ...]


@dataclass(frozen=True)
class Explained:
    """A layer's errors, and the SQNR of the model's output when nothing but this layer is quantized, if measured."""

    error: LayerError
    output_db: float | None


@dataclass(frozen=True, eq=False)
class Picture:
    """The first sample of an input that is an image, (h, w, 1 or 3): as it came, and as the model's codes show it."""

    name: str
    exact: np.ndarray
    found: np.ndarray


@dataclass(frozen=True)
class Explanation:
    """``score`` is the accuracy on labels, or without them the share of samples with the float model's argmax."""

    name: str
    samples: int
    metric: str
    exact_score: float
    score: float
    output_db: float
    inputs: tuple[InputCheck, ...]
    layers: tuple[Explained, ...]
    findings: tuple[Finding, ...]
    pictures: tuple[Picture, ...]


def explain(
    graph: Graph,
    samples: Sequence[np.ndarray],
    recipe: Recipe,
    *,
    labels: np.ndarray | None = None,
    plan: Plan | None = None,
    progress: Callable[[int], None] | None = None,
) -> Explanation:
    """Quantize a float graph by a recipe and explain what is lost on the samples, one array (n, ...) per input.

    ``labels`` (n,) of integers are classes; others are not looked at. With ``plan``, a model made from this graph,
    activations have its parameters instead of those that the samples would give. ``progress`` is called with the number
    of steps done. Raises BadInputError for a plan that shares no computed tensor with the graph, UnsupportedError for a
    recipe with scales at run time.
    """
    if recipe.run_time_scales != "none":
        raise UnsupportedError(
            f"recipe {recipe.name!r} finds scales at run time, what such layers lose is not measured one by one",
            hint="edgeq eval --source compares the whole model with its source",
        )
    if labels is not None and (labels.ndim != 1 or labels.dtype.kind not in "iu"):
        labels = None
    steps = _Steps(progress)
    own = decide(graph, [samples], recipe)
    decisions = own if plan is None else _with_params(own, plan)
    steps.done()
    judge = _Judge(samples, labels)
    before = judge.of(decisions)
    few = [array[:MEASURED] for array in samples]
    errors = measure_layers(decisions, few)
    steps.done()
    layers = _followed(decisions, errors, [array[:PROPAGATED] for array in samples])
    steps.done()

    trials: dict[Recipe, tuple[_Outcome, list[LayerError]]] = {}

    def attempt(remedy: Remedy, layer: LayerError) -> Counterfactual:
        changed = remedy.change(recipe)
        if changed not in trials:  # the same remedy may serve several layers
            after = decide(graph, [samples], changed)
            trials[changed] = judge.of(after), measure_layers(after, few)
            steps.done()
        measured, layers = trials[changed]
        found = [error.both.sqnr_db for error in layers if error.name == layer.name]
        return Counterfactual(
            remedy.text,
            changed,
            (layer.both.sqnr_db, found[0] if found else math.nan),
            (before.output_db, measured.output_db),
            (before.score, measured.score),
        )

    nodes = {node.outputs[0]: node for node in decisions.typed.graph.nodes}
    findings = []
    for layer in sorted(layers, key=_loss)[:EXPLAINED]:
        error = layer.error
        for cause in find_causes(decisions, error, nodes[error.tensor], recipe):
            tried = [attempt(remedy, error) for remedy in cause.remedies]
            tried.sort(key=lambda found: -found.output_db[1])
            findings.append(Finding(error.name, error.op, cause, tuple(tried)))
    findings.sort(key=lambda finding: -max((found.output_db[1] for found in finding.counterfactuals), default=0.0))
    return Explanation(
        name=graph.name,
        samples=len(samples[0]),
        metric="agreement" if labels is None else "top1",
        exact_score=before.exact_score,
        score=before.score,
        output_db=before.output_db,
        inputs=tuple(_inputs(decisions, samples)),
        layers=tuple(layers),
        findings=tuple(findings),
        pictures=tuple(_pictures(decisions, samples)),
    )


class _Steps:
    """Counts what is done."""

    def __init__(self, progress: Callable[[int], None] | None) -> None:
        self.count = 0
        self.progress = progress

    def done(self) -> None:
        self.count += 1
        if self.progress is not None:
            self.progress(self.count)


@dataclass(frozen=True)
class _Outcome:
    output_db: float
    exact_score: float
    score: float


@dataclass(frozen=True, eq=False)
class _Judge:
    """Measures what becomes of the samples."""

    samples: Sequence[np.ndarray]
    labels: np.ndarray | None

    def of(self, decisions: Decisions) -> _Outcome:
        """Return the output's SQNR in dB, the float model's score and the quantized one's."""
        exact, found = run_decided(decisions, self.samples)
        wanted = exact.reshape(len(exact), -1).argmax(axis=1)
        got = found.reshape(len(found), -1).argmax(axis=1)
        truth = wanted if self.labels is None else self.labels[: len(exact)]
        noise = likeness([exact], [found]).sqnr_db
        return _Outcome(noise, float(np.mean(wanted == truth)), float(np.mean(got == truth)))


def _loss(layer: Explained) -> float:
    return layer.error.both.sqnr_db if layer.output_db is None else layer.output_db


def _with_params(decisions: Decisions, plan: Plan) -> Decisions:
    """Return the decisions with the parameters that a model's tensors of the same name have."""
    values = {tensor.name: plan.values[tensor.value] for tensor in plan.tensors}
    params, dtypes = dict(decisions.params), dict(decisions.typed.dtypes)
    inputs = {port.tensor for port in decisions.typed.graph.inputs}  # another model's may have the same names
    shared = 0
    for index in params:
        value = values.get(decisions.typed.graph.tensors[index].name)
        if value is not None and value.quant is not None and value.dtype is dtypes[index]:
            params[index] = value.quant
            shared += index not in inputs
    if not shared:
        raise BadInputError(
            f"model {plan.name!r} computes no tensor of {decisions.typed.graph.name!r}",
            hint="give the source model and the recipe that it was made from",
        )
    return dataclasses.replace(decisions, params=params)


def _followed(decisions: Decisions, errors: list[LayerError], samples: Sequence[np.ndarray]) -> list[Explained]:
    """Add what each of the worst layers alone does to the model's output."""
    worst = sorted(errors, key=lambda error: error.both.sqnr_db)[:FOLLOWED]
    chosen = {error.tensor for error in worst}
    found = []
    for error in errors:
        if error.tensor not in chosen:
            found.append(Explained(error, None))
            continue
        alone = dataclasses.replace(
            decisions,
            params={index: params for index, params in decisions.params.items() if index == error.tensor},
            rounded={index: rounded for index, rounded in decisions.rounded.items() if index == error.tensor},
        )
        exact, changed = run_decided(alone, samples)
        found.append(Explained(error, likeness([exact], [changed]).sqnr_db))
    return found


def _inputs(decisions: Decisions, samples: Sequence[np.ndarray]) -> list[InputCheck]:
    ports = decisions.typed.graph.inputs
    params, dtypes = decisions.params, decisions.typed.dtypes
    known = [(params[port.tensor], dtypes[port.tensor]) if port.tensor in params else None for port in ports]
    return check_inputs(ports, samples, known)


def _pictures(decisions: Decisions, samples: Sequence[np.ndarray]) -> list[Picture]:
    found = []
    for port, array in zip(decisions.typed.graph.inputs, samples, strict=True):
        if port.tensor in decisions.params and array.ndim == 4 and array.shape[3] in (1, 3):
            shown = fake_quantize(array[0], decisions.params[port.tensor], decisions.typed.dtypes[port.tensor])
            found.append(Picture(port.name, array[0], shown))
    return found

# SPDX-License-Identifier: Apache-2.0
"""Accuracy of a model on labelled samples, with an interval that says how far the samples can be trusted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from edgeq.analysis.samples import Runner, run_samples
from edgeq.errors import AccuracyError, BadInputError, UsageError
from edgeq.quantize.data import Batch

METRICS = ("top1", "mse")
_Z = 1.959963984540054  # the normal quantile of a two-sided 95 % interval


@dataclass(frozen=True)
class Accuracy:
    """A metric over ``samples`` samples with its 95 % interval; top1 is a fraction, mse in squared output units."""

    metric: str
    value: float
    interval: tuple[float, float]
    samples: int

    def drop_from(self, source: Accuracy) -> float:
        """Return how much worse this is than ``source``: points lost for top1, what was gained for mse."""
        return source.value - self.value if self.metric == "top1" else self.value - source.value


def evaluate(
    run: Runner,
    batches: Iterable[Batch],
    *,
    size: int,
    metric: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Accuracy:
    """Measure the first output of ``run``, which takes ``size`` samples, against the labels.

    The metric, if not named, is top1 for integer labels with one number per sample, else mse. Raises BadInputError
    for data without samples or labels, and labels that do not go with the output or the metric; UsageError for an
    unknown metric.
    """
    if metric is not None and metric not in METRICS:
        raise UsageError(f"there is no metric {metric!r}", hint=f"metrics are {', '.join(METRICS)}")
    scores: list[np.ndarray] = []
    done = 0
    for batch in batches:
        if batch.labels is None:
            raise BadInputError("the data have no labels", hint="put them into an array y beside the inputs")
        if len(batch.labels) == 0:
            continue
        metric = metric or ("top1" if batch.labels.dtype.kind in "iu" and batch.labels.ndim == 1 else "mse")
        output = run_samples(run, batch.inputs, size=size)[0]
        scores.append((_hits if metric == "top1" else _errors)(output, batch.labels))
        done += len(output)
        if progress is not None:
            progress(done)
    if metric is None or done == 0:
        raise BadInputError("the data hold no samples")
    values = np.concatenate(scores)
    if metric == "top1":
        hits = int(values.sum())
        return Accuracy(metric, hits / done, wilson_interval(hits, done), done)
    return Accuracy(metric, float(values.mean()), normal_interval(values), done)


def _hits(output: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return 1 where the largest of a sample's scores is its label's."""
    flat = output.reshape(len(output), -1)
    if flat.shape[1] < 2:
        raise BadInputError("top1 compares scores, the output has one number per sample", hint="use --metric mse")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise BadInputError(
            f"top1 needs labels (n,) of integers, {labels.dtype} of shape {list(labels.shape)} found",
            hint="use --metric mse for real-valued targets",
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= flat.shape[1]))
    if wrong.size:
        raise BadInputError(f"label {labels[wrong[0]]} found, the output has {flat.shape[1]} scores")
    return np.asarray(flat.argmax(axis=1) == labels, np.float64)


def _errors(output: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the mean squared error of each sample, in float64."""
    if labels.size != output.size:
        raise BadInputError(f"targets of shape {list(labels.shape)} given for outputs of shape {list(output.shape)}")
    differences = output.astype(np.float64) - labels.reshape(output.shape).astype(np.float64)
    if not np.isfinite(differences).all():
        raise BadInputError("an output or a target is not finite")
    return np.asarray((differences.reshape(len(output), -1) ** 2).mean(axis=1))


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a proportion (Wilson 1927); it stays within [0, 1] and holds hits / count."""
    share, spread = hits / count, _Z * _Z / count
    middle = (share + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return (0.0 if hits == 0 else middle - half), (1.0 if hits == count else middle + half)


def normal_interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of a mean from its standard error; from minus to plus infinity for one value."""
    if len(values) < 2:
        return -math.inf, math.inf
    half = _Z * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half


@dataclass(frozen=True)
class Gate:
    """What must hold: at least ``minimum``, or at most ``max_drop`` worse than the source model."""

    minimum: float | None = None
    max_drop: float | None = None

    def check(self, found: Accuracy, source: Accuracy | None = None) -> None:
        """Raise AccuracyError with both numbers when the gate is missed; a value that is not a number misses it."""
        if self.minimum is not None and not found.value >= self.minimum:
            raise AccuracyError(f"{found.metric} is {found.value:.6g}, at least {self.minimum:.6g} was asked")
        if self.max_drop is not None:
            assert source is not None
            drop = found.drop_from(source)
            if not drop <= self.max_drop:
                raise AccuracyError(
                    f"{found.metric} is {found.value:.6g}, the source model has {source.value:.6g}: "
                    f"{drop:.6g} worse, at most {self.max_drop:.6g} was asked"
                )

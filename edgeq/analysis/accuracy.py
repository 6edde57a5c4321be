# SPDX-License-Identifier: Apache-2.0
"""Accuracy of a model on labelled samples, with an interval that says how far the samples can be trusted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from edgeq.analysis.estimates import Interval, difference
from edgeq.analysis.metrics import Kept, Metric, by_position, default_metric, parse_metric
from edgeq.analysis.samples import Runner, run_samples
from edgeq.errors import AccuracyError, BadInputError, UsageError
from edgeq.quantize.data import Batch, DataSet, require_finite_samples


@dataclass(frozen=True)
class Subject:
    """A model to be measured: what runs it, how many samples an inference takes, and the samples with their labels."""

    run: Runner
    size: int
    samples: DataSet


@dataclass(frozen=True)
class Accuracy:
    """A metric over ``samples`` samples with its 95 % interval; ``against`` compares it with a source model's."""

    metric: str
    value: float
    interval: Interval
    samples: int
    larger_is_better: bool = True
    is_fraction: bool = True
    against: Comparison | None = None

    def drop_from(self, source: Accuracy) -> float:
        """Return how much worse this is than ``source``, in the metric's own units."""
        return source.value - self.value if self.larger_is_better else self.value - source.value


@dataclass(frozen=True)
class Comparison:
    """How a model's first output differs from its source model's on the same samples.

    ``difference`` is the model's metric less the source's, its interval from pairs of the same sample. ``agreement`` is
    the share of samples, or of the positions that they score, with the same argmax; None where that is of one number.
    ``sqnr_db`` is 10 log10(sum source^2 / sum (source - model)^2) over all numbers: infinite where they are equal.
    """

    source: Accuracy
    difference: float
    interval: Interval
    agreement: float | None
    sqnr_db: float


def evaluate(
    model: Subject,
    *,
    metric: Metric | str | None = None,
    source: Subject | None = None,
    progress: Callable[[int], None] | None = None,
) -> Accuracy:
    """Measure a model's first output against the labels, and against a source model's on the same samples if given.

    The metric, if not named, is top1 for integer labels with one number per sample, else mse. ``progress`` is called
    with the samples seen so far. Outputs are kept only where the metric is no mean over samples.

    Raises BadInputError for data without samples or labels, labels that do not go with the output or the metric, and
    batches that are not the same for both models; InvalidValueError for NaN or infinity; UsageError for an unknown
    metric.
    """
    chosen = parse_metric(metric) if isinstance(metric, str) else metric
    subjects = [model] if source is None else [model, source]
    kept: list[list[Kept]] = [[] for _ in subjects]
    likeness = _Likeness()
    done = 0
    for batches in _together(subjects):
        labels = _labels_of(batches, done)
        chosen = chosen or default_metric(labels)
        outputs = [_output(subject, batch, done) for subject, batch in zip(subjects, batches, strict=True)]
        for parts, output in zip(kept, outputs, strict=True):
            parts.append(chosen.keep(output, labels))
        if source is not None:
            likeness.add(outputs[0], outputs[1], labels)
        done += len(labels)
        if progress is not None:
            progress(done)
    if chosen is None or done == 0:
        raise BadInputError("the data hold no samples")
    estimates = [chosen.estimate(tuple(map(np.concatenate, zip(*parts, strict=True)))) for parts in kept]
    measured = [
        Accuracy(chosen.name, e.value, e.interval, done, chosen.larger_is_better, chosen.is_fraction) for e in estimates
    ]
    if source is None:
        return measured[0]
    between = difference(*estimates)
    against = Comparison(measured[1], between.value, between.interval, likeness.agreement, likeness.sqnr_db)
    return dataclasses.replace(measured[0], against=against)


def _together(subjects: Sequence[Subject]) -> Iterator[tuple[Batch, ...]]:
    """Yield the batches of all subjects side by side, those without samples left out."""
    for batches in zip_longest(*(subject.samples.read() for subject in subjects)):
        if None in batches:
            raise BadInputError("the data give fewer batches when they are read again")
        if len(batches[0].inputs[0]):
            yield batches


def _labels_of(batches: Sequence[Batch], done: int) -> np.ndarray:
    """Return the labels of a batch, which are the same each time that it is read."""
    labels = batches[0].labels
    if labels is None:
        raise BadInputError(
            "the data have no labels", hint="put them into an array y beside the inputs, or use --labels"
        )
    if labels.dtype.kind not in "biuf":
        raise BadInputError(f"labels are numbers, {labels.dtype} found")
    require_finite_samples(labels, "the label", before=done)
    if any(batch.labels is None or not np.array_equal(labels, batch.labels) for batch in batches[1:]):
        raise BadInputError("the data give other labels when they are read again")
    return labels


def _output(subject: Subject, batch: Batch, done: int) -> np.ndarray:
    for number, array in enumerate(batch.inputs):
        require_finite_samples(array, f"input {number}", before=done)
    output = run_samples(subject.run, batch.inputs, size=subject.size)[0]
    require_finite_samples(output, "the output", before=done)
    return output


@dataclass
class _Likeness:
    """Sums over the outputs of a model and its source, batch by batch."""

    signal: float = 0.0
    noise: float = 0.0
    same: int = 0
    compared: int = 0

    def add(self, output: np.ndarray, reference: np.ndarray, labels: np.ndarray) -> None:
        """Add a batch. Raises BadInputError for outputs of different sizes."""
        if output.size != reference.size:
            raise BadInputError(
                f"the source model's output has shape {list(reference.shape[1:])}, this one's {list(output.shape[1:])}"
            )
        found, expected = (by_position(array, labels).astype(np.float64) for array in (output, reference))
        self.signal += float(np.sum(expected**2))
        self.noise += float(np.sum((expected - found) ** 2))
        if found.shape[2] > 1:
            self.same += int((found.argmax(axis=2) == expected.argmax(axis=2)).sum())
            self.compared += found.shape[0] * found.shape[1]

    @property
    def agreement(self) -> float | None:
        return self.same / self.compared if self.compared else None

    @property
    def sqnr_db(self) -> float:
        if self.noise == 0:
            return math.inf
        return 10 * math.log10(self.signal / self.noise) if self.signal else -math.inf


@dataclass(frozen=True)
class Gate:
    """What must hold: at least ``minimum``, at most ``maximum``, at most ``max_drop`` worse than the source model."""

    minimum: float | None = None
    maximum: float | None = None
    max_drop: float | None = None

    def require_direction(self, metric: str, *, larger_is_better: bool) -> None:
        """Raise UsageError for a bound on the side where the metric should be good."""
        if self.minimum is not None and not larger_is_better:
            raise UsageError(f"--min is for metrics that should be high, {metric} should be low", hint="use --max")
        if self.maximum is not None and larger_is_better:
            raise UsageError(f"--max is for metrics that should be low, {metric} should be high", hint="use --min")

    def check(self, found: Accuracy) -> None:
        """Raise AccuracyError with both numbers when the gate is missed; a value that is not a number misses it."""
        if self.minimum is not None and not found.value >= self.minimum:
            raise AccuracyError(f"{found.metric} is {found.value:.6g}, at least {self.minimum:.6g} was asked")
        if self.maximum is not None and not found.value <= self.maximum:
            raise AccuracyError(f"{found.metric} is {found.value:.6g}, at most {self.maximum:.6g} was asked")
        if self.max_drop is not None:
            assert found.against is not None
            source = found.against.source
            drop = found.drop_from(source)
            if not drop <= self.max_drop:
                raise AccuracyError(
                    f"{found.metric} is {found.value:.6g}, the source model has {source.value:.6g}: "
                    f"{drop:.6g} worse, at most {self.max_drop:.6g} was asked"
                )

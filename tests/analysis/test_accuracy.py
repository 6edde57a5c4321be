# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from edgeq.analysis.accuracy import Accuracy, Comparison, Gate, Subject, evaluate
from edgeq.analysis.estimates import newcombe_interval, normal_interval
from edgeq.errors import AccuracyError, BadInputError, InvalidValueError, UsageError
from edgeq.quantize.data import Batch, DataSet

Feeds = list[list[np.ndarray]]


def _samples(labels: np.ndarray | None, size: int, *, inputs: np.ndarray | None = None) -> DataSet:
    """Return samples numbered from 0, in batches of a size."""
    if inputs is None:
        assert labels is not None
        inputs = np.arange(len(labels))[:, None].astype(np.float32)
    rows = [slice(start, start + size) for start in range(0, len(inputs), size)]
    batches = [Batch([inputs[part]], None if labels is None else labels[part]) for part in rows]
    return DataSet("samples", len(inputs), lambda: iter(batches))


def _echo(feeds: Feeds) -> Feeds:
    """Score the class that is the sample's number modulo 10."""
    return [[np.eye(10)[feed[0][:, 0].astype(int) % 10]] for feed in feeds]


def _identity(feeds: Feeds) -> Feeds:
    return feeds


def _of_list(outputs: np.ndarray) -> Subject:
    """Return a model whose output on sample number i is outputs[i], with labels 0."""
    samples = _samples(np.zeros(len(outputs), np.int64), 4)
    return Subject(lambda feeds: [[outputs[feed[0][:, 0].astype(int)]] for feed in feeds], 1, samples)


def test_top1_counts_the_samples_whose_largest_score_is_the_label() -> None:
    labels = np.arange(23) % 10
    labels[:3] = 9
    found = evaluate(Subject(_echo, 8, _samples(labels, 8)))
    assert (found.metric, found.samples, found.value) == ("top1", 23, pytest.approx(20 / 23))
    assert (found.larger_is_better, found.against) == (True, None)


def test_the_last_group_is_filled_up_and_cut_again() -> None:
    sizes = []

    def run(feeds: Feeds) -> Feeds:
        sizes.extend(len(feed[0]) for feed in feeds)
        return _echo(feeds)

    found = evaluate(Subject(run, 4, _samples(np.arange(10) % 10, 10)))
    assert sizes == [4, 4, 4]
    assert (found.samples, found.value) == (10, 1.0)


def test_mse_is_the_mean_over_samples_and_elements() -> None:
    targets = np.array([[0.0], [1.0], [4.0]])
    found = evaluate(Subject(_identity, 1, _samples(targets, 2)))
    assert (found.metric, found.value) == ("mse", pytest.approx(4 / 3))
    assert not found.larger_is_better


@pytest.mark.parametrize(
    ("labels", "metric", "message"),
    [
        (np.array([10, 0]), "top1", "label 10 found"),
        (np.array([-1, 0]), "auc", "label -1 found"),
        (np.array([0.5, 1.0]), "top1", "of integers"),
        (np.array([0.5, 1.0]), "mse", "targets of shape"),
        (np.array([], np.int64), "top1", "no samples"),
        (np.array([4, 4]), "auc", "all labels are the same"),
        (np.array(["cat", "dog"]), "top1", "labels are numbers, <U3 found"),
        (np.array([1j, 0]), "mse", "labels are numbers, complex128 found"),
    ],
)
def test_labels_that_do_not_go_with_the_output_are_refused(labels: np.ndarray, metric: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        evaluate(Subject(_echo, 1, _samples(labels, 2)), metric=metric)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_what_is_not_finite_is_refused_with_its_sample(wrong: float) -> None:
    values = np.arange(9, dtype=np.float32)[:, None]
    spoilt = values.copy()
    spoilt[5] = wrong
    with pytest.raises(InvalidValueError, match=r"^input 0 of sample 5 holds"):
        evaluate(Subject(_identity, 1, _samples(values, 4, inputs=spoilt)))
    with pytest.raises(InvalidValueError, match=r"^the label of sample 5 holds"):
        evaluate(Subject(_identity, 1, _samples(spoilt, 4, inputs=values)))
    with pytest.raises(InvalidValueError, match=r"^the output of sample 5 holds"):
        evaluate(Subject(lambda feeds: [[spoilt[feed[0][:, 0].astype(int)]] for feed in feeds], 1, _samples(values, 4)))


def test_data_without_labels_are_refused() -> None:
    with pytest.raises(BadInputError, match="no labels"):
        evaluate(Subject(_echo, 1, _samples(None, 1, inputs=np.zeros((1, 1), np.float32))))


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(UsageError, match="top1"):
        evaluate(Subject(_echo, 1, _samples(np.zeros(0), 1)), metric="precision")


def test_progress_is_told_the_samples_seen() -> None:
    seen: list[int] = []
    evaluate(Subject(_echo, 1, _samples(np.zeros(10, int), 4)), progress=seen.append)
    assert seen == [4, 8, 10]


@pytest.mark.parametrize("metric", ["top1", "mse"])
def test_a_mean_keeps_no_outputs(metric: str) -> None:
    """The outputs of all samples would be 100 MB."""
    batch = Batch([np.zeros((50, 1), np.float32)], np.zeros(50, int) if metric == "top1" else np.zeros((50, 5000)))
    samples = DataSet("samples", 2500, lambda: iter([batch] * 50))
    outputs = np.zeros((50, 5000))
    tracemalloc.start()
    found = evaluate(Subject(lambda feeds: [[outputs + 1.0] for _ in feeds], 50, samples), metric=metric)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.samples == 2500
    assert peak < 20e6


# ------------------------------------------------------------------------------------------------ against a source


def test_a_source_is_measured_on_the_same_samples() -> None:
    rng = np.random.default_rng(0)
    expected = rng.normal(size=(40, 3))
    found = expected + rng.normal(size=(40, 3)) * 0.5
    result = evaluate(_of_list(found), metric="top1", source=_of_list(expected))
    hits, source_hits = found.argmax(axis=1) == 0, expected.argmax(axis=1) == 0
    against = result.against
    assert against is not None
    assert (result.value, against.source.value) == (hits.mean(), source_hits.mean())
    assert against.difference == pytest.approx(hits.mean() - source_hits.mean())
    assert against.interval == newcombe_interval(hits, source_hits)
    assert against.agreement == (found.argmax(axis=1) == expected.argmax(axis=1)).mean()
    ratio = (expected**2).sum() / ((expected - found) ** 2).sum()
    assert against.sqnr_db == pytest.approx(10 * math.log10(ratio))


def test_errors_are_paired_by_sample() -> None:
    rng = np.random.default_rng(0)
    expected = rng.normal(size=(40, 1)) * 9
    found = expected + 0.01
    zeros = _samples(np.zeros((40, 1)), 4)
    one, other = (
        Subject(lambda feeds, o=o: [[o[feed[0][:, 0].astype(int)]] for feed in feeds], 1, zeros)  # type: ignore[misc]
        for o in (found, expected)
    )
    against = evaluate(one, metric="mse", source=other).against
    assert against is not None
    assert against.interval == pytest.approx(normal_interval((found**2 - expected**2)[:, 0]))
    assert against.agreement is None


@pytest.mark.parametrize(("found", "decibels"), [(0.0, math.inf), (1.0, -math.inf)])
def test_a_ratio_to_nothing_is_infinite(found: float, decibels: float) -> None:
    subject, source = _of_list(np.full((4, 2), found)), _of_list(np.zeros((4, 2)))
    against = evaluate(subject, metric="top1", source=source).against
    assert against is not None
    assert against.sqnr_db == decibels


def test_agreement_on_sequences_counts_positions() -> None:
    scores = 9 * np.eye(3)[[[0, 1], [2, 0]]]
    other = 9 * np.eye(3)[[[0, 1], [2, 2]]]
    labels = np.array([[0, 0], [0, 1]])
    one, two = (
        Subject(lambda feeds, s=s: [[s[feed[0][:, 0].astype(int)]] for feed in feeds], 1, _samples(labels, 2))  # type: ignore[misc]
        for s in (scores, other)
    )
    against = evaluate(one, metric="nats", source=two).against
    assert against is not None
    assert against.agreement == 0.75


def test_outputs_of_another_size_are_refused() -> None:
    with pytest.raises(BadInputError, match=r"source model's output has shape \[3\], this one's \[2\]"):
        evaluate(_of_list(np.zeros((4, 2))), metric="top1", source=_of_list(np.zeros((4, 3))))


@pytest.mark.parametrize(("count", "message"), [(4, "fewer batches"), (9, "fewer batches"), (7, "other labels")])
def test_data_that_change_when_read_again_are_refused(count: int, message: str) -> None:
    subject, source = (Subject(_echo, 1, _samples(np.zeros(n, int), 4)) for n in (8, count))
    with pytest.raises(BadInputError, match=message):
        evaluate(subject, metric="top1", source=source)


def test_both_models_read_one_batch_after_the_other() -> None:
    """Neither model's samples are read ahead, so that a large file is never held."""
    order: list[str] = []

    def batches(name: str) -> Iterator[Batch]:
        for _ in range(3):
            order.append(name)
            yield Batch([np.zeros((2, 1), np.float32)], np.zeros(2, int))

    one, two = (Subject(_echo, 1, DataSet(n, None, lambda n=n: batches(n))) for n in "ab")  # type: ignore[misc]
    evaluate(one, source=two)
    assert "".join(order) == "ababab"


# ------------------------------------------------------------------------------------------------ gates


def _accuracy(value: float, *, larger: bool = True, source: float | None = None) -> Accuracy:
    name = "top1" if larger else "mse"
    measured = Accuracy(name, 0.0 if source is None else source, (0, 1), 10, larger, larger)
    against = None if source is None else Comparison(measured, value - source, (0, 1), 1.0, 30.0)
    return Accuracy(name, value, (0, 1), 10, larger, larger, against)


def test_a_gate_passes_at_the_bound_and_fails_beyond() -> None:
    Gate(minimum=0.9).check(_accuracy(0.9))
    with pytest.raises(AccuracyError, match=r"0\.89, at least 0\.9 was asked"):
        Gate(minimum=0.9).check(_accuracy(0.89))
    Gate(maximum=2.0).check(_accuracy(2.0, larger=False))
    with pytest.raises(AccuracyError, match=r"2\.01, at most 2 was asked"):
        Gate(maximum=2.0).check(_accuracy(2.01, larger=False))


def test_a_drop_is_points_lost_or_errors_gained() -> None:
    gate = Gate(max_drop=0.25)
    gate.check(_accuracy(0.5, source=0.75))
    gate.check(_accuracy(0.9, source=0.5))
    gate.check(_accuracy(0.75, larger=False, source=0.5))
    gate.check(_accuracy(0.1, larger=False, source=0.5))
    for missed in (_accuracy(0.4, source=0.75), _accuracy(0.8, larger=False, source=0.5)):
        with pytest.raises(AccuracyError, match=r"worse, at most 0\.25 was asked"):
            gate.check(missed)


@pytest.mark.parametrize("gate", [Gate(minimum=0.0), Gate(maximum=9.0), Gate(max_drop=9.0)])
def test_a_value_that_is_no_number_misses_every_gate(gate: Gate) -> None:
    with pytest.raises(AccuracyError):
        gate.check(_accuracy(math.nan, source=0.0))


def test_a_bound_on_the_good_side_is_refused() -> None:
    Gate(minimum=0.5, max_drop=0.1).require_direction("auc", larger_is_better=True)
    Gate(maximum=0.5, max_drop=0.1).require_direction("mse", larger_is_better=False)
    with pytest.raises(UsageError, match="--max is for metrics that should be low, auc should be high; use --min"):
        Gate(maximum=0.5).require_direction("auc", larger_is_better=True)
    with pytest.raises(UsageError, match="--min is for metrics that should be high, mse should be low; use --max"):
        Gate(minimum=0.5).require_direction("mse", larger_is_better=False)

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from edgeq.analysis.accuracy import Accuracy, Gate, evaluate, normal_interval, wilson_interval
from edgeq.errors import AccuracyError, BadInputError, UsageError
from edgeq.quantize.data import Batch


def _batches(labels: np.ndarray, size: int) -> list[Batch]:
    starts = range(0, len(labels), size)
    return [
        Batch([np.arange(len(labels))[s : s + size, None].astype(np.float32)], labels[s : s + size]) for s in starts
    ]


def _echo(feeds: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
    """Score the class that is the sample's number modulo 10."""
    return [[np.eye(10)[feed[0][:, 0].astype(int) % 10]] for feed in feeds]


def test_wilson_interval_is_the_published_one_for_eight_of_ten() -> None:
    assert wilson_interval(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)


@pytest.mark.parametrize(("hits", "count"), [(0, 5), (5, 5), (1, 1), (0, 1)])
def test_wilson_interval_stays_within_zero_and_one(hits: int, count: int) -> None:
    low, high = wilson_interval(hits, count)
    assert 0 <= low <= hits / count <= high <= 1
    assert low < high


def test_normal_interval_of_one_value_is_unbounded() -> None:
    assert normal_interval(np.array([3.0])) == (-np.inf, np.inf)


def test_top1_counts_the_samples_whose_largest_score_is_the_label() -> None:
    labels = np.arange(23) % 10
    labels[:3] = 9
    found = evaluate(_echo, _batches(labels, 8), size=8)
    assert (found.metric, found.samples, found.value) == ("top1", 23, pytest.approx(20 / 23))


def test_the_last_group_is_filled_up_and_cut_again() -> None:
    sizes = []

    def run(feeds: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
        sizes.extend(len(feed[0]) for feed in feeds)
        return _echo(feeds)

    found = evaluate(run, _batches(np.arange(10) % 10, 10), size=4)
    assert sizes == [4, 4, 4]
    assert (found.samples, found.value) == (10, 1.0)


def test_mse_is_the_mean_over_samples_and_elements() -> None:
    targets = np.array([[0.0], [1.0], [4.0]])
    found = evaluate(lambda feeds: feeds, _batches(targets, 2), size=1)
    assert (found.metric, found.value) == ("mse", pytest.approx(4 / 3))


@pytest.mark.parametrize(
    ("labels", "metric"),
    [
        (np.array([10, 0]), "top1"),  # no such class
        (np.array([-1, 0]), "top1"),
        (np.array([0.5, 1.0]), "top1"),
        (np.array([0.5, np.nan]), "mse"),  # another size than the output
        (np.array([], np.int64), "top1"),
    ],
)
def test_labels_that_do_not_go_with_the_output_are_refused(labels: np.ndarray, metric: str) -> None:
    with pytest.raises(BadInputError):
        evaluate(_echo, _batches(labels, 2), size=1, metric=metric)


def test_data_without_labels_are_refused() -> None:
    with pytest.raises(BadInputError, match="no labels"):
        evaluate(_echo, [Batch([np.zeros((1, 1), np.float32)], None)], size=1)


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(UsageError, match="top1"):
        evaluate(_echo, [], size=1, metric="auc")


def test_a_gate_passes_at_the_bound_and_fails_below() -> None:
    Gate(minimum=0.9).check(Accuracy("top1", 0.9, (0, 1), 10))
    with pytest.raises(AccuracyError, match=r"0\.9 was asked"):
        Gate(minimum=0.9).check(Accuracy("top1", 0.89, (0, 1), 10))


def test_a_value_that_is_no_number_misses_every_gate() -> None:
    found = Accuracy("mse", float("nan"), (0, 1), 10)
    with pytest.raises(AccuracyError):
        Gate(minimum=0.0).check(found)
    with pytest.raises(AccuracyError):
        Gate(max_drop=1.0).check(found, Accuracy("mse", 0.0, (0, 1), 10))


def test_a_drop_is_points_lost_for_top1_and_gained_for_mse() -> None:
    high, low = Accuracy("top1", 0.9, (0, 1), 10), Accuracy("top1", 0.8, (0, 1), 10)
    assert low.drop_from(high) == pytest.approx(0.1)
    assert Accuracy("mse", 2.0, (0, 9), 10).drop_from(Accuracy("mse", 1.5, (0, 9), 10)) == pytest.approx(0.5)
    with pytest.raises(AccuracyError):
        Gate(max_drop=0.05).check(low, high)

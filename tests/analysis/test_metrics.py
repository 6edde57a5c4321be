# SPDX-License-Identifier: Apache-2.0
"""What each metric counts, against counts by hand and formulas written out."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.analysis.estimates import Estimate, wilson_interval
from edgeq.analysis.metrics import AVERAGES, by_position, f1_score, parse_metric
from edgeq.errors import BadInputError, UsageError

NAMES = ("top1", "top2", "f1", "f1:macro", "f1:micro", "f1:weighted", "auc", "mse", "nats", "perplexity")


def _score(name: str, output: np.ndarray, labels: np.ndarray) -> Estimate:
    metric = parse_metric(name)
    return metric.estimate(metric.keep(output, labels))


@st.composite
def _classified(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Draw scores (n, classes) with ties, and labels of at least two classes."""
    count, classes = draw(st.integers(2, 12)), draw(st.integers(3, 5))
    labels = [0, 1, *draw(st.lists(st.integers(0, classes - 1), min_size=count - 2, max_size=count - 2))]
    scores = draw(st.lists(st.integers(-3, 3), min_size=count * classes, max_size=count * classes))
    return np.array(scores, np.float32).reshape(count, classes) / 2, np.array(labels)


@settings(max_examples=30, deadline=None)
@given(_classified(), st.sampled_from(NAMES), st.randoms(use_true_random=False))
def test_a_value_does_not_depend_on_the_order_of_samples_and_lies_in_its_interval(
    drawn: tuple[np.ndarray, np.ndarray], name: str, random: object
) -> None:
    scores, labels = drawn
    targets = scores[::-1] if name == "mse" else labels
    order = list(range(len(labels)))
    random.shuffle(order)  # type: ignore[attr-defined]
    found, shuffled = _score(name, scores, targets), _score(name, scores[order], targets[order])
    assert shuffled.value == pytest.approx(found.value)
    assert found.interval[0] <= found.value <= found.interval[1]
    metric = parse_metric(name)
    assert found.interval[0] >= 0
    assert found.interval[1] <= 1 or not metric.is_fraction
    assert metric.larger_is_better == metric.is_fraction


@pytest.mark.parametrize(
    ("name", "larger"),
    [("top5", True), ("f1:binary", True), ("auc", True), ("mse", False), ("nats", False), ("perplexity", False)],
)
def test_each_metric_knows_which_way_is_better(name: str, larger: bool) -> None:
    metric = parse_metric(name)
    assert (metric.name, metric.larger_is_better, metric.is_fraction) == (name, larger, larger)


@pytest.mark.parametrize("name", ["", "top", "top0", "top-1", "top01", "top1.5", "f1:", "f1:mean", "acc", "AUC", "f2"])
def test_an_unknown_metric_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(UsageError, match="metrics are top1, top5"):
        parse_metric(name)


# ------------------------------------------------------------------------------------------------ top


def test_top_k_counts_labels_among_the_k_highest() -> None:
    scores = np.array([[0.1, 0.5, 0.4], [0.3, 0.2, 0.1], [0.1, 0.2, 0.7]])
    labels = np.array([2, 1, 0])
    assert _score("top1", scores, labels).value == 0
    assert _score("top2", scores, labels).value == pytest.approx(2 / 3)
    assert _score("top2", scores, labels).interval == wilson_interval(2, 3)


@settings(max_examples=50, deadline=None)
@given(_classified(), st.integers(1, 2))
def test_top_k_takes_the_first_of_equal_scores(drawn: tuple[np.ndarray, np.ndarray], k: int) -> None:
    scores, labels = drawn
    highest = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    assert _score(f"top{k}", scores, labels).value == (highest == labels[:, None]).any(axis=1).mean()


def test_top_k_of_positions_is_the_share_of_them() -> None:
    scores = np.eye(3)[[[0, 1], [2, 0], [1, 1]]]  # (3, 2, 3)
    labels = np.array([[0, 1], [2, 1], [0, 0]])
    assert _score("top1", scores, labels).value == 0.5


def test_labels_may_have_an_axis_of_one() -> None:
    scores, labels = np.eye(3)[[0, 1, 2, 2]], np.array([0, 1, 2, 0])
    assert _score("top1", scores, labels[:, None]).interval == _score("top1", scores, labels).interval
    assert _score("top1", scores.reshape(4, 1, 1, 3), labels).value == 0.75


@pytest.mark.parametrize(
    ("name", "output", "labels", "message"),
    [
        ("top1", np.eye(3), np.array([0, 1, 3]), "label 3 found, the output has 3 classes"),
        ("top1", np.eye(3), np.array([0, -1, 0]), "label -1 found"),
        ("top1", np.eye(3), np.array([0.0, 1.0, 2.0]), r"labels \(n,\) of integers, float64"),
        ("top1", np.eye(3), np.zeros((3, 2), int), r"labels \(n,\) of integers, int64 of shape \[3, 2\]"),
        ("top1", np.zeros((3, 1)), np.zeros(3, int), "one number per sample"),
        ("top3", np.eye(3), np.zeros(3, int), "counts every sample as right"),
        ("f1", np.eye(3), np.array([0, 1, 3]), "label 3 found"),
        ("f1:micro", np.eye(3), np.array([0, 1, 3]), "label 3 found"),
        ("f1:binary", np.eye(3), np.zeros(3, int), "for two classes"),
        ("f1:binary", np.array([[0.1], [0.2]]), np.zeros(2, int), "no label is 1"),
        ("f1:binary", np.array([[0.1], [1.5]]), np.ones(2, int), "needs a probability .* 1.5 found"),
        ("f1:binary", np.array([[0.1], [0.5]]), np.array([1, 2]), "label 2 found"),
        ("auc", np.array([[0.1], [0.5]]), np.array([1, 2]), "label 2 found"),
        ("auc", np.eye(2), np.zeros(2, int), "all labels are the same"),
        ("auc", np.eye(3), np.full(3, 2), "all labels are the same"),
        ("auc", np.eye(2), np.zeros((2, 2), int), "needs labels"),
        ("mse", np.eye(2), np.zeros(2), "targets of shape"),
        ("nats", np.zeros((2, 4, 3)), np.full((2, 4), 3), "label 3 found, the output has 3 classes"),
        ("perplexity", np.zeros((2, 4, 3)), np.zeros((2, 5), int), "needs labels"),
    ],
)
def test_labels_and_outputs_that_do_not_go_together_are_refused(
    name: str, output: np.ndarray, labels: np.ndarray, message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        _score(name, output, labels)


# ------------------------------------------------------------------------------------------------ f1


def _f1_by_hand(labels: np.ndarray, decided: np.ndarray, average: str) -> float:
    """Count true and false positives and negatives one by one."""
    counts = {}
    for c in sorted({*labels.tolist(), *decided.tolist()}):
        pairs = list(zip(labels.tolist(), decided.tolist(), strict=True))
        tp = sum(y == c and d == c for y, d in pairs)
        counts[c] = tp, sum(y != c and d == c for y, d in pairs), sum(y == c and d != c for y, d in pairs)
    scores = {c: 2 * tp / (2 * tp + fp + fn) for c, (tp, fp, fn) in counts.items()}
    if average == "binary":
        return scores.get(1, 0.0)
    if average == "micro":
        tp, fp, fn = (sum(column) for column in zip(*counts.values(), strict=True))
        return 2 * tp / (2 * tp + fp + fn)
    if average == "weighted":
        return sum(score * (labels == c).sum() for c, score in scores.items()) / len(labels)
    return sum(scores.values()) / len(scores)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30), st.sampled_from(AVERAGES))
def test_f1_is_that_of_counts_by_hand(pairs: list[tuple[int, int]], average: str) -> None:
    labels, decided = np.array(pairs).T
    if average == "micro":
        found = _score("f1:micro", np.eye(5)[decided], labels).value
    else:
        found = f1_score(labels, decided, average=average)
    assert found == pytest.approx(_f1_by_hand(labels, decided, average))


def test_f1_of_a_small_table() -> None:
    decided, labels = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0])
    assert _score("f1", np.eye(4)[decided], labels).value == pytest.approx((2 / 4 + 4 / 5 + 0) / 3)
    assert _score("f1:weighted", np.eye(4)[decided], labels).value == pytest.approx((2 * 2 / 4 + 3 * 4 / 5) / 5)


def test_f1_of_one_number_puts_the_line_at_a_half() -> None:
    probabilities, labels = np.array([0.1, 0.5, 0.49, 0.9]), np.array([0, 1, 1, 0])
    assert _score("f1:binary", probabilities[:, None], labels).value == pytest.approx(2 / (2 + 1 + 1))
    pairs = np.stack([1 - probabilities, probabilities], axis=1)
    pairs[1] = 0.4, 0.6  # a tie would go to class 0
    assert _score("f1:binary", pairs, labels).value == pytest.approx(0.5)


def test_f1_without_an_error_is_as_uncertain_as_so_many_hits() -> None:
    assert _score("f1", np.eye(3)[[0, 1, 2, 1]], np.array([0, 1, 2, 1])).interval == wilson_interval(4, 4)


# ------------------------------------------------------------------------------------------------ auc, mse, perplexity


def test_auc_takes_one_score_or_the_difference_of_two() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=30), rng.integers(0, 2, 30)
    expected = np.mean([a > b for a in scores[labels == 1] for b in scores[labels == 0]])
    assert _score("auc", scores[:, None], labels).value == pytest.approx(expected)
    shifts = rng.normal(size=30)
    assert _score("auc", np.stack([shifts, shifts + scores], axis=1), labels == 1).value == pytest.approx(expected)


def test_mse_is_the_mean_over_samples_and_elements() -> None:
    assert _score("mse", np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1, 0], [0, 4]])).value == pytest.approx(13 / 4)


@pytest.mark.parametrize("shape", [(7, 5), (7, 3, 5), (7, 1, 3, 5)])
def test_perplexity_is_that_of_the_formula(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(2)
    logits, labels = rng.normal(size=shape) * 3, rng.integers(0, 5, shape[:1] + shape[-2:-1] * (len(shape) > 2))
    total = 0.0
    for row, label in zip(logits.reshape(-1, 5), labels.reshape(-1), strict=True):
        total -= math.log(math.exp(row[label]) / sum(map(math.exp, row)))
    assert _score("nats", logits, labels).value == pytest.approx(total / labels.size)
    assert _score("perplexity", logits, labels).value == pytest.approx(math.exp(total / labels.size))


def test_perplexity_of_equal_logits_is_the_number_of_classes() -> None:
    found = _score("perplexity", np.zeros((4, 6, 65)), np.zeros((4, 6), int))
    assert (found.value, found.interval) == (pytest.approx(65), (pytest.approx(65), pytest.approx(65)))


def test_perplexity_takes_logits_of_any_size() -> None:
    logits = np.array([[1e30, 0.0], [0.0, 1e30]], np.float32)
    assert _score("perplexity", logits, np.array([0, 1])).value == 1.0
    assert _score("perplexity", logits, np.array([1, 1])).value == math.inf


def test_perplexity_warns_of_probabilities() -> None:
    with pytest.warns(UserWarning, match="look like probabilities"):
        _score("nats", np.array([[0.3, 0.7], [0.9, 0.1]]), np.array([0, 1]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _score("nats", np.array([[0.3, 0.7], [1.9, 0.1]]), np.array([0, 1]))


def test_positions_are_those_of_the_labels() -> None:
    output = np.zeros((2, 3, 4))
    assert by_position(output, np.zeros((2, 3), int)).shape == (2, 3, 4)
    assert by_position(output, np.zeros((2, 3))).shape == (2, 1, 12)
    assert by_position(output, np.zeros(2, int)).shape == (2, 1, 12)
    assert by_position(output, np.zeros((2, 4), int)).shape == (2, 1, 12)

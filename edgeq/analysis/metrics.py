# SPDX-License-Identifier: Apache-2.0
"""What a model's outputs are scored by.

    top1, top5, topK       the share of samples whose label is among the K highest scores
    f1, f1:macro           the mean over classes of 2 tp / (2 tp + fp + fn); f1:weighted weighs them by their labels'
                           number, f1:micro sums over classes first, f1:binary takes class 1 alone
    auc                    area under the ROC curve; of several classes, the mean of each one against the rest
    mse                    mean squared error, in squared output units
    nats, perplexity       mean of -ln(probability of the label), and e to it; the outputs are logits
    FILE.py:FUNCTION       a function of the user's, see ``user_metric``

Class labels are integers (n,), scores the outputs of a sample laid flat; for top, nats and perplexity labels may be
(n, t) beside outputs (n, ..., classes) that score t positions, such as the token that should come next at each. Of
equal scores the first is the higher, as in argmax. For f1 and auc an output of one number per sample is a score of
class 1 against class 0; f1 needs it as a probability and puts the line at 0.5. Of two scores auc takes the difference.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgeq.analysis.estimates import Estimate, area_under_curve, bootstrap, exponential_of_mean, mean, share_of_certain
from edgeq.analysis.user_metric import UserFunction, load_function, names_function
from edgeq.errors import BadInputError, UsageError

Kept = tuple[np.ndarray, ...]
AVERAGES = ("macro", "micro", "weighted", "binary")
KNOWN = "top1, top5 (any number), f1, f1:micro, f1:weighted, f1:binary, auc, mse, nats, perplexity, FILE.py:FUNCTION"


@dataclass(frozen=True)
class Metric:
    """A metric: what it keeps of a batch's outputs and labels, as arrays (n, ...), and what it makes of all of them.

    A metric that is a mean keeps one number per sample and no outputs. ``is_fraction`` if it goes from 0 to 1.
    """

    name: str
    keep: Callable[[np.ndarray, np.ndarray], Kept]
    estimate: Callable[[Kept], Estimate]
    larger_is_better: bool = True
    is_fraction: bool = True


def parse_metric(text: str) -> Metric:
    """Return the metric of a name.

    Raises UsageError for an unknown one, and what ``load_function`` raises for a user's function.
    """
    if names_function(text):
        return _of_function(load_function(text))
    if found := re.fullmatch(r"top([1-9][0-9]{0,8})", text):
        return Metric(text, partial(_hits, int(found[1])), lambda kept: mean(kept[0]))
    if text == "f1" or text.removeprefix("f1:") in AVERAGES:
        average = text.partition(":")[2] or "macro"
        if average == "micro":  # with one label per sample it is the share of right ones
            return Metric(text, lambda output, labels: (np.equal(*_decisions(output, labels)),), lambda k: mean(k[0]))
        return Metric(text, partial(_decisions, binary=average == "binary"), partial(_f1, average))
    if text == "auc":
        return Metric(text, _members, lambda kept: area_under_curve(*kept))
    if text == "mse":
        return Metric(text, _errors, lambda kept: mean(kept[0], lowest=0.0), larger_is_better=False, is_fraction=False)
    if text == "nats":
        return Metric(text, _nats, lambda kept: mean(kept[0], lowest=0.0), larger_is_better=False, is_fraction=False)
    if text == "perplexity":
        return Metric(text, _nats, lambda kept: exponential_of_mean(kept[0]), larger_is_better=False, is_fraction=False)
    raise UsageError(f"there is no metric {text!r}", hint=f"metrics are {KNOWN}")


def default_metric(labels: np.ndarray) -> Metric:
    """Return top1 for integer labels with one number per sample, mse for anything else."""
    return parse_metric("top1" if labels.dtype.kind in "iu" and labels.ndim == 1 else "mse")


def _of_function(function: UserFunction) -> Metric:
    return Metric(
        function.name,
        function.keep,
        lambda kept: mean(kept[0]) if len(kept) == 1 else bootstrap(function.number, kept),
        larger_is_better=function.larger_is_better,
        is_fraction=False,
    )


def by_position(output: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return outputs as scores (n, t, classes): t positions if there are t > 1 integer labels per sample, else one."""
    count = len(output)
    flat = output.reshape(count, -1)
    positions = labels.size // count
    if positions > 1 and labels.dtype.kind in "iub" and output.shape[-1] * positions == flat.shape[1]:
        return output.reshape(count, positions, -1)
    return flat[:, np.newaxis]


def _class_labels(labels: np.ndarray, *, shape: tuple[int, int], classes: int, metric: str) -> np.ndarray:
    """Return labels as int64 of the shape (n, t). Raises BadInputError unless they are integers in range."""
    if labels.dtype.kind not in "iub" or labels.size != shape[0] * shape[1]:
        wanted = "(n,)" if shape[1] == 1 else f"(n, {shape[1]})"
        raise BadInputError(
            f"{metric} needs labels {wanted} of integers, {labels.dtype} of shape {list(labels.shape)} found",
            hint="use --metric mse for real-valued targets",
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise BadInputError(f"label {labels.reshape(-1)[wrong[0]]} found, the output has {classes} classes")
    return labels.reshape(shape).astype(np.int64)


def _scores_and_labels(output: np.ndarray, labels: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return scores (n, t, classes) in float64 and labels (n, t)."""
    scores = by_position(output, labels)
    if scores.shape[2] < 2:
        raise BadInputError(
            f"{metric} compares scores, the output has one number per sample", hint="use --metric auc, f1 or mse"
        )
    shape = scores.shape[:2]
    return scores.astype(np.float64), _class_labels(labels, shape=shape, classes=scores.shape[2], metric=metric)


def _hits(k: int, output: np.ndarray, labels: np.ndarray) -> Kept:
    """Keep whether a sample's label is among the k highest scores; for several positions, of how many."""
    scores, wanted = _scores_and_labels(output, labels, f"top{k}")
    classes = scores.shape[2]
    if k >= classes:
        raise BadInputError(f"top{k} counts every sample as right, the output has {classes} scores")
    own = np.take_along_axis(scores, wanted[:, :, np.newaxis], axis=2)  # (n, t, 1)
    ahead = (scores > own) | ((scores == own) & (np.arange(classes) < wanted[:, :, np.newaxis]))
    hits = ahead.sum(axis=2) < k  # (n, t)
    return (hits[:, 0] if hits.shape[1] == 1 else hits.mean(axis=1),)


def _errors(output: np.ndarray, labels: np.ndarray) -> Kept:
    """Keep the mean squared error of each sample."""
    if labels.size != output.size:
        raise BadInputError(f"targets of shape {list(labels.shape)} given for outputs of shape {list(output.shape)}")
    differences = output.astype(np.float64) - labels.reshape(output.shape).astype(np.float64)
    return ((differences.reshape(len(output), -1) ** 2).mean(axis=1),)


def _nats(output: np.ndarray, labels: np.ndarray) -> Kept:
    """Keep each sample's -ln(softmax of its scores at the label), the mean over its positions."""
    scores, wanted = _scores_and_labels(output, labels, "nats")
    rest = abs(scores.sum(axis=2) - 1)
    if scores.min() >= 0 and rest.max() < 1e-2 and len(scores) > 1:
        warnings.warn("the outputs look like probabilities; nats and perplexity take them as logits", stacklevel=2)
    shifted = scores - scores.max(axis=2, keepdims=True)
    own = np.take_along_axis(shifted, wanted[:, :, np.newaxis], axis=2)[:, :, 0]
    return ((np.log(np.exp(shifted).sum(axis=2)) - own).mean(axis=1),)


def _decisions(output: np.ndarray, labels: np.ndarray, *, binary: bool = False) -> Kept:
    """Keep labels (n,) and the classes decided for (n,)."""
    flat = output.reshape(len(output), -1)
    classes = max(flat.shape[1], 2)
    if binary and classes != 2:
        raise BadInputError(f"f1:binary is for two classes, the output has {classes} scores", hint="use --metric f1")
    wanted = _class_labels(labels, shape=(len(flat), 1), classes=classes, metric="f1")[:, 0]
    if flat.shape[1] > 1:
        return wanted, flat.argmax(axis=1)
    wrong = np.flatnonzero((flat < 0) | (flat > 1))
    if wrong.size:
        raise BadInputError(
            f"f1 needs a probability where the output is one number, {flat[wrong[0], 0]:.6g} found",
            hint="end the model in a sigmoid, or use --metric auc",
        )
    return wanted, (flat[:, 0] >= 0.5).astype(np.int64)


def _f1(average: str, kept: Kept) -> Estimate:
    if average == "binary" and not kept[0].any():
        raise BadInputError("f1:binary scores class 1, no label is 1")
    return share_of_certain(bootstrap(partial(f1_score, average=average), kept), len(kept[0]))


def f1_score(labels: np.ndarray, decided: np.ndarray, *, average: str) -> float:
    """Return the F1 score of class labels and decisions (n,); classes that occur in neither are left out.

    ``average`` is macro, weighted (by the number of labels of a class) or binary (class 1 alone, 0 where it does not
    occur).
    """
    classes = int(max(labels.max(), decided.max(), 1)) + 1
    support = np.bincount(labels, minlength=classes)
    found = support + np.bincount(decided, minlength=classes)  # 2 tp + fp + fn
    scores = 2 * np.bincount(labels[labels == decided], minlength=classes) / np.maximum(found, 1)
    if average == "binary":
        return float(scores[1])
    if average == "weighted":
        return float((scores * support).sum() / len(labels))
    return float(scores[found > 0].mean())


def _members(output: np.ndarray, labels: np.ndarray) -> Kept:
    """Keep which samples belong to a class and its score, both (n, classes); of two classes only the second's."""
    flat = output.reshape(len(output), -1)
    classes = max(flat.shape[1], 2)
    wanted = _class_labels(labels, shape=(len(flat), 1), classes=classes, metric="auc")[:, 0]
    if flat.shape[1] == 2:
        flat = np.diff(flat.astype(np.float64))
    if classes == 2:
        return wanted[:, np.newaxis] == 1, flat
    return wanted[:, np.newaxis] == np.arange(classes), flat

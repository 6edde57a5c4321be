# SPDX-License-Identifier: Apache-2.0
"""Estimates with 95 % intervals, and the difference of two estimates made on the same samples.

Proportions have Wilson's interval (Wilson 1927) and their differences Newcombe's for pairs (Newcombe 1998, method 10);
means the normal one; the area under a curve DeLong's (DeLong, DeLong and Clarke-Pearson 1988); anything else the
percentiles of 1000 bootstrap resamples. Those of n samples come from ``numpy.random.default_rng(0)``: always the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgeq.errors import BadInputError

Interval = tuple[float, float]
RESAMPLES = 1000
_Z = 1.959963984540054  # the normal quantile of a two-sided 95 % interval
_SEED = 0


@dataclass(frozen=True)
class Estimate:
    """A value, its interval, and the numbers that a difference is paired by.

    ``parts`` has one number per sample, in order: truth values for a proportion, else what the sample adds to the value
    to first order, so that the spread gives the interval. With ``resampled`` it has the value on each resample instead.
    """

    value: float
    interval: Interval
    parts: np.ndarray
    resampled: bool = False


def mean(scores: np.ndarray, *, lowest: float = -math.inf) -> Estimate:
    """Return the mean of one score per sample, which is never below ``lowest``; of truth values, a proportion."""
    if scores.dtype == bool:
        hits = int(scores.sum())
        return Estimate(hits / len(scores), wilson_interval(hits, len(scores)), scores)
    low, high = normal_interval(scores)
    return Estimate(float(scores.mean()), (max(low, lowest), high), scores)


def exponential_of_mean(scores: np.ndarray) -> Estimate:
    """Return e to the mean of scores of at least 0, with the interval of the mean carried over."""
    inner = mean(scores, lowest=0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        value, low, high = (float(np.exp(bound)) for bound in (inner.value, *inner.interval))
        return Estimate(value, (low, high), value * scores)


def bootstrap(statistic: Callable[..., float], samples: Sequence[np.ndarray]) -> Estimate:
    """Return a statistic of arrays (n, ...) with the percentiles of its values on resamples, widened to hold it."""
    rng = np.random.default_rng(_SEED)
    count = len(samples[0])
    value = statistic(*samples)
    values = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        chosen = rng.integers(count, size=count)
        values[number] = statistic(*(array[chosen] for array in samples))
    low, high = _percentiles(values)
    return Estimate(value, (min(low, value), max(high, value)), values, resampled=True)


def share_of_certain(estimate: Estimate, count: int) -> Estimate:
    """Widen an interval that has no width at 0 or 1, where ``count`` samples cannot rule the next one out.

    It becomes that of as many hits, or misses, in ``count``.
    """
    if estimate.interval != (estimate.value, estimate.value) or estimate.value not in (0.0, 1.0):
        return estimate
    interval = wilson_interval(count if estimate.value else 0, count)
    return Estimate(estimate.value, interval, estimate.parts, estimate.resampled)


def area_under_curve(positive: np.ndarray, scores: np.ndarray) -> Estimate:
    """Return the macro average over the columns of scores (n, classes) of each one's area under the ROC curve.

    ``positive`` (n, classes) says which samples belong to a class; the area is the share of the pairs of one sample in
    it and one outside that the score puts in order, ties half. Classes without either kind of sample are left out. A
    class with one sample of a kind says nothing of its spread: the interval is then 0 to 1. Raises BadInputError when
    all samples are of one class.
    """
    counts = positive.sum(axis=0)
    used = np.flatnonzero((counts > 0) & (counts < len(positive)))
    if used.size == 0:
        raise BadInputError(
            "auc compares samples of different classes, all labels are the same", hint="give it samples of two classes"
        )
    areas, deviations = [], np.zeros(len(positive))
    for c in used:
        area, deviation = _delong(positive[:, c], scores[:, c])
        areas.append(area)
        deviations += deviation / used.size
    value = math.fsum(areas) / used.size
    fewer = np.minimum(counts, len(positive) - counts)[used]  # samples of the rarer kind, by class
    if fewer.min() < 2:
        return Estimate(value, (0.0, 1.0), np.full(len(positive), np.nan))
    low, high = _normal(value, deviations)
    return share_of_certain(Estimate(value, (max(low, 0.0), min(high, 1.0)), deviations), int(fewer.sum()))


def _delong(positive: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray]:
    """Return one class's area and each sample's deviation, scaled so that their standard error is DeLong's.

    A sample's placement is the share of the other kind that it is in order with; m x (m - 1) in DeLong's variance of m
    samples of a kind and n x (n - 1) in that of the mean of all n make up the scale.
    """
    inside, outside = scores[positive], scores[~positive]
    deviations = np.empty(len(scores))
    placements = _share_below(outside, inside), 1 - _share_below(inside, outside)
    area = float(placements[0].mean())
    for kind, placed in zip((positive, ~positive), placements, strict=True):
        size, count = len(placed), len(scores)
        scale = math.sqrt(count * (count - 1) / (size * max(size - 1, 1)))
        deviations[kind] = scale * (placed - area)
    return area, deviations


def _share_below(others: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return for each value the share of the others that are smaller, equal ones half."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")
    return np.asarray(below / (2 * len(others)))


def difference(found: Estimate, source: Estimate) -> Estimate:
    """Return how much larger ``found`` is than ``source``, an estimate of the same kind on the same samples."""
    value = found.value - source.value
    if found.resampled:
        parts = found.parts - source.parts
        low, high = _percentiles(parts)
        return Estimate(value, (min(low, value), max(high, value)), parts, resampled=True)
    if found.parts.dtype == bool:
        parts = found.parts.astype(np.int8) - source.parts.astype(np.int8)
        return Estimate(value, newcombe_interval(found.parts, source.parts), parts)
    with np.errstate(invalid="ignore"):
        parts = found.parts - source.parts
    return Estimate(value, _normal(value, parts), parts)


def wilson_interval(hits: int, count: int) -> Interval:
    """Return Wilson's 95 % interval of a proportion (Wilson 1927); it stays within [0, 1] and holds hits / count."""
    share, spread = hits / count, _Z * _Z / count
    middle = (share + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return (0.0 if hits == 0 else middle - half), (1.0 if hits == count else middle + half)


def newcombe_interval(first: np.ndarray, second: np.ndarray) -> Interval:
    """Return the 95 % interval of first.mean() - second.mean() for truth values (n,) of the same samples.

    Newcombe 1998, method 10: the Wilson intervals of both, squared and added with their correlation taken off. It has a
    width even where both agree on every sample, and stays within [-1, 1].
    """
    count = len(first)
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    hits = both + only_first, both + only_second
    (p1, (low1, high1)), (p2, (low2, high2)) = ((h / count, wilson_interval(h, count)) for h in hits)
    excess = both * neither - only_first * only_second
    excess_corrected = excess if excess < 0 else max(excess - count / 2, 0)
    margins = math.prod((hits[0], count - hits[0], hits[1], count - hits[1]))
    phi = excess_corrected / math.sqrt(margins) if margins else 0.0
    down, up = (p1 - low1, high2 - p2), (high1 - p1, p2 - low2)
    below, above = (math.sqrt(max(a * a - 2 * phi * a * b + b * b, 0.0)) for a, b in (down, up))
    return p1 - p2 - below, p1 - p2 + above


def normal_interval(values: np.ndarray) -> Interval:
    """Return the 95 % interval of a mean from its standard error; from minus to plus infinity for one value."""
    return _normal(float(values.mean()), values)


def _normal(value: float, parts: np.ndarray) -> Interval:
    """Return the interval of a value whose standard error is that of the mean of its parts."""
    if len(parts) < 2 or not np.isfinite(parts).all():
        return -math.inf, math.inf
    half = _Z * float(parts.std(ddof=1)) / math.sqrt(len(parts))
    return value - half, value + half


def _percentiles(values: np.ndarray) -> Interval:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)

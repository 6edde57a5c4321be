# SPDX-License-Identifier: Apache-2.0
"""K-means in one dimension: Lloyd's iteration from three starts, and the exact optimum."""

from __future__ import annotations

import numpy as np


class Points:
    """Distinct values in ascending order, each with a mass > 0; sums over runs of them cost nothing."""

    def __init__(self, values: np.ndarray, masses: np.ndarray) -> None:
        kept = masses > 0
        self.values, places = np.unique(values[kept], return_inverse=True)  # (n,)
        self.masses = np.bincount(places, weights=masses[kept])  # (n,)
        self._middle = float(self.values @ self.masses / self.masses.sum())  # keeps differences of squares exact
        around = self.values - self._middle
        sums = (self.masses, self.masses * around, self.masses * around * around)
        self._sums = [np.concatenate([[0], part.cumsum()]) for part in sums]  # three of (n + 1,)

    def runs(self, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the masses and the means of points starts ... ends - 1; 0 for a mean of nothing."""
        mass, total = (part[ends] - part[starts] for part in self._sums[:2])
        means = np.where(mass > 0, total / np.where(mass > 0, mass, 1) + self._middle, 0)
        return mass, means

    def costs(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Return the squared errors of points starts ... ends - 1 to their mean."""
        mass, total, squares = (part[ends] - part[starts] for part in self._sums)
        return np.asarray(np.maximum(squares - total * total / np.where(mass > 0, mass, 1), 0))

    def ends(self, centroids: np.ndarray) -> np.ndarray:
        """Return where the points of ascending centroids (k,) start and the last end (k + 1,)."""
        inner = np.searchsorted(self.values, (centroids[1:] + centroids[:-1]) / 2)
        return np.concatenate([[0], inner, [len(self.values)]])

    def errors(self, centroids: np.ndarray) -> np.ndarray:
        """Return the weighted squared error of each point (n,)."""
        nearest = np.repeat(centroids, np.diff(self.ends(centroids)))
        return np.asarray(self.masses * (self.values - nearest) ** 2)


def linear_start(points: Points, k: int) -> np.ndarray:
    """Return k centroids at equal distances from the lowest to the highest point."""
    return np.linspace(points.values[0], points.values[-1], k)


def quantile_start(points: Points, k: int) -> np.ndarray:
    """Return k centroids with equal masses between them."""
    reached = points.masses.cumsum()
    places = np.searchsorted(reached, (np.arange(k) + 0.5) / k * reached[-1])
    return np.asarray(points.values[np.minimum(places, len(points.values) - 1)])


def plus_plus_start(points: Points, k: int, rng: np.random.Generator) -> np.ndarray:
    """Return k points drawn one after the other by their squared distance to those before; more than k points."""
    drawn = [float(rng.choice(points.values, p=points.masses / points.masses.sum()))]
    distances = (points.values - drawn[0]) ** 2
    while len(drawn) < k:
        chances = points.masses * distances
        drawn.append(float(rng.choice(points.values, p=chances / chances.sum())))
        distances = np.minimum(distances, (points.values - drawn[-1]) ** 2)
    return np.sort(drawn)


def lloyd(points: Points, centroids: np.ndarray, *, iterations: int, pinned: bool = False) -> np.ndarray:
    """Move centroids (k,) to the means of their points until they stay, their squared error never rising.

    One without points goes to the point with the largest error. ``pinned`` holds the one nearest to zero there.
    """
    tolerance = 1e-6 * float(points.values[-1] - points.values[0])
    for _ in range(iterations):
        if pinned:
            centroids = centroids.copy()
            centroids[np.argmin(np.abs(centroids))] = 0
        ends = points.ends(centroids)
        masses, moved = points.runs(ends[:-1], ends[1:])
        empty = masses == 0
        if pinned:
            zero = np.argmin(np.abs(centroids))
            moved[zero], empty[zero] = 0, False
        if empty.any():
            farthest = np.argsort(-points.errors(centroids), kind="stable")[: int(empty.sum())]
            moved[empty] = points.values[farthest]
            moved = np.sort(moved)
        settled = np.abs(moved - centroids).max() <= tolerance
        centroids = moved
        if settled:
            break
    return centroids


def optimum(points: Points, k: int) -> np.ndarray:
    """Return the k centroids with the least squared error, by dynamic programming; more than k points.

    The best start of the last run moves to the right with its end, which halves the ends to look at again and again.
    """
    count = len(points.values)
    ends = np.arange(1, count + 1)
    least = np.concatenate([[0], points.costs(np.zeros(count, np.intp), ends)])  # (n + 1,) of the first i points
    cuts = []
    for _ in range(k - 1):
        least, cut = _one_more_run(points, least)
        cuts.append(cut)
    edges = [count]
    for cut in reversed(cuts):
        edges.append(int(cut[edges[-1]]))
    found = np.unique([0, *edges])  # next to equal points may have made a run of nothing as good
    return np.pad(points.runs(found[:-1], found[1:])[1], (0, k + 1 - len(found)), mode="edge")


def _one_more_run(points: Points, least: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least errors (n + 1,) with one run more than before, and where the last run starts (n + 1,)."""
    count = len(least) - 1
    better, cut = least.copy(), np.zeros(count + 1, np.intp)
    stride = 1 << count.bit_length()
    known = np.zeros(2 * stride + 1, np.intp)  # best starts by end; beyond the last end anything may be
    known[count + 1 :] = count
    while stride > 1:
        stride //= 2
        ends = np.arange(stride, count + 1, 2 * stride)
        first = known[ends - stride]
        last = np.minimum(known[ends + stride], ends - 1)
        lengths = last - first + 1
        offsets = np.concatenate([[0], lengths.cumsum()[:-1]])
        starts = np.arange(int(lengths.sum())) + np.repeat(first - offsets, lengths)
        errors = least[starts] + points.costs(starts, np.repeat(ends, lengths))
        lowest = np.minimum.reduceat(errors, offsets)
        hits = np.flatnonzero(errors == np.repeat(lowest, lengths))
        best = starts[hits[np.searchsorted(hits, offsets)]]
        better[ends], cut[ends], known[ends] = lowest, best, best
    return better, cut

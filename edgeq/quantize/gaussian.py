# SPDX-License-Identifier: Apache-2.0
"""Means and variances of functions of normal values."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Pair = tuple[np.ndarray, np.ndarray]  # mean, variance; shapes that broadcast, float64

NODES = 64  # of a quadrature; exact for polynomials up to degree 127
_ERF = np.frompyfunc(math.erf, 1, 1)


def cumulative(values: np.ndarray) -> np.ndarray:
    """Return the standard normal distribution function."""
    return np.asarray(0.5 * (1 + np.asarray(_ERF(values / math.sqrt(2)), np.float64)))


def density(values: np.ndarray) -> np.ndarray:
    """Return the standard normal density."""
    return np.asarray(np.exp(-0.5 * values * values) / math.sqrt(2 * math.pi))


def clamped(mean: np.ndarray, variance: np.ndarray, low: float | None, high: float | None) -> Pair:
    """Return mean and variance of min(max(x, low), high) for normal x; None is no bound.

    Source of the mean: Nagel et al., arXiv 1906.04721, appendix C; the second moment follows in the same way.
    """
    if low is None and high is None:
        return mean, variance
    std = np.sqrt(variance)
    safe = np.where(std > 0, std, 1)
    first, second = np.zeros(np.shape(mean)), np.zeros(np.shape(mean))  # moments about the mean
    inside = np.ones(np.shape(mean))
    slope, curve = np.zeros(np.shape(mean)), np.zeros(np.shape(mean))
    for bound, side in ((low, 1), (high, -1)):
        if bound is not None:
            reach = (bound - mean) / safe
            beyond = cumulative(side * reach)
            first += (bound - mean) * beyond
            second += (bound - mean) ** 2 * beyond
            inside -= beyond
            slope += side * density(reach)
            curve += side * reach * density(reach)
    first += safe * slope
    second += safe**2 * (inside + curve)
    exact = np.clip(mean, low, high)
    return np.where(std > 0, mean + first, exact), np.where(std > 0, np.maximum(second - first**2, 0), 0)


def mapped(mean: np.ndarray, variance: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> Pair:
    """Return mean and variance of an elementwise function of normal values, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    weights = weights / weights.sum()
    std = np.sqrt(variance)
    total, squares = np.zeros(np.shape(mean)), np.zeros(np.shape(mean))
    for node, weight in zip(nodes, weights, strict=True):
        values = function(mean + node * std).astype(np.float64)
        total = total + weight * values
        squares = squares + weight * values * values
    return total, np.maximum(squares - total**2, 0)


def product(one: Pair, other: Pair) -> Pair:
    """Return mean and variance of the product of two independent values."""
    (mean, variance), (mean_b, variance_b) = one, other
    return mean * mean_b, variance * variance_b + variance * mean_b**2 + variance_b * mean**2


def squared_difference(one: Pair, other: Pair) -> Pair:
    """Return mean and variance of (a - b)^2 for independent normal values."""
    mean, variance = one[0] - other[0], one[1] + other[1]
    return mean**2 + variance, 2 * variance**2 + 4 * mean**2 * variance

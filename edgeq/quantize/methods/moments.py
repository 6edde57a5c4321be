# SPDX-License-Identifier: Apache-2.0
"""Means over a layer's samples, in float64: what is decided from them does not depend on how a host orders its sums."""

from __future__ import annotations

import numpy as np

from edgeq.quantize.methods.compensation import LayerSamples, Rounded

_ROWS = 4096  # converted to float64 at a time


def by_group(values: np.ndarray, groups: int) -> np.ndarray:
    """Return values (O, K) of output channels as (G, O / G, K)."""
    return values.reshape(groups, -1, values.shape[1])


def mean_products(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the mean over rows n of left[g, n, i] * right[g, n, j] as (G, I, J), for n >= 1."""
    total = np.zeros((len(left), left.shape[2], right.shape[2]))
    for start in range(0, left.shape[1], _ROWS):
        first, second = (rows[:, start : start + _ROWS].astype(np.float64) for rows in (left, right))
        total += np.matmul(first.transpose(0, 2, 1), second)
    return np.asarray(total / left.shape[1])


def mean_output(inputs: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Return the mean (O,) over the rows of inputs (G, n, K) of what a layer makes of them before its activation."""
    means = inputs.mean(axis=1, dtype=np.float64)  # (G, K)
    products = by_group(weights, len(means)) * means[:, np.newaxis]
    return np.asarray(products.sum(axis=2).reshape(-1) + bias)


def output_errors(layer: LayerSamples, rounded: Rounded) -> np.ndarray:
    """Return the mean square (O,) of each channel's error behind the activation."""
    exact = layer.activation.apply(layer.outputs(layer.weights, layer.bias, exact=True))
    outputs = layer.activation.apply(layer.outputs(rounded.values, rounded.bias))
    return np.asarray(np.mean((outputs - exact) ** 2, axis=0))

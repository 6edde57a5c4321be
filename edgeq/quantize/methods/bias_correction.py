# SPDX-License-Identifier: Apache-2.0
"""Bias correction: rounding shifts the mean of each output channel; its bias can take that back for free."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.quantize.methods.compensation import Compensation, LayerSamples, Rounded
from edgeq.quantize.methods.moments import by_group, mean_output, mean_products

_MOST_GAIN = 2.0  # factor by which a channel's scale may change


@dataclass(frozen=True)
class BiasCorrection(Compensation):
    """Add to each bias what the channel's mean output lacks, before the activation, over all samples.

    With ``scales``, first multiply each channel's scale by the factor, 1/2 to 2, that together with the bias gives the
    least mean square error before the activation. This is the optimum that a learned error compensation term
    approaches by gradient descent. Both are free on a device.

    Source: Nagel et al., "Data-free quantization through weight equalization and bias correction", arXiv 1906.04721,
    its empirical form.
    """

    name: ClassVar[str] = "bias_correction"

    scales: bool = False

    def apply(self, layer: LayerSamples, rounded: Rounded) -> Rounded:
        if self.scales:
            grid = rounded.grid
            scales = np.asarray(grid.scales * _best_gains(layer, rounded), np.float32).astype(np.float64)
            rounded = dataclasses.replace(rounded, grid=dataclasses.replace(grid, scales=scales))
        exact = mean_output(layer.exact, layer.weights, layer.bias)
        missing = exact - mean_output(layer.inputs, rounded.values, rounded.bias)
        return dataclasses.replace(rounded, bias=rounded.bias + missing)


def _best_gains(layer: LayerSamples, rounded: Rounded) -> np.ndarray:
    """Return the slopes (O,) of the lines that best lead from the rounded layer's outputs to the float layer's."""
    weights, values = by_group(layer.weights, layer.groups), by_group(rounded.values, layer.groups)
    exact_mean, mean = (rows.mean(axis=1, dtype=np.float64) for rows in (layer.exact, layer.inputs))  # (G, K)
    cross = mean_products(layer.exact, layer.inputs) - exact_mean[:, :, np.newaxis] * mean[:, np.newaxis]
    own = mean_products(layer.inputs, layer.inputs) - mean[:, :, np.newaxis] * mean[:, np.newaxis]
    covariances = np.sum((weights @ cross) * values, axis=2).reshape(-1)
    variances = np.sum((values @ own) * values, axis=2).reshape(-1)
    gains = np.divide(covariances, variances, out=np.ones_like(variances), where=variances > 0)
    return np.asarray(np.clip(gains, 1 / _MOST_GAIN, _MOST_GAIN))

# SPDX-License-Identifier: Apache-2.0
"""AdaRound: learn for each weight whether to round it down or up."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import UsageError
from edgeq.ops.base import Activation
from edgeq.quantize.methods.compensation import Compensation, LayerSamples, Rounded
from edgeq.quantize.methods.moments import by_group, mean_products, output_errors

_STRETCH = (-0.1, 1.1)  # of the sigmoid, so that it reaches 0 and 1
_SPAN = _STRETCH[1] - _STRETCH[0]
_WARM_UP = 0.2  # of the iterations, without the pull towards 0 and 1
_SHARPNESS = (20.0, 2.0)  # exponent of that pull, first and last
_DECAYS = (0.9, 0.999)  # of Adam
_TINY = 1e-8
_LEAST_UNIT = 1e-3  # of a channel's error, in that of the worst channel

Gradient = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class AdaRound(Compensation):
    """Choose between the two values of any grid next to each weight; a channel that does not gain keeps its codes.

    The share h of the upper value, a stretched sigmoid, is learned by Adam. The loss is a channel's mean square error
    behind the activation, the rounded layer reading inputs with the errors of the layers before, plus ``pull`` *
    sum(1 - |2 h - 1|^beta) that drives h to 0 or 1. The error counts in units of the incoming codes' one, so that the
    outputs' unit does not matter. Without an activation the gradient is exact and needs only products of inputs; else
    it comes from ``rows`` rows at a time, in an order drawn once.

    Source: Nagel et al., "Up or down? Adaptive rounding for post-training quantization", arXiv 2004.10568. There it is
    10,000 iterations at a rate of 0.01, and a pull of 0.01 in the outputs' own unit; a tenth of the iterations at
    three times the rate finds roundings as good for layers of thousands of weights.
    """

    name: ClassVar[str] = "adaround"

    iterations: int = 1000
    rows: int = 256
    rate: float = 0.03
    pull: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for option in ("iterations", "rows", "rate"):
            value = getattr(self, option)
            if not 0 < value < np.inf:
                raise UsageError(f"adaround: {option} {value:g} given, a number above 0 expected")
        for option in ("pull", "seed"):
            value = getattr(self, option)
            if not 0 <= value < np.inf:
                raise UsageError(f"adaround: {option} {value:g} given, 0 or a number above it expected")

    def apply(self, layer: LayerSamples, rounded: Rounded) -> Rounded:
        lower, upper = rounded.grid.neighbours(layer.weights)
        low, high = (by_group(rounded.grid.values(codes), layer.groups) for codes in (lower, upper))
        before = output_errors(layer, rounded)
        units = np.maximum(before, _LEAST_UNIT * before.max(initial=_TINY)).reshape(layer.groups, -1, 1)
        gradient = self._gradient(layer, rounded)
        shares = self._learn(
            by_group(layer.weights, layer.groups), low, high, lambda weights: gradient(weights) / units
        )
        codes = np.where(shares.reshape(lower.shape) >= 0.5, upper, lower)
        learned = dataclasses.replace(rounded, codes=codes)
        gains = output_errors(layer, learned) < before
        return dataclasses.replace(rounded, codes=np.where(gains[:, np.newaxis], codes, rounded.codes))

    def _gradient(self, layer: LayerSamples, rounded: Rounded) -> Gradient:
        if layer.activation is Activation.NONE:
            return _full_gradient(layer, rounded)
        return _sampled_gradient(layer, rounded, rows=self.rows, rng=np.random.default_rng(self.seed))

    def _learn(self, weights: np.ndarray, low: np.ndarray, high: np.ndarray, gradient: Gradient) -> np.ndarray:
        """Return the share of ``high`` for each weight; all arrays are (G, O / G, K)."""
        gap = high - low
        shares = np.clip(np.divide(weights - low, gap, out=np.zeros_like(gap), where=gap > 0), 0, 1)
        sigmoid = (shares - _STRETCH[0]) / _SPAN
        logits = np.log(sigmoid / (1 - sigmoid))
        momentum, power = np.zeros_like(logits), np.zeros_like(logits)
        for iteration in range(self.iterations):
            slope = gradient(low + shares * gap) * gap + self._pull(shares, iteration / self.iterations)
            slope *= np.where((shares > 0) & (shares < 1), _SPAN * sigmoid * (1 - sigmoid), 0)
            momentum += (1 - _DECAYS[0]) * (slope - momentum)
            power += (1 - _DECAYS[1]) * (slope * slope - power)
            mean, square = (
                total / (1 - decay ** (iteration + 1)) for total, decay in zip((momentum, power), _DECAYS, strict=True)
            )
            logits -= self.rate * mean / (np.sqrt(square) + _TINY)
            sigmoid = 1 / (1 + np.exp(-logits))
            shares = np.clip(_SPAN * sigmoid + _STRETCH[0], 0, 1)
        return np.asarray(shares)

    def _pull(self, shares: np.ndarray, progress: float) -> np.ndarray | float:
        """Return the gradient of pull * sum(1 - |2 h - 1|^beta), beta falling along a cosine after the warm-up."""
        if progress < _WARM_UP:
            return 0.0
        turn = 0.5 * (1 + np.cos(np.pi * (progress - _WARM_UP) / (1 - _WARM_UP)))
        beta = _SHARPNESS[1] + (_SHARPNESS[0] - _SHARPNESS[1]) * turn
        sides = 2 * shares - 1
        return np.asarray(-2 * self.pull * beta * np.sign(sides) * np.abs(sides) ** (beta - 1))


def _full_gradient(layer: LayerSamples, rounded: Rounded) -> Gradient:
    """Return the gradient of the mean square error of a layer without activation, from products of its inputs."""
    products = mean_products(layer.inputs, layer.inputs)
    means = layer.inputs.mean(axis=1, dtype=np.float64)  # (G, K)
    offsets = (layer.bias - rounded.bias).reshape(layer.groups, -1, 1)
    wanted = by_group(layer.weights, layer.groups) @ mean_products(layer.exact, layer.inputs)
    wanted += offsets * means[:, np.newaxis]

    def gradient(weights: np.ndarray) -> np.ndarray:
        return np.asarray(2 * (weights @ products - wanted))

    return gradient


def _sampled_gradient(layer: LayerSamples, rounded: Rounded, *, rows: int, rng: np.random.Generator) -> Gradient:
    """Return a function that takes the next rows and returns the gradient of their mean square error."""
    exact = layer.activation.apply(layer.outputs(layer.weights, layer.bias, exact=True))  # (n, O)
    order = rng.permutation(len(exact))
    targets = exact[order].reshape(len(exact), layer.groups, -1).transpose(1, 0, 2)  # (G, n, O / G)
    inputs = layer.inputs[:, order]
    bias = rounded.bias.reshape(layer.groups, 1, -1)
    starts = itertools.cycle(range(0, max(len(exact) - rows, 0) + 1, rows))

    def gradient(weights: np.ndarray) -> np.ndarray:
        start = next(starts)
        taken = slice(start, start + rows)
        given = inputs[:, taken].astype(np.float64)
        sums = given @ weights.transpose(0, 2, 1) + bias
        outputs = layer.activation.apply(sums)
        errors = np.where(outputs == sums, outputs - targets[:, taken], 0)  # a clamped output does not move
        return np.asarray(2 / given.shape[1] * (errors.transpose(0, 2, 1) @ given))

    return gradient

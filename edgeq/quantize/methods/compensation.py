# SPDX-License-Identifier: Apache-2.0
"""Compensation: choosing codes and biases so that a layer's outputs, not just its weights, stay near the float ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ops.base import Activation
from edgeq.quantize.methods.weights import Grid


@dataclass(frozen=True, eq=False)
class LayerSamples:
    """One linear layer and what flowed through it: y[g, n, o] = sum_k x[g, n, k] * weights[o, k] + bias[o].

    Output channel o belongs to group g = o // (O / G); a depthwise layer has as many groups as channels. Rows n are
    tokens or the windows of images, possibly only some of them, drawn evenly.
    """

    name: str
    weights: np.ndarray  # (O, K) float64
    bias: np.ndarray  # (O,) float64
    activation: Activation
    exact: np.ndarray  # (G, n, K) float64: the inputs in the float model
    inputs: np.ndarray  # (G, n, K) float64: the inputs as the quantized layers before compute them

    @property
    def groups(self) -> int:
        return len(self.inputs)

    def outputs(self, weights: np.ndarray, bias: np.ndarray, *, exact: bool = False) -> np.ndarray:
        """Return what weights (O, K) and a bias (O,) make of the inputs, before the activation: (n, O) float64."""
        x = self.exact if exact else self.inputs
        matrices = weights.reshape(len(x), -1, weights.shape[1])  # (G, O / G, K)
        y = np.matmul(x, matrices.transpose(0, 2, 1).astype(x.dtype)).astype(np.float64)  # (G, n, O / G)
        return np.asarray(y.transpose(1, 0, 2).reshape(x.shape[1], -1) + bias)


@dataclass(frozen=True, eq=False)
class Rounded:
    """A layer's weights as codes (O, K) of a grid, and its bias (O,) as real numbers."""

    grid: Grid
    codes: np.ndarray
    bias: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """The real weights (O, K) that the codes stand for."""
        return self.grid.values(self.codes)


@dataclass(frozen=True)
class Compensation(ABC):
    """A way to make up for what rounding does; subclasses are frozen dataclasses whose fields are the options."""

    name: ClassVar[str]

    @abstractmethod
    def apply(self, layer: LayerSamples, rounded: Rounded) -> Rounded:
        """Return better codes or a better bias for the layer; deterministic."""

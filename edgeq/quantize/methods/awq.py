# SPDX-License-Identifier: Apache-2.0
"""Activation-aware scaling: give columns of weights that meet large activations finer steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ir.graph import Graph, Node
from edgeq.quantize.calibrate import run_batches
from edgeq.quantize.channels import measure_channels
from edgeq.quantize.layers import real_data, rows_of, window_count, windows_of
from edgeq.quantize.methods.cle import least_and_most
from edgeq.quantize.methods.nested import parse_weights
from edgeq.quantize.methods.transform import Samples, Transform, require_samples
from edgeq.quantize.methods.weights import WeightFormat
from edgeq.quantize.pairs import HOMOGENEOUS, find_pairs, rescale

EXPONENTS = 20
ROWS = 256  # of a layer's inputs that are taken from each batch that runs at once
SMALLEST = 1e-4  # mean magnitude, over the largest channel's, that still counts


@dataclass(frozen=True)
class Awq(Transform):
    """Multiply column c of a layer's weights by s = mean|x[c]|^a and divide the layer before by it.

    Of 20 exponents a from 0 to 1 each layer takes the one whose weights, rounded in the format ``weights``, change its
    outputs least over the samples: squared errors, over the power of each output channel. The format is spelled as in a
    recipe with semicolons for commas, as in ``int:bits=4;group=64``. Channels near an upper bound stay as
    ``cle:relu6=keep`` leaves them. Source: Lin et al., "AWQ: activation-aware weight quantization for on-device LLM
    compression and acceleration", arXiv 2306.00978, which has no division by power. Left out: inputs that several
    layers read, the search for clips, which belongs to formats, and depthwise layers, whose steps per channel a factor
    does not change.
    """

    name: ClassVar[str] = "awq"

    weights: str = "int:bits=4"

    def __post_init__(self) -> None:
        parse_weights(self.weights)

    def apply(self, graph: Graph, samples: Samples) -> Graph:
        require_samples(self.name, samples)
        chosen = parse_weights(self.weights)
        pairs = [
            pair
            for pair in find_pairs(graph, between=HOMOGENEOUS)
            if graph.nodes[pair.second].op.name != "depthwise_conv2d"
        ]
        seen = measure_channels(graph, samples, {index for pair in pairs for index in pair.tensors})
        products = _input_products(graph, samples, {pair.tensor: graph.nodes[pair.second] for pair in pairs})
        factors = []
        for pair in pairs:
            rows = rows_of(real_data(graph.tensors[graph.nodes[pair.second].inputs[1]]), 0)
            magnitudes = seen[pair.tensor].absolutes
            least, most = least_and_most(graph, pair, seen)
            candidates = [
                np.clip(_normalized(magnitudes, exponent), least, most) for exponent in np.linspace(0, 1, EXPONENTS)
            ]
            losses = [_loss(rows, divisors, products[pair.tensor], chosen) for divisors in candidates]
            factors.append((pair, 1 / candidates[int(np.argmin(losses))]))
        return rescale(graph, factors)


def _normalized(magnitudes: np.ndarray, exponent: float) -> np.ndarray:
    """Return magnitudes (C,) to a power, their extremes around 1 alike."""
    largest = magnitudes.max(initial=0)
    powers = np.maximum(magnitudes / (largest if largest > 0 else 1), SMALLEST) ** exponent
    return np.asarray(powers / np.sqrt(powers.max() * powers.min()))


def _loss(rows: np.ndarray, divisors: np.ndarray, products: np.ndarray, chosen: WeightFormat) -> float:
    """Return how much outputs change when rows (O, K) are rounded with columns multiplied by divisors.

    Squared, over the power of each output channel: what reads a small channel makes up for its size.
    """
    spread = np.tile(divisors, rows.shape[1] // len(divisors))  # (K,)
    scaled = rows * spread
    grid = chosen.fit(scaled)
    error = grid.values(grid.nearest(scaled)) / spread - rows
    powers = np.sum((rows @ products) * rows, axis=1)  # (O,)
    return float(np.sum(np.sum((error @ products) * error, axis=1) / np.where(powers > 0, powers, 1)))


def _input_products(graph: Graph, samples: Samples, layers: Mapping[int, Node]) -> dict[int, np.ndarray]:
    """Return sums of x x^T (K, K) over rows x that layers read, evenly drawn; layers by their input tensor."""
    sums: dict[int, np.ndarray] = {}
    rng = np.random.default_rng(0)

    def observe(index: int, values: np.ndarray) -> None:
        if index in layers:
            shape = graph.tensors[layers[index].inputs[1]].shape
            count = window_count(layers[index], values, shape)
            taken = np.sort(rng.choice(count, size=min(count, ROWS), replace=False))
            rows = windows_of(layers[index], values, shape, taken)[0].astype(np.float64)
            sums[index] = sums.get(index, 0) + rows.T @ rows

    for _ in run_batches(graph, samples, observe=observe, precise=True):
        pass
    return sums

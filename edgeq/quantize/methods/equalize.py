# SPDX-License-Identifier: Apache-2.0
"""Equalization: give the channels of a hidden tensor like sizes, so that one scale per tensor serves them all.

Between two layers, channel c of the first may be multiplied by a[c] > 0 if the second divides it out again: a clamp at
zero commutes with that, and scales per output channel absorb a in the first layer's weights at no cost. After
Nagel et al., "Data-free quantization through weight equalization and bias correction", arXiv 1906.04721, with sizes
measured on calibration data instead of derived from weights, and kept only where the whole graph gains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import UsageError
from edgeq.ir.graph import Graph
from edgeq.ops.base import Activation
from edgeq.quantize.channels import Channels, measure_channels
from edgeq.quantize.methods.transform import Samples, Transform, require_samples
from edgeq.quantize.pairs import Pair, find_pairs, rescale

MOST = 64.0  # how much a channel may grow
HEADROOM = 1.1  # how far beyond what was seen a channel stays clear of a fixed upper bound


@dataclass(frozen=True)
class Equalize(Transform):
    """Equalize the channels before all layers, or before depthwise layers only, by their sizes in the samples.

    By default the better of both is taken, or neither if the graph is better as it is.
    """

    name: ClassVar[str] = "equalize"

    before: str = "best"

    def __post_init__(self) -> None:
        if self.before not in ("best", "all", "depthwise"):
            raise UsageError(f"equalize: before={self.before!r} given, best, all or depthwise expected")

    def variants(self, graph: Graph, samples: Samples) -> list[Graph]:
        """Return the graph as it is and the ways to equalize it, if none was named."""
        if self.before != "best":
            return super().variants(graph, samples)
        require_samples(self.name, samples)
        return [graph, *equalized_variants(graph, samples)]

    def apply(self, graph: Graph, samples: Samples) -> Graph:
        """Return ``graph`` with equalized channels; see ``equalized_variants``."""
        require_samples(self.name, samples)
        pairs = [
            pair
            for pair in find_pairs(graph)
            if self.before != "depthwise" or graph.nodes[pair.second].op.name == "depthwise_conv2d"
        ]
        return _equalized(graph, pairs, measure_channels(graph, samples, {pair.tensor for pair in pairs}))


def equalized_variants(graph: Graph, batches: list[list[np.ndarray]]) -> list[Graph]:
    """Return float graphs with equalized channels: before depthwise layers only, and before all layers.

    Which of them gains, or none, depends on the weights: coarser columns of a dense layer can cost more than the finer
    channels bring. The outputs stay what they were, save that a channel below an upper bound is cut at 1.1 times its
    largest value seen in ``batches``. Rescaled tensors get another name, since their values differ from the source
    model's. The list is empty where no two layers go together.
    """
    pairs = find_pairs(graph)
    if not pairs:
        return []
    measured = measure_channels(graph, batches, {pair.tensor for pair in pairs})
    before_depthwise = [pair for pair in pairs if graph.nodes[pair.second].op.name == "depthwise_conv2d"]
    choices = [before_depthwise, pairs] if 0 < len(before_depthwise) < len(pairs) else [pairs]
    return [_equalized(graph, chosen, measured) for chosen in choices]


def _equalized(graph: Graph, pairs: list[Pair], measured: dict[int, Channels]) -> Graph:
    factors = []
    for pair in pairs:
        first, second = graph.nodes[pair.first], graph.nodes[pair.second]
        seen = measured[pair.tensor]
        factors.append((pair, _factors(np.sqrt(seen.squares), seen.high, first.op.activation, second.op.name)))
    return rescale(graph, factors)


def _factors(sizes: np.ndarray, peaks: np.ndarray, activation: Activation, second: str) -> np.ndarray:
    """Return a (C,), 1 <= a <= 64 in quarter octaves, from the channels' sizes and largest values.

    Before a depthwise layer, whose scales are per channel as well, sizes become equal; before others half so, in
    logarithms, since their weights for small channels would need the range of the large ones.
    """
    largest = sizes.max(initial=0)
    if not largest > 0:
        return np.ones(len(sizes))
    ratios = largest / np.maximum(sizes, largest / MOST)
    factors = ratios if second == "depthwise_conv2d" else np.sqrt(ratios)
    bound = activation.value[1]
    if bound is not None:
        room = bound / (HEADROOM * np.maximum(peaks, bound / MOST))
        factors = np.maximum(np.minimum(factors, room), 1)
    return np.asarray(2.0 ** (np.floor(4 * np.log2(factors)) / 4))

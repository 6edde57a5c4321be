# SPDX-License-Identifier: Apache-2.0
"""Smoothing: move the outliers of activations into weights, which have a scale per channel to take them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import UsageError
from edgeq.ir.graph import Graph
from edgeq.quantize.channels import measure_channels
from edgeq.quantize.layers import real_data
from edgeq.quantize.methods.cle import least_and_most
from edgeq.quantize.methods.transform import Samples, Transform, require_samples
from edgeq.quantize.pairs import HOMOGENEOUS, find_pairs, rescale

SMALLEST = 1e-5


@dataclass(frozen=True)
class Smooth(Transform):
    """Divide channel c of a layer's input by s = max|x[c]|^alpha / max|w[:, c]|^(1 - alpha), multiply its weights by s.

    The division goes into the layer before, so nothing is added to the model and its outputs do not change. alpha = 1
    makes all channels of the activation equally large, alpha = 0 all columns of the weights. Channels near an upper
    bound stay as ``cle:relu6=keep`` leaves them. Source: Xiao et al., "SmoothQuant: accurate and efficient
    post-training quantization for large language models", arXiv 2211.10438. Left out: inputs that several layers read.
    """

    name: ClassVar[str] = "smooth"

    alpha: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise UsageError(f"smooth: alpha={self.alpha:g} given, a number from 0 to 1 expected")

    def apply(self, graph: Graph, samples: Samples) -> Graph:
        require_samples(self.name, samples)
        pairs = find_pairs(graph, between=HOMOGENEOUS)
        seen = measure_channels(graph, samples, {index for pair in pairs for index in pair.tensors})
        factors = []
        for pair in pairs:
            channels = seen[pair.tensor]
            peaks = np.maximum(-channels.low, channels.high)  # (C,)
            weights = np.abs(real_data(graph.tensors[graph.nodes[pair.second].inputs[1]]))
            columns = weights.reshape(-1, len(peaks), weights.shape[-1] // len(peaks)).max(axis=(0, 2), initial=0)
            usable = (peaks > 0) & (columns > 0)
            parts = np.where(usable, peaks, 1) ** self.alpha, np.where(usable, columns, 1) ** (1 - self.alpha)
            divisors = np.clip(np.maximum(parts[0] / parts[1], SMALLEST), *least_and_most(graph, pair, seen))
            factors.append((pair, 1 / divisors))
        return rescale(graph, factors)

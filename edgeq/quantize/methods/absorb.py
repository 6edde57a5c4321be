# SPDX-License-Identifier: Apache-2.0
"""High-bias absorption: move the part of a channel that never changes into the bias of the next layer."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import UsageError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import ABSENT, Graph, Node, Tensor
from edgeq.ops.base import Activation
from edgeq.quantize.channels import Channels, measure_channels
from edgeq.quantize.expected import layer_response
from edgeq.quantize.layers import bias_of, real_data
from edgeq.quantize.methods.transform import Samples, Transform, require_samples
from edgeq.quantize.pairs import find_pairs


@dataclass(frozen=True)
class Absorb(Transform):
    """Lower channels that stay ``sigmas`` standard deviations above zero by that much, and raise the next layer's bias.

    A ReLU does not notice: values under the part moved, 0.1 % of a normal channel at 3 deviations, come out higher by
    what they lack. Without an activation the whole mean is moved, exactly. Equalization, which makes biases of small
    channels large, is what this repairs. Source: Nagel et al., "Data-free quantization through weight equalization and
    bias correction", arXiv 1906.04721, section 4.1.3. Left out: layers that pad, where the moved part would be missing
    at the borders, and bounds, which would have to move too.
    """

    name: ClassVar[str] = "absorb"

    sigmas: float = 3.0

    def __post_init__(self) -> None:
        if not 0 <= self.sigmas < np.inf:
            raise UsageError(f"absorb: sigmas={self.sigmas:g} given, a number from 0 expected")

    def apply(self, graph: Graph, samples: Samples) -> Graph:
        """Return the graph with lower channels; statistics of channels come from the samples."""
        require_samples(self.name, samples)
        pairs = find_pairs(graph)
        seen = measure_channels(graph, samples, {pair.tensor for pair in pairs})
        tensors, nodes = list(graph.tensors), list(graph.nodes)

        def with_bias(place: int, bias: np.ndarray) -> None:
            """Give a node another bias (O,)."""
            node = nodes[place]
            old = node.inputs[2] if len(node.inputs) > 2 else ABSENT
            name = f"{node.name}/bias" if old == ABSENT else tensors[old].name
            tensors.append(Tensor(name, bias.shape, DType.F32, data=bias.astype(np.float32)))
            nodes[place] = dataclasses.replace(node, inputs=(*node.inputs[:2], len(tensors) - 1))

        for pair in pairs:
            now = graph.replace(tensors=tensors, nodes=nodes)
            first, second = nodes[pair.first], nodes[pair.second]
            moved = self._moved(first, seen[pair.tensor])
            weights = real_data(tensors[second.inputs[1]])
            response = layer_response(now, second, weights, moved)
            response = response.reshape(-1, response.shape[-1])
            if moved.any() and np.allclose(response, response[0], rtol=1e-9, atol=1e-9 * np.abs(response).max()):
                with_bias(pair.first, bias_of(now, first) - moved)
                with_bias(pair.second, bias_of(now, second) + response[0])
                tensors[pair.tensor] = dataclasses.replace(
                    tensors[pair.tensor], name=f"{tensors[pair.tensor].name}/absorbed"
                )
        return graph.replace(tensors=tensors, nodes=nodes)

    def _moved(self, first: Node, channels: Channels) -> np.ndarray:
        """Return how much each channel (C,) is lowered."""
        if first.op.activation is Activation.NONE:
            return np.asarray(channels.mean)
        if first.op.activation is not Activation.RELU:
            return np.zeros(len(channels.sums))
        return np.asarray(np.maximum(channels.mean - self.sigmas * np.sqrt(channels.variance), 0))

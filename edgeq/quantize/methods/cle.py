# SPDX-License-Identifier: Apache-2.0
"""Cross-layer equalization: scale channels between layers so that both layers' weights are of like size there."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import UsageError
from edgeq.ir.graph import Graph, Node
from edgeq.ops.base import Activation
from edgeq.quantize.channels import Channels, measure_channels
from edgeq.quantize.layers import real_data
from edgeq.quantize.methods.equalize import HEADROOM
from edgeq.quantize.methods.transform import Samples, Transform
from edgeq.quantize.pairs import HOMOGENEOUS, Pair, find_pairs, rescale

SWEEPS = 20
SETTLED = 1e-3  # sweeps end when no factor is further from 1
LIMIT = 1e3  # factors stay within [1 / LIMIT, LIMIT]


@dataclass(frozen=True)
class Cle(Transform):
    """Divide channel c of a layer by s[c] and multiply it in the next by s[c], so that their largest weights are equal.

    With r1, r2 the largest weights of channel c in both layers s = sqrt(r1 / r2); around a depthwise layer all three
    layers are set to the cube root of their product at once. Sweeps over all layers go on until factors settle. Needs
    no data: ReLU, leaky ReLU, pooling or nothing between two layers lets scales through, and outputs do not change.

    An upper bound does not let them through. ``relu6=replace`` makes RELU6 a RELU where channels were scaled, and warns
    that it did: the model then differs on inputs that had reached the bound. ``relu6=keep`` leaves it alone, scaling
    only channels that stay, with a tenth to spare, below the bound in the samples before and after; none without
    samples. Source: Nagel et al., "Data-free quantization through weight equalization and bias correction",
    arXiv 1906.04721, section 4.1. Left out: a bound for each channel, which kernels do not have.
    """

    name: ClassVar[str] = "cle"

    relu6: str = "keep"

    def __post_init__(self) -> None:
        if self.relu6 not in ("replace", "keep"):
            raise UsageError(f"cle: relu6={self.relu6!r} given, replace or keep expected")

    def apply(self, graph: Graph, samples: Samples) -> Graph:
        pairs = find_pairs(graph, between=HOMOGENEOUS)
        bounded = {pair.tensors[0] for pair in pairs if _bound(graph, pair) is not None}
        seen = measure_channels(graph, samples, bounded) if self.relu6 == "keep" and samples else {}
        limits = {
            pair: least_and_most(graph, pair, seen) if self.relu6 == "keep" else _limits(graph, pair) for pair in pairs
        }
        factors = [(pair, factors) for pair, factors in _settle(graph, pairs, limits).items() if np.any(factors != 1)]
        scaled = rescale(graph, [(pair, 1 / by) for pair, by in factors])
        if self.relu6 == "replace":
            scaled = _unbound(scaled, {pair.first for pair, _ in factors if pair.tensors[0] in bounded})
        return scaled


def least_and_most(graph: Graph, pair: Pair, seen: Mapping[int, Channels]) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the largest s (C,) that leave an upper bound of the pair as it is.

    ``seen`` are the channels of what the first layer gives; without them nothing below a bound is scaled.
    """
    low, high = _limits(graph, pair)
    bound = _bound(graph, pair)
    if bound is None:
        return low, high
    channels = seen.get(pair.tensors[0])
    low = np.ones(len(low)) if channels is None else np.maximum(low, HEADROOM * channels.high / bound)
    high = np.where(low < 1, high, 1)
    return np.minimum(low, high), high


def _limits(graph: Graph, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    ones = np.ones(graph.tensors[pair.tensor].shape[-1])
    return ones / LIMIT, ones * LIMIT


def _bound(graph: Graph, pair: Pair) -> float | None:
    bound: float | None = graph.nodes[pair.first].op.activation.value[1]
    return bound


def _unbound(graph: Graph, places: set[int]) -> Graph:
    """Return the graph with RELU in place of RELU6 at these nodes."""
    if not places:
        return graph
    names = ", ".join(repr(graph.nodes[place].name) for place in sorted(places))
    warnings.warn(
        f"{graph.name}: cle made RELU6 a RELU in {len(places)} layers ({names}); values above 6 are not cut there, "
        "cle:relu6=keep leaves them as they are",
        stacklevel=4,
    )
    nodes: list[Node] = list(graph.nodes)
    for place in places:
        nodes[place] = dataclasses.replace(
            nodes[place], op=dataclasses.replace(nodes[place].op, activation=Activation.RELU)
        )
    return graph.replace(nodes=nodes)


class _Sizes:
    """The largest absolute weight from each input to each output channel of one layer, as factors change them."""

    def __init__(self, graph: Graph, node: Node) -> None:
        weights = np.abs(real_data(graph.tensors[node.inputs[1]]))
        self.depthwise = node.op.name == "depthwise_conv2d"
        axes = (0, 1, 2) if self.depthwise else tuple(range(1, weights.ndim - 1))
        self.values = weights.max(axis=axes, initial=0)  # (O, I), or (O,) if depthwise

    def of_outputs(self) -> np.ndarray:
        """Return (O,)."""
        return self.values if self.depthwise else np.asarray(self.values.max(axis=1, initial=0))

    def of_inputs(self, channels: int) -> np.ndarray:
        """Return (C,)."""
        return np.asarray(
            self.values.reshape(channels, -1).max(axis=1) if self.depthwise else self.values.max(axis=0, initial=0)
        )

    def scale_outputs(self, factors: np.ndarray) -> None:
        self.values *= factors if self.depthwise else factors[:, np.newaxis]

    def scale_inputs(self, factors: np.ndarray) -> None:
        self.values *= np.repeat(factors, len(self.values) // len(factors)) if self.depthwise else factors


def _settle(
    graph: Graph, pairs: list[Pair], limits: dict[Pair, tuple[np.ndarray, np.ndarray]]
) -> dict[Pair, np.ndarray]:
    """Return s (C,) for each pair, found in sweeps over all of them."""
    places = {place for pair in pairs for place in (pair.first, pair.second)}
    sizes = {place: _Sizes(graph, graph.nodes[place]) for place in places}
    totals = {pair: np.ones(len(low)) for pair, (low, _) in limits.items()}
    into = {pair.second: pair for pair in pairs}

    def turn(pair: Pair, factors: np.ndarray) -> float:
        """Apply factors to a pair within its limits; return how far from 1 the furthest was."""
        total = np.clip(totals[pair] * factors, *limits[pair])
        applied = total / totals[pair]
        totals[pair] = total
        sizes[pair.first].scale_outputs(1 / applied)
        sizes[pair.second].scale_inputs(applied)
        return float(np.abs(applied - 1).max(initial=0))

    for _ in range(SWEEPS):
        furthest = 0.0
        for pair in pairs:
            before = into.get(pair.first)
            first, second = sizes[pair.first].of_outputs(), sizes[pair.second].of_inputs(len(totals[pair]))
            if before is not None and sizes[pair.first].depthwise and len(totals[before]) == len(first):
                outer = sizes[before.first].of_outputs()
                middle = np.cbrt(outer * first * second)
                furthest = max(furthest, turn(before, _ratio(outer, middle)))
                furthest = max(furthest, turn(pair, _ratio(middle, second)))
            else:
                furthest = max(furthest, turn(pair, np.sqrt(_ratio(first, second))))
        if furthest < SETTLED:
            break
    return totals


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return above / below, 1 where either is 0."""
    usable = (above > 0) & (below > 0)
    return np.where(usable, above, 1) / np.where(usable, below, 1)

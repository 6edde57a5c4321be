# SPDX-License-Identifier: Apache-2.0
"""How much each layer of a quantized model loses: alone, on exact inputs, and accumulated over the layers before it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeq.ir.graph import Graph, Node
from edgeq.quantize.groups import is_activation
from edgeq.quantize.layers import real_data
from edgeq.quantize.static import Decisions
from edgeq.quantize.walk import Chunks, Visit, coded, quantized_constants, walk

KEPT = 65536  # values of a tensor that stay for statistics and pictures, evenly drawn


@dataclass(frozen=True)
class Likeness:
    """How near values are to the exact ones: 10 log10(sum r^2 / sum (r - r^)^2), infinite when equal; the cosine."""

    sqnr_db: float
    cosine: float


@dataclass(frozen=True, eq=False)
class Spread:
    """Exact values of a tensor and what became of them, evenly drawn: (n,) float32 each."""

    exact: np.ndarray
    found: np.ndarray


@dataclass(frozen=True, eq=False)
class LayerError:
    """What one node loses at its own output.

    ``weights``, ``activations`` and ``both`` are measured on exact inputs, with only that quantized in this node;
    ``weights`` is None where it has none. ``accumulated`` has all layers before it quantized too, and ``spread`` is of
    those values, ``weights_spread`` of the weights.
    """

    name: str
    op: str
    tensor: int  # index of its output in the decided graph
    weights: Likeness | None
    activations: Likeness
    both: Likeness
    accumulated: Likeness
    spread: Spread
    weights_spread: Spread | None


def measure_layers(decisions: Decisions, samples: Sequence[np.ndarray]) -> list[LayerError]:
    """Return the errors of every node that computes real values, in order; samples are one array (n, ...) per input."""
    graph = decisions.typed.graph

    def constants(node: Node, *_: Mapping[int, Chunks]) -> Mapping[int, np.ndarray]:
        return _constants(decisions, graph, node)

    visits = walk(graph, samples, params=decisions.params, dtypes=decisions.typed.dtypes, constants=constants)
    return [_measure(decisions, visit) for visit in visits if is_real(graph, visit.node)]


def is_real(graph: Graph, node: Node) -> bool:
    """Say whether a node of the decided graph computes real values; batching may have inserted others."""
    return node.outputs[0] < len(graph.tensors) and is_activation(graph, node.outputs[0])


def run_decided(decisions: Decisions, samples: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the first output (n, ...) of the float model and of the quantized one."""
    graph = decisions.typed.graph
    wanted = graph.outputs[0].tensor
    found: tuple[Chunks, Chunks] = ([], [])

    def constants(node: Node, *_: Mapping[int, Chunks]) -> Mapping[int, np.ndarray]:
        return _constants(decisions, graph, node)

    visits = walk(graph, samples, params=decisions.params, dtypes=decisions.typed.dtypes, constants=constants)
    for visit in visits:
        if wanted in visit.node.outputs:
            found = (visit.exact[wanted], visit.found[wanted])
    exact, quantized = (np.concatenate(chunks) for chunks in found)
    return exact, quantized


def _constants(decisions: Decisions, graph: Graph, node: Node) -> Mapping[int, np.ndarray]:
    rounded = decisions.rounded.get(node.outputs[0])
    return {} if rounded is None else quantized_constants(graph, node, rounded)


def _measure(decisions: Decisions, visit: Visit) -> LayerError:
    graph, params, dtypes = decisions.typed.graph, decisions.params, decisions.typed.dtypes
    node, output = visit.node, visit.node.outputs[0]
    exact = visit.exact[output]
    constants = _constants(decisions, graph, node)
    inputs = {index: visit.exact[index] for index in node.inputs if index in visit.exact}
    rounded_inputs = {index: coded(index, chunks, params, dtypes) for index, chunks in inputs.items()}

    def outputs(values: Mapping[int, Chunks], replaced: Mapping[int, np.ndarray]) -> Chunks:
        return visit.compute(values, replaced)[output]

    both = coded(output, outputs(rounded_inputs, constants), params, dtypes)
    activations = both if not constants else coded(output, outputs(rounded_inputs, {}), params, dtypes)
    return LayerError(
        name=node.name,
        op=node.op.name,
        tensor=output,
        weights=likeness(exact, outputs(inputs, constants)) if constants else None,
        activations=likeness(exact, activations),
        both=likeness(exact, both),
        accumulated=likeness(exact, visit.found[output]),
        spread=_spread(exact, visit.found[output]),
        weights_spread=_spread([real_data(graph.tensors[node.inputs[1]])], [constants[1]]) if constants else None,
    )


def likeness(exact: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> Likeness:
    """Compare two lists of arrays as if each were one."""
    signal = error = product = power = 0.0
    for one, other in zip(exact, found, strict=True):
        r, q = one.astype(np.float64), other.astype(np.float64)
        signal += float(np.sum(r * r))
        error += float(np.sum((r - q) ** 2))
        product += float(np.sum(r * q))
        power += float(np.sum(q * q))
    if error == 0:
        return Likeness(math.inf, 1.0)
    if signal == 0 or power == 0:
        return Likeness(-math.inf if signal == 0 else 0.0, 0.0)
    return Likeness(10 * math.log10(signal / error), product / math.sqrt(signal * power))


def _spread(exact: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> Spread:
    total = sum(chunk.size for chunk in exact)
    step = -(-total // KEPT) | 1  # odd, so that it does not fall on the same channels again and again
    pairs = [np.concatenate([chunk.reshape(-1) for chunk in chunks])[::step] for chunks in (exact, found)]
    return Spread(pairs[0].astype(np.float32), pairs[1].astype(np.float32))

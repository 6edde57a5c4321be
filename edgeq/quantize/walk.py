# SPDX-License-Identifier: Apache-2.0
"""Walk a float graph layer by layer, each on what the quantized layers before it give, and round its weights.

Two values of every tensor are carried along: the float model's, and what the quantized model will have, activations
rounded to their codes and weights as they were decided so far. Both are float64, so that what is decided does not
depend on how a host orders its sums.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeq.ir.dtypes import DType
from edgeq.ir.graph import ABSENT, Graph, Node
from edgeq.ir.qparams import QuantParams
from edgeq.ops.execute import run_float
from edgeq.quantize.affine import quantize
from edgeq.quantize.layers import (
    bias_index,
    bias_of,
    from_rows,
    is_linear,
    weight_rows,
    window_count,
    windows_of,
)
from edgeq.quantize.methods.compensation import LayerSamples, Rounded
from edgeq.rewrite.batch import evaluation_batch

MOST_ROWS = 4096  # of a layer's inputs that compensation sees
MOST_VALUES = 2**25  # of one tensor that are held, over all samples
CHUNK = 32  # samples that run at once

Chunks = list[np.ndarray]  # a tensor's values, some samples in each
Decide = Callable[[Node, LayerSamples], Rounded]
Alike = Callable[[Node], Hashable]
Constants = Callable[[Node, Mapping[int, Chunks], Mapping[int, Chunks]], Mapping[int, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Visit:
    """A node that the walk has just computed, with the values of its inputs and outputs: the float model's, and those
    that the quantized model will have. Later visits drop what nothing reads any more."""

    node: Node
    runners: list[Graph]  # the graph of each chunk
    position: int  # of the node in them
    exact: Mapping[int, Chunks]
    found: Mapping[int, Chunks]

    def compute(self, values: Mapping[int, Chunks], replaced: Mapping[int, np.ndarray]) -> dict[int, Chunks]:
        """Return the node's outputs on other inputs; ``replaced`` are other constants, by the node's input position."""
        return compute(self.runners, self.position, values, replaced)


def fake_quantize(values: np.ndarray, params: QuantParams, dtype: DType) -> np.ndarray:
    """Return the real values (float64) that the codes of values stand for; per-tensor parameters."""
    codes = quantize(values, params, dtype).astype(np.float64)
    return np.asarray((codes - params.zero_point) * params.scale)


def round_layers(
    graph: Graph,
    samples: Sequence[np.ndarray],
    *,
    params: Mapping[int, QuantParams],
    dtypes: Mapping[int, DType],
    decide: Decide,
    alike: Alike,
) -> dict[int, Rounded]:
    """Return each linear layer's rounded weights and bias by the index of its output tensor, in graph order.

    ``samples`` holds one array (n, ...) per input. ``params`` and ``dtypes`` are those of the activations. ``decide``
    is called for each layer, but once for layers that share weights and of which ``alike`` gives the same: they are
    decided together, on float inputs, before the walk begins, and what the bias of the first was moved by moves theirs.
    """
    shared = _shared_weights(graph, alike)
    chunks = _chunks(graph, samples) if shared else []
    together = {node.outputs[0]: nodes for nodes in shared for node in nodes}
    decided = {nodes[0].outputs[0]: decide(nodes[0], _gathered(graph, chunks, nodes)) for nodes in shared}
    rounded: dict[int, Rounded] = {}

    def constants(node: Node, exact: Mapping[int, Chunks], found: Mapping[int, Chunks]) -> dict[int, np.ndarray]:
        first = together.get(node.outputs[0], [node])[0]
        if first.outputs[0] not in decided:
            decided[first.outputs[0]] = decide(node, _layer_samples(graph, node, [(node, exact, found)]))
        choice = decided[first.outputs[0]]
        if bias_index(node) != bias_index(first):
            moved = choice.bias - bias_of(graph, first)
            choice = dataclasses.replace(choice, bias=bias_of(graph, node) + moved)
        rounded[node.outputs[0]] = choice
        return quantized_constants(graph, node, choice)

    for _ in walk(graph, samples, params=params, dtypes=dtypes, constants=constants):
        pass
    return rounded


def walk(
    graph: Graph,
    samples: Sequence[np.ndarray],
    *,
    params: Mapping[int, QuantParams],
    dtypes: Mapping[int, DType],
    constants: Constants,
) -> Iterator[Visit]:
    """Compute both values of every tensor, node by node; ``constants`` gives those of each linear layer, quantized.

    As many samples are taken as fit into memory.
    """
    chunks = _chunks(graph, samples)
    runners = [runner for runner, _ in chunks]
    exact: dict[int, Chunks] = {}
    found: dict[int, Chunks] = {}
    for place, port in enumerate(graph.inputs):
        arrays = [_wide(feeds[place]) for _, feeds in chunks]
        exact[port.tensor] = arrays
        found[port.tensor] = coded(port.tensor, arrays, params, dtypes)
    last_use = {index: position for position, node in enumerate(runners[0].nodes) for index in node.inputs}
    for position, node in enumerate(runners[0].nodes):
        replaced = constants(node, exact, found) if is_linear(graph, node) else {}
        exact |= compute(runners, position, exact, {})
        found |= {
            index: coded(index, arrays, params, dtypes)
            for index, arrays in compute(runners, position, found, replaced).items()
        }
        yield Visit(node, runners, position, exact, found)
        for index in {*node.inputs, *node.outputs}:
            if last_use.get(index, -1) <= position:
                exact.pop(index, None)
                found.pop(index, None)


def _chunks(graph: Graph, samples: Sequence[np.ndarray]) -> list[tuple[Graph, list[np.ndarray]]]:
    """Divide samples into parts that the graph takes at once; return each with the graph of its size."""
    sizes = [tensor.elements // (*tensor.shape, 1)[0] for tensor in graph.tensors if not tensor.is_constant]
    count = max(1, min(len(samples[0]), MOST_VALUES // max(*sizes, 1)))
    graphs: dict[int, tuple[Graph, int]] = {}
    found, start = [], 0
    while start < count:
        wanted = min(CHUNK, count - start)
        if wanted not in graphs:
            graphs[wanted] = evaluation_batch(graph, wanted)
        runner, size = graphs[wanted]
        if start + size > len(samples[0]):
            break
        found.append((runner, [array[start : start + size] for array in samples]))
        start += size
    return found


def coded(index: int, arrays: Chunks, params: Mapping[int, QuantParams], dtypes: Mapping[int, DType]) -> Chunks:
    """Return values as a tensor's codes stand for them; those of a tensor without parameters as they are."""
    if index not in params:
        return arrays
    return [fake_quantize(array, params[index], dtypes[index]) for array in arrays]


def compute(
    runners: list[Graph], position: int, values: Mapping[int, Chunks], replaced: Mapping[int, np.ndarray]
) -> dict[int, Chunks]:
    """Return a node's outputs for every chunk; ``replaced`` are other constants, by the node's input position."""
    results: dict[int, Chunks] = {index: [] for index in runners[0].nodes[position].outputs}
    for number, runner in enumerate(runners):
        node = runner.nodes[position]
        inputs: list[np.ndarray | None] = []
        for index in node.inputs:
            data = None if index == ABSENT else runner.tensors[index].data
            inputs.append(values[index][number] if index in values else None if data is None else _wide(data))
        inputs += [None] * (max(replaced, default=0) + 1 - len(inputs))  # a bias that the layer did not have
        for place, constant in replaced.items():
            inputs[place] = constant
        with np.errstate(over="ignore", under="ignore"):
            for index, result in zip(node.outputs, node.op.reference(inputs), strict=True):
                results[index].append(np.asarray(result))
    return results


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def quantized_constants(graph: Graph, node: Node, rounded: Rounded) -> dict[int, np.ndarray]:
    """Return a layer's quantized weights and bias by input position."""
    shape = graph.tensors[node.inputs[1]].shape
    weights = from_rows(rounded.values, shape, node.op.weight_axis)
    return {1: weights, 2: rounded.bias}


def _shared_weights(graph: Graph, alike: Alike) -> list[list[Node]]:
    """List the layers, several each, that share weights and are alike."""
    readers: dict[tuple[int, Hashable], list[Node]] = {}
    for node in graph.nodes:
        if is_linear(graph, node):
            readers.setdefault((node.inputs[1], alike(node)), []).append(node)
    return [nodes for nodes in readers.values() if len(nodes) > 1]


def _gathered(graph: Graph, chunks: list[tuple[Graph, list[np.ndarray]]], nodes: list[Node]) -> LayerSamples:
    """Return one layer's samples gathered over all uses of its weights, on the float model's values."""
    wanted = {node.inputs[0] for node in nodes}
    values: dict[int, Chunks] = {index: [] for index in wanted}

    def observe(index: int, value: np.ndarray) -> None:
        if index in wanted:
            values[index].append(value)

    for runner, feeds in chunks:
        run_float(runner, feeds, observe=observe, precise=True)
    return _layer_samples(graph, nodes[0], [(node, values, values) for node in nodes])


def _layer_samples(
    graph: Graph, node: Node, uses: list[tuple[Node, Mapping[int, Chunks], Mapping[int, Chunks]]]
) -> LayerSamples:
    """Return rows that the layer reads in its uses, evenly drawn, at most 4096 in all."""
    shape = graph.tensors[node.inputs[1]].shape
    parts = [
        (exact[use.inputs[0]][chunk], found[use.inputs[0]][chunk])
        for use, exact, found in uses
        for chunk in range(len(exact[use.inputs[0]]))
    ]
    counts = [window_count(node, part[0], shape) for part in parts]
    total = sum(counts)
    rng = np.random.default_rng(0)
    taken = np.sort(rng.choice(total, size=min(total, MOST_ROWS), replace=False))
    rows: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    start = 0
    for part, count in zip(parts, counts, strict=True):
        inside = taken[(taken >= start) & (taken < start + count)] - start
        for side in range(2):
            rows[side].append(windows_of(node, part[side], shape, inside))
        start += count
    return LayerSamples(
        name=node.name,
        weights=weight_rows(graph, node),
        bias=bias_of(graph, node),
        activation=node.op.activation,
        exact=np.concatenate(rows[0], axis=1),
        inputs=np.concatenate(rows[1], axis=1),
    )

# SPDX-License-Identifier: Apache-2.0
"""Run a float graph on NumPy, operator by operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgeq.errors import BadInputError, GraphError
from edgeq.ir.graph import ABSENT, Graph

Observe = Callable[[int, np.ndarray], None]


def run_float(
    graph: Graph, feeds: Sequence[np.ndarray], *, observe: Observe | None = None, precise: bool = False
) -> list[np.ndarray]:
    """Run every node's ``reference`` and return the outputs in the graph's order.

    ``feeds`` are the inputs in order, in exactly the shape and dtype of their tensors. ``observe`` is called with the
    index and the value of each input and of each computed tensor, in execution order. ``precise`` computes in float64
    from end to end. A value is dropped after its last use. Raises BadInputError for feeds that do not match,
    GraphError for a node whose result has another shape than the graph says.
    """
    wide = {np.dtype(np.float32): np.dtype(np.float64)} if precise else {}
    values = {index: feed.astype(wide.get(feed.dtype, feed.dtype)) for index, feed in _feed(graph, feeds).items()}
    if observe is not None:
        for index, value in values.items():
            observe(index, value)
    last_use = {index: position for position, node in enumerate(graph.nodes) for index in node.inputs}
    kept = {port.tensor for port in graph.outputs}

    def read(index: int) -> np.ndarray | None:
        if index == ABSENT or index in values:
            return values.get(index)
        data = graph.tensors[index].data
        return data if data is None else data.astype(wide.get(data.dtype, data.dtype), copy=False)

    with np.errstate(over="ignore", under="ignore"):
        for position, node in enumerate(graph.nodes):
            results = node.op.reference([read(index) for index in node.inputs])
            for index, result in zip(node.outputs, results, strict=True):
                tensor = graph.tensors[index]
                value = np.asarray(result, wide.get(tensor.dtype.numpy, tensor.dtype.numpy))
                if value.shape != tensor.shape:
                    raise GraphError(
                        f"{node.op.name} {node.name!r}: the result has shape {list(value.shape)}, "
                        f"the graph says {list(tensor.shape)}"
                    )
                values[index] = value
                if observe is not None:
                    observe(index, value)
            for index in {*node.inputs, *node.outputs}:
                if last_use.get(index, -1) <= position and index not in kept:
                    values.pop(index, None)
    outputs = [read(port.tensor) for port in graph.outputs]
    return [value for value in outputs if value is not None]


def _feed(graph: Graph, feeds: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
    if len(feeds) != len(graph.inputs):
        raise BadInputError(f"{graph.name}: {len(graph.inputs)} inputs expected, {len(feeds)} given")
    values = {}
    for port, feed in zip(graph.inputs, feeds, strict=True):
        tensor = graph.tensors[port.tensor]
        if feed.shape != tensor.shape or feed.dtype != tensor.dtype.numpy:
            raise BadInputError(
                f"input {port.name!r}: {tensor.dtype.numpy} of shape {list(tensor.shape)} expected, "
                f"{feed.dtype} of shape {list(feed.shape)} given"
            )
        values[port.tensor] = feed
    return values

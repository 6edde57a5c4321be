# SPDX-License-Identifier: Apache-2.0
"""Check that a graph keeps its own rules, whatever its operators mean."""

from __future__ import annotations

import math

import numpy as np

from edgeq.errors import GraphError, InvalidValueError
from edgeq.ir.graph import ABSENT, Graph, Node, Tensor

MAX_ELEMENTS = 2**31 - 1


def verify_graph(graph: Graph) -> None:
    """Raise GraphError, or InvalidValueError for a number that is not finite, at the first rule that is broken.

    Every index exists; names of tensors are unique and not empty; sizes are positive and their product fits int32;
    constants have the stated shape and dtype and finite values; no tensor is written twice; every tensor that is read
    is an input, a constant or the result of an earlier node.
    """
    _verify_names(graph)
    for tensor in graph.tensors:
        _verify_tensor(tensor)
    _verify_indices(graph)
    _verify_order(graph)


def _verify_names(graph: Graph) -> None:
    for what, names in (
        ("tensors", [tensor.name for tensor in graph.tensors]),
        ("inputs", [port.name for port in graph.inputs]),
        ("outputs", [port.name for port in graph.outputs]),
    ):
        seen: set[str] = set()
        for name in names:
            if not name:
                raise GraphError(f"one of the {what} has no name")
            if name in seen:
                raise GraphError(f'two {what} share the name "{name}"')
            seen.add(name)


def _verify_tensor(tensor: Tensor) -> None:
    if any(size <= 0 for size in tensor.shape):
        raise GraphError(f'tensor "{tensor.name}" has shape {list(tensor.shape)}, every size must be 1 or more')
    if math.prod(tensor.shape) > MAX_ELEMENTS:
        raise GraphError(f'tensor "{tensor.name}" of shape {list(tensor.shape)} has more than {MAX_ELEMENTS} elements')
    if tensor.quant is not None and tensor.quant.is_per_channel:
        axis, count = tensor.quant.axis, len(tensor.quant.scales)
        if axis is None or not 0 <= axis < len(tensor.shape) or tensor.shape[axis] != count:
            raise InvalidValueError(
                f'tensor "{tensor.name}" of shape {list(tensor.shape)} has {count} scales along dimension {axis}'
            )
    if tensor.data is None:
        return
    if tensor.data.shape != tensor.shape:
        raise GraphError(f'constant "{tensor.name}" has shape {list(tensor.shape)}, its data {list(tensor.data.shape)}')
    if tensor.data.dtype != tensor.dtype.numpy:
        raise GraphError(f'constant "{tensor.name}" is {tensor.dtype.numpy}, its data {tensor.data.dtype}')
    if tensor.dtype.is_float:
        _verify_finite(tensor, tensor.data)


def _verify_finite(tensor: Tensor, data: np.ndarray) -> None:
    finite = np.isfinite(data)
    if not finite.all():
        index = int(np.argmin(finite.reshape(-1)))
        value = data.reshape(-1)[index]
        raise InvalidValueError(f'constant "{tensor.name}" has {value} at flat index {index}')


def _verify_indices(graph: Graph) -> None:
    count = len(graph.tensors)
    for node in graph.nodes:
        for index in node.inputs:
            if index != ABSENT and not 0 <= index < count:
                raise GraphError(f"{_named(node)} reads tensor {index}, the graph has {count}")
        for index in node.outputs:
            if not 0 <= index < count:
                raise GraphError(f"{_named(node)} writes tensor {index}, the graph has {count}")
        if not node.outputs:
            raise GraphError(f"{_named(node)} writes no tensor")
    for port in (*graph.inputs, *graph.outputs):
        if not 0 <= port.tensor < count:
            raise GraphError(f'port "{port.name}" is tensor {port.tensor}, the graph has {count}')


def _verify_order(graph: Graph) -> None:
    known = {index for index, tensor in enumerate(graph.tensors) if tensor.is_constant}
    for port in graph.inputs:
        if port.tensor in known:
            raise GraphError(f'input "{port.name}" is a constant, or the same tensor as another input')
        known.add(port.tensor)
    producer: dict[int, Node] = {}
    for node in graph.nodes:
        for index in node.outputs:
            if index in producer or index in known:
                other = _named(producer[index]) if index in producer else "an input or a constant"
                raise GraphError(f'tensor "{graph.tensors[index].name}" is written by {_named(node)}, but also {other}')
            producer[index] = node
    for node in graph.nodes:
        for index in node.inputs:
            if index != ABSENT and index not in known:
                raise _not_yet_known(graph, node, index, producer)
        known.update(node.outputs)
    for port in graph.outputs:
        if port.tensor not in known:
            raise GraphError(f'output "{port.name}" is written by no node')


def _not_yet_known(graph: Graph, node: Node, index: int, producer: dict[int, Node]) -> GraphError:
    name = graph.tensors[index].name
    if index not in producer:
        return GraphError(f'{_named(node)} reads tensor "{name}", which no node writes and which is not an input')
    pending, seen = [producer[index]], set()
    while pending:
        current = pending.pop()
        if current is node:
            return GraphError(
                f'the graph has a cycle: {_named(node)} reads tensor "{name}", which depends on its result'
            )
        seen.add(current.outputs)
        sources = (producer[source] for source in current.inputs if source in producer)
        pending += [source for source in sources if source.outputs not in seen]
    return GraphError(f'{_named(node)} reads tensor "{name}" before {_named(producer[index])} has written it')


def _named(node: Node) -> str:
    return f'{node.op.name} "{node.name}"'

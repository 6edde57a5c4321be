# SPDX-License-Identifier: Apache-2.0
"""Give a float graph another batch size, so that calibration and evaluation run many samples at once."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from edgeq.errors import EdgeqError, GraphError, UnsupportedError
from edgeq.ir.graph import ABSENT, Graph, Node, Tensor
from edgeq.ops.base import Shape
from edgeq.ops.execute import run_float
from edgeq.ops.reshape import Reshape
from edgeq.ops.transpose import Transpose

_CHECK_BATCH = 2


def with_batch(graph: Graph, batch: int) -> Graph:
    """Return the float graph for ``batch`` samples: the leading size of every input becomes ``batch``.

    Every shape is inferred anew; reshapes, slices and the like adapt, and where a reshape moves the batch axis a
    transposition does it instead. Raises UnsupportedError where the graph mixes samples: shapes that do not go
    together, or (checked once on random values) results that depend on the other samples.
    """
    rebuilt = rebatch(graph, batch)
    _check_independence(graph)
    return rebuilt


def evaluation_batch(graph: Graph, batch: int) -> tuple[Graph, int]:
    """Return the graph for ``batch`` samples and ``batch``, or the graph itself and its own leading size."""
    try:
        return with_batch(graph, batch), batch
    except UnsupportedError:
        return graph, _leading_size(graph)


def _leading_size(graph: Graph) -> int:
    sizes = {graph.tensors[port.tensor].shape[:1] for port in graph.inputs}
    if len(sizes) != 1 or () in sizes:
        raise UnsupportedError(f"{graph.name}: its inputs have no common leading batch axis")
    return sizes.pop()[0]


def rebatch(graph: Graph, batch: int) -> Graph:
    """Infer every shape for another leading size, without proof that samples stay apart; any dtype."""
    old_batch = _leading_size(graph)
    tensors = list(graph.tensors)
    nodes: list[Node] = []
    for port in graph.inputs:
        tensors[port.tensor] = _reshaped(tensors[port.tensor], (batch, *tensors[port.tensor].shape[1:]))

    def add(node: Node) -> None:
        """Append a node after giving its outputs their new shapes."""
        sources = [None if index == ABSENT else tensors[index] for index in node.inputs]
        for index, shape in zip(node.outputs, node.op.infer_shape(sources), strict=True):
            tensors[index] = _reshaped(tensors[index], shape)
        nodes.append(node)

    for node in graph.nodes:
        if all(index == ABSENT or tensors[index].shape == graph.tensors[index].shape for index in node.inputs):
            nodes.append(node)  # reads no sample
            continue
        old_shapes = [None if index == ABSENT else graph.tensors[index].shape for index in node.inputs]
        new_shapes = [None if index == ABSENT else tensors[index].shape for index in node.inputs]
        target = graph.tensors[node.outputs[0]]
        try:
            if node.op.name == "reshape":
                assert old_shapes[0] is not None
                assert new_shapes[0] is not None
                _add_reshape(add, tensors, node, (old_shapes[0], new_shapes[0], target.shape), (old_batch, batch))
            else:
                op = _adapted(node.op, old_shapes[0], new_shapes[0], (old_batch, batch))
                add(dataclasses.replace(node, op=op))
        except GraphError as error:
            raise UnsupportedError(
                f"{node.op.name} {node.name!r} cannot run on {batch} samples at once: {error}"
            ) from error
    return graph.replace(tensors=tensors, nodes=nodes)


def _reshaped(tensor: Tensor, shape: Shape) -> Tensor:
    return dataclasses.replace(tensor, shape=tuple(shape))


def _adapted(op: Any, old: Shape | None, new: Shape | None, sizes: tuple[int, int]) -> Any:
    """Return the operator with the batch size replaced in its attributes."""
    old_batch, batch = sizes

    def follow(values: Shape) -> Shape:
        """Replace the sizes along axes of the first input whose size changed, where they span the whole axis."""
        assert old is not None
        assert new is not None
        return tuple(
            after if before != after and value == before else value
            for value, before, after in zip(values, old, new, strict=True)
        )

    if op.name == "slice":
        return dataclasses.replace(op, size=follow(op.size))
    if op.name == "strided_slice":
        leading = (batch, *op.shape[1:]) if op.shape[:1] == (old_batch,) else op.shape
        return dataclasses.replace(op, sizes=follow(op.sizes), shape=leading)
    if op.name == "transpose_conv":
        return dataclasses.replace(op, output_shape=(batch, *op.output_shape[1:]))
    if op.name in ("dynamic_quantize", "dynamic_linear"):
        if op.rows % old_batch:
            raise GraphError(f"{old_batch} samples share {op.rows} rows of run-time scales")
        return dataclasses.replace(op, rows=op.rows // old_batch * batch)
    return op


def _add_reshape(
    add: Any, tensors: list[Tensor], node: Node, shapes: tuple[Shape, Shape, Shape], sizes: tuple[int, int]
) -> None:
    """Reshape every sample alike: batch axis to the front, reshape the rest, batch axis to its new place."""
    (old, new, target), (old_batch, batch) = shapes, sizes
    moved = [axis for axis, (before, after) in enumerate(zip(old, new, strict=True)) if before != after]
    places = [axis for axis, size in enumerate(target) if size == old_batch]
    if len(moved) != 1 or not places:
        raise GraphError(f"the batch axis is lost between shapes {list(old)} and {list(target)}")
    source, place = node.inputs[0], places[0]

    def temporary(op: Any, index: int, shape: Shape) -> int:
        tensors.append(dataclasses.replace(tensors[index], name=f"{node.name}/batch", shape=shape, data=None))
        add(Node(f"{node.name}/batch", op, (index,), (len(tensors) - 1,)))
        return len(tensors) - 1

    if moved[0] != 0:
        order = (moved[0], *(axis for axis in range(len(new)) if axis != moved[0]))
        source = temporary(Transpose(order), source, tuple(new[axis] for axis in order))
    rest = tuple(size for axis, size in enumerate(target) if axis != place)
    if place == 0:
        add(dataclasses.replace(node, op=Reshape((batch, *rest)), inputs=(source,)))
    else:
        source = temporary(Reshape((batch, *rest)), source, (batch, *rest))
        order = (*range(1, place + 1), 0, *range(place + 1, len(target)))
        add(dataclasses.replace(node, op=Transpose(order), inputs=(source,)))


def _check_independence(graph: Graph) -> None:
    """Raise UnsupportedError unless two samples run together give what they give alone."""
    rng = np.random.default_rng(1)
    rebuilt = rebatch(graph, _CHECK_BATCH * _leading_size(graph))
    feeds = []
    for port in rebuilt.inputs:
        tensor = rebuilt.tensors[port.tensor]
        drawn = rng.uniform(-1, 1, tensor.shape) if tensor.dtype.is_float else rng.integers(0, 2, tensor.shape)
        feeds.append(drawn.astype(tensor.dtype.numpy))
    try:
        together = run_float(rebuilt, feeds)
    except (EdgeqError, ValueError) as error:
        raise UnsupportedError(f"{graph.name} cannot run several samples at once: {error}") from error
    parts = [np.split(feed, _CHECK_BATCH) for feed in feeds]
    alone = [run_float(graph, [part[sample] for part in parts]) for sample in range(_CHECK_BATCH)]
    for port, found, *expected in zip(graph.outputs, together, *alone, strict=True):
        joined = np.concatenate([np.atleast_1d(part) for part in expected])
        if found.shape != joined.shape or not np.allclose(found, joined, rtol=1e-3, atol=1e-4, equal_nan=True):
            raise UnsupportedError(f"{graph.name}: output {port.name!r} of one sample depends on the other samples")

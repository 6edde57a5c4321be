# SPDX-License-Identifier: Apache-2.0
"""Remove channels that no output depends on from the tensors that carry them and from the layers that make them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from edgeq.ir.graph import ABSENT, Graph, Node, Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.coded_weights import has_coding
from edgeq.ops.elementwise import Binary
from edgeq.ops.unary import Unary

UNMIXED = ("average_pool_2d", "max_pool_2d", "quantize", "resize_bilinear", "resize_nearest")
REDUCTIONS = ("mean", "reduce_max", "reduce_min", "sum")
OUTPUT_AXIS = {"conv2d": 0, "fully_connected": 0, "depthwise_conv2d": 3}  # of the weights

Channels = tuple[int, np.ndarray]  # a tensor and some of its channels, in an order that matters


def remove_unread_channels(graph: Graph) -> Graph:
    """Drop every channel (slice of the last axis) whose codes reach no output of the model.

    A channel is read when it belongs to a port, to an operator that is not known to keep channels apart, or meets a
    weight other than zero of an output channel that is read. Channels of tensors that an operator keeps apart, such as
    the sides of a depthwise convolution, an addition or a concatenation, stay or go together. Each tensor keeps at
    least one. Layers with low-bit weights read all their channels. Exact: what is removed only ever added zeros.
    """
    read = _read_channels(graph)
    if all(channels.all() for channels in read):
        return graph
    tensors = [_sliced(tensor, len(tensor.shape) - 1, kept) for tensor, kept in zip(graph.tensors, read, strict=True)]
    nodes = []
    for node in graph.nodes:
        if node.op.name in OUTPUT_AXIS:
            node = _sliced_layer(graph, node, read, tensors)
        elif node.op.name == "reshape":
            node = dataclasses.replace(node, op=dataclasses.replace(node.op, shape=tensors[node.outputs[0]].shape))
        nodes.append(node)
    return graph.replace(tensors=tensors, nodes=nodes)


def _read_channels(graph: Graph) -> list[np.ndarray]:
    """Say of each tensor which channels are read, (C,) bool each."""
    read = [np.zeros(tensor.shape[-1] if tensor.shape else 1, bool) for tensor in graph.tensors]
    for port in (*graph.inputs, *graph.outputs):
        read[port.tensor][:] = True
    pairs: list[tuple[Channels, Channels]] = []
    layers: list[tuple[Node, np.ndarray]] = []
    for node in graph.nodes:
        if any(has_coding(tensor) for tensor in graph.input_tensors(node)):  # tables and groups belong to channels
            for index in {*node.inputs, *node.outputs} - {ABSENT}:
                read[index][:] = True
            continue
        linked = list(_links(graph, node))
        pairs += linked
        apart = {index for sides in linked for index, _ in sides}
        matrix = _reading(graph, node)
        if matrix is not None:
            layers.append((node, matrix))
            apart |= {node.inputs[0], node.outputs[0]}
        for index in {*node.inputs, *node.outputs} - apart - {ABSENT}:
            read[index][:] = True
    while True:
        before = sum(int(channels.sum()) for channels in read)
        for (first, some), (second, others) in pairs:
            both = read[first][some] | read[second][others]
            read[first][some[both]] = True
            read[second][others[both]] = True
        for node, matrix in reversed(layers):
            read[node.inputs[0]] |= matrix[read[node.outputs[0]]].any(axis=0)
        if sum(int(channels.sum()) for channels in read) == before and not _add_one(graph, read):
            return read


def _reading(graph: Graph, node: Node) -> np.ndarray | None:
    """Return which output channels read which input channels, (O, C) bool; None unless every output may read all."""
    if node.op.name not in ("conv2d", "fully_connected"):
        return None
    source, kernel = graph.tensors[node.inputs[0]], graph.tensors[node.inputs[1]]
    if kernel.data is None or kernel.quant is None or source.shape[-1:] != kernel.shape[-1:]:
        return None
    matrix = np.asarray(kernel.data != kernel.quant.zero_points[0])  # a zero point per channel is 0 everywhere
    return matrix if matrix.ndim == 2 else np.asarray(matrix.any(axis=(1, 2)))


def _add_one(graph: Graph, read: list[np.ndarray]) -> bool:
    """Read one more channel where a tensor would have none, or the weights of a fully connected layer one scale.

    TFLM rounds such a layer by whether all its scales agree. Return whether a channel was added.
    """
    for channels in read:
        if not channels.any():
            channels[0] = True
            return True
    for node in graph.nodes:
        quant = graph.tensors[node.inputs[1]].quant if node.op.name == "fully_connected" else None
        if quant is not None and quant.is_per_channel:
            channels, scales = read[node.outputs[0]], np.array(quant.scales)
            others = scales != scales[np.flatnonzero(channels)[0]]
            if others.any() and not channels[others].any():
                channels[np.flatnonzero(others)[0]] = True
                return True
    return False


def _links(graph: Graph, node: Node) -> Iterator[tuple[Channels, Channels]]:
    """List pairs of channels, of inputs and of the output, that an operator keeps apart from all others."""
    op, index = node.op, node.outputs[0]
    source, target = graph.tensors[node.inputs[0]], graph.tensors[index]
    if not source.shape or not target.shape:
        return
    count, total = source.shape[-1], target.shape[-1]
    every, output = np.arange(count), np.arange(total)
    if op.name == "depthwise_conv2d":
        yield (node.inputs[0], output // (total // count)), (index, output)
    elif isinstance(op, Unary) or op.name in UNMIXED:
        yield (node.inputs[0], every), (index, output)
    elif isinstance(op, Binary):
        for other in node.inputs:
            if graph.tensors[other].shape[-1:] == (total,):
                yield (other, output), (index, output)
    elif (op.name in REDUCTIONS and len(source.shape) - 1 not in op.axes) or (
        op.name in ("pad", "mirror_pad") and not any(op.paddings[-1])
    ):
        yield (node.inputs[0], every), (index, output)
    elif op.name == "concatenation":
        first = 0
        joins_channels = op.axis in (-1, len(source.shape) - 1)
        for other in node.inputs:
            size = graph.tensors[other].shape[-1]
            yield (other, np.arange(size)), (index, np.arange(size) + first)
            first += size if joins_channels else 0
    elif op.name == "reshape" and total % count == 0:
        yield (node.inputs[0], output % count), (index, output)
    elif op.name == "reshape" and count % total == 0:
        yield (node.inputs[0], every), (index, every % total)


def _sliced_layer(graph: Graph, node: Node, read: list[np.ndarray], tensors: list[Tensor]) -> Node:
    """Return a layer with its weights and bias cut down, appended to ``tensors``."""
    kept_in, kept_out = read[node.inputs[0]], read[node.outputs[0]]
    positions = list(node.inputs)
    kernel = graph.tensors[positions[1]]
    if kernel.data is None or (kept_in.all() and kept_out.all()):
        return node
    if not kept_in.all() and node.op.name != "depthwise_conv2d":
        kernel = _sliced(kernel, len(kernel.shape) - 1, kept_in)
    positions[1] = len(tensors)
    tensors.append(_sliced(kernel, OUTPUT_AXIS[node.op.name], kept_out))
    if len(positions) > 2 and positions[2] != ABSENT:
        bias = graph.tensors[positions[2]]
        positions[2] = len(tensors)
        tensors.append(_sliced(bias, len(bias.shape) - 1, kept_out))
    return dataclasses.replace(node, inputs=tuple(positions))


def _sliced(tensor: Tensor, axis: int, kept: np.ndarray) -> Tensor:
    """Return a tensor with the slices ``kept`` (bool) of an axis, and their scales."""
    if kept.all():
        return tensor
    shape = (*tensor.shape[:axis], int(kept.sum()), *tensor.shape[axis + 1 :])
    quant = tensor.quant
    if quant is not None and quant.is_per_channel and quant.axis == axis:
        chosen = np.flatnonzero(kept)
        quant = QuantParams(
            tuple(quant.scales[i] for i in chosen), tuple(quant.zero_points[i] for i in chosen), quant.axis
        )
    data = None if tensor.data is None else np.ascontiguousarray(np.compress(kept, tensor.data, axis=axis))
    return dataclasses.replace(tensor, shape=shape, quant=quant, data=data)

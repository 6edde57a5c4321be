# SPDX-License-Identifier: Apache-2.0
"""Fold what batch normalization leaves behind, MUL and ADD by per-channel constants, into the layer before it."""

from __future__ import annotations

import dataclasses

import numpy as np

from edgeq.ir.dtypes import DType
from edgeq.ir.graph import ABSENT, Graph, Node, Tensor
from edgeq.ops.base import Activation


def fold_scales(graph: Graph) -> Graph:
    """Fold MUL, ADD and SUB by constants into the convolution or fully connected layer that feeds them.

    Done where the layer's weights and bias are constant, it has no activation and no other reader, and the constant
    has one value, or one per output channel. A fused activation of the folded node moves into the layer. Products
    are formed in float64 and rounded once. Weights shared by several layers are copied.
    """
    consumers = graph.consumers()
    exposed = {port.tensor for port in graph.outputs}
    tensors = list(graph.tensors)
    nodes: list[Node] = []
    position: dict[int, int] = {}  # tensor -> place in nodes of the layer that computes it
    for node in graph.nodes:
        source, factor = _operands(tensors, node)
        if source in position and len(consumers[source]) == 1 and source not in exposed:
            layer = nodes[position[source]]
            folded = _fold(tensors, layer, node, factor)
            if folded is not None:
                nodes[position[source]] = folded
                position[node.outputs[0]] = position.pop(source)
                continue
        for index in node.outputs:
            position[index] = len(nodes)
        nodes.append(node)
    return graph.replace(tensors=tensors, nodes=nodes)


def _operands(tensors: list[Tensor], node: Node) -> tuple[int, int]:
    """Return (computed operand, constant operand) of a MUL, ADD or SUB; (ABSENT, ABSENT) for anything else."""
    if node.op.name in ("mul", "add", "sub"):
        first, second = node.inputs
        if tensors[second].is_constant and not tensors[first].is_constant:
            return first, second
        if tensors[first].is_constant and not tensors[second].is_constant:
            return second, first
    return ABSENT, ABSENT


def _fold(tensors: list[Tensor], layer: Node, node: Node, constant: int) -> Node | None:
    """Return the layer with the node folded in, its new constants appended to ``tensors``; None where it cannot."""
    op = layer.op
    if op.weight_input is None or op.bias_input is None or getattr(op, "activation", None) is not Activation.NONE:
        return None
    weight = tensors[layer.inputs[op.weight_input]]
    bias_index = layer.inputs[op.bias_input] if len(layer.inputs) > op.bias_input else ABSENT
    bias = None if bias_index == ABSENT else tensors[bias_index]
    target, operand = tensors[node.outputs[0]], tensors[constant]
    channels = tensors[layer.outputs[0]].shape[-1]
    per_channel = operand.elements == 1 or (operand.elements == channels and operand.shape[-1] == channels)
    if (
        weight.data is None
        or (bias is not None and bias.data is None)
        or operand.data is None
        or weight.dtype is not DType.F32
        or weight.shape[op.weight_axis] != channels
        or target.shape != tensors[layer.outputs[0]].shape
        or not per_channel
    ):
        return None
    values = np.broadcast_to(operand.data.reshape(-1).astype(np.float64), (channels,))  # (C,)
    weights = weight.data.astype(np.float64)
    biases = np.zeros(channels) if bias is None or bias.data is None else bias.data.astype(np.float64)  # (C,)
    if node.op.name == "mul":
        scale, offset = values, np.zeros(channels)
    elif node.op.name == "add":
        scale, offset = np.ones(channels), values
    elif node.inputs[1] == constant:
        scale, offset = np.ones(channels), -values
    else:
        scale, offset = -np.ones(channels), values
    along_axis = [1] * weights.ndim
    along_axis[op.weight_axis] = channels
    inputs = list(layer.inputs) + [ABSENT] * (op.bias_input + 1 - len(layer.inputs))
    if not np.all(scale == 1):
        inputs[op.weight_input] = _append(tensors, weight.name, weights * scale.reshape(along_axis))
    inputs[op.bias_input] = _append(tensors, bias.name if bias else f"{layer.name}/bias", biases * scale + offset)
    return dataclasses.replace(
        layer,
        op=dataclasses.replace(op, activation=node.op.activation),
        inputs=tuple(inputs),
        outputs=node.outputs,
    )


def _append(tensors: list[Tensor], name: str, values: np.ndarray) -> int:
    """Append a float32 constant; return its index."""
    tensors.append(Tensor(name, values.shape, DType.F32, data=values.astype(np.float32)))
    return len(tensors) - 1

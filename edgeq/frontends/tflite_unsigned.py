# SPDX-License-Identifier: Apache-2.0
"""Give a model that was read as int8 the uint8 ends that its file declares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgeq.errors import UnsupportedError
from edgeq.frontends.tflite_tensors import shift_zero_points
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Graph, Node, Port, Tensor
from edgeq.ops.quantize import Quantize


def restore_unsigned_ends(graph: Graph, unsigned: Sequence[int]) -> Graph:
    """Make the tensors ``unsigned``, inputs or outputs that are int8 so far, uint8 again.

    A Quantize node between the uint8 tensor and the int8 one shifts codes and zero point by 128. No node is added
    where a Quantize of the model itself stands at the end: it reads or writes uint8 directly.
    """
    for index in unsigned:
        inner = graph.tensors[index]
        if inner.quant is None:
            raise UnsupportedError(f'input or output "{inner.name}" is uint8 without a scale')
        outer = replace(inner, dtype=DType.U8, quant=shift_zero_points(inner.quant, 128))
        is_input = any(port.tensor == index for port in graph.inputs)
        if _only_quantize(graph, index, is_input=is_input):
            graph = _with_ports(graph, index, index, _replaced(graph.tensors, index, outer))
        else:
            graph = _with_node(graph, index, outer, is_input=is_input)
    return graph


def _only_quantize(graph: Graph, index: int, *, is_input: bool) -> bool:
    """Whether nothing but Quantize nodes touches the tensor, and it is either an input or an output."""
    touching = [node for node in graph.nodes if index in node.inputs or index in node.outputs]
    other_end = graph.outputs if is_input else graph.inputs
    at_end = all((index in node.inputs) == is_input for node in touching)
    return at_end and all(isinstance(node.op, Quantize) for node in touching) and index not in _tensors_of(other_end)


def _tensors_of(ports: Sequence[Port]) -> set[int]:
    return {port.tensor for port in ports}


def _with_node(graph: Graph, index: int, outer: Tensor, *, is_input: bool) -> Graph:
    name, taken = f"{outer.name}/int8", {tensor.name for tensor in graph.tensors}
    while name in taken:
        name += "_"
    inner, last = replace(graph.tensors[index], name=name), len(graph.tensors)
    if is_input:
        nodes = (Node(name, Quantize(), (last,), (index,)), *graph.nodes)
    else:
        nodes = (
            *(replace(node, name=name) if node.name == outer.name else node for node in graph.nodes),
            Node(outer.name, Quantize(), (index,), (last,)),
        )
    tensors = (*_replaced(graph.tensors, index, inner), outer)
    return _with_ports(graph.replace(nodes=nodes), index, last, tensors)


def _replaced(tensors: Sequence[Tensor], index: int, tensor: Tensor) -> tuple[Tensor, ...]:
    return (*tensors[:index], tensor, *tensors[index + 1 :])


def _with_ports(graph: Graph, old: int, new: int, tensors: tuple[Tensor, ...]) -> Graph:
    """Move the ports of tensor ``old`` to the uint8 tensor ``new``."""
    inputs, outputs = (
        [replace(port, tensor=new, dtype=DType.U8) if port.tensor == old else port for port in ports]
        for ports in (graph.inputs, graph.outputs)
    )
    return graph.replace(tensors=tensors, inputs=inputs, outputs=outputs)

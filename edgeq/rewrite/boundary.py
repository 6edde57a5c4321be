# SPDX-License-Identifier: Apache-2.0
"""Strip float ends: a QUANTIZE behind a float input and a DEQUANTIZE before a float output become the port's work."""

from __future__ import annotations

from dataclasses import replace

from edgeq.errors import UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Graph, Node, Port
from edgeq.rewrite.dead import remove_dead

Reason = tuple[str, str, str, str]  # node, operator, reason, hint


def strip_boundary(graph: Graph) -> Graph:
    """Make the integer tensors behind float ends the tensors of the ports, whose dtype stays float32.

    A float input may feed several QUANTIZE nodes of equal parameters. A graph without integer tensors that stand for
    real values comes back as it is. Raises UnsupportedError listing every node that still computes on float tensors.
    """
    if not any(tensor.quant is not None and not tensor.dtype.is_float for tensor in graph.tensors):
        return graph
    for place in range(len(graph.inputs)):
        graph = _strip_input(graph, place)
    graph = graph.replace(outputs=[_strip_output(graph, port) for port in graph.outputs])
    graph = remove_dead(graph)
    reasons = _float_islands(graph)
    if reasons:
        lines = [f'{op} "{node}": {reason}' for node, op, reason, _ in reasons]
        raise UnsupportedError("\n".join(lines), hint=reasons[0][3], reasons=tuple(reasons))
    return graph


def _strip_input(graph: Graph, place: int) -> Graph:
    port = graph.inputs[place]
    readers = [node for node in graph.nodes if port.tensor in node.inputs]
    if not graph.tensors[port.tensor].dtype.is_float or not readers:
        return graph
    if any(node.op.name != "quantize" for node in readers):
        return graph
    kept, *others = (node.outputs[0] for node in readers)
    first = graph.tensors[kept]
    if any((graph.tensors[index].dtype, graph.tensors[index].quant) != (first.dtype, first.quant) for index in others):
        return graph
    if any(other.tensor == port.tensor for other in graph.outputs):
        return graph
    merged = dict.fromkeys(others, kept)
    nodes = [
        replace(node, inputs=tuple(merged.get(index, index) for index in node.inputs))
        for node in graph.nodes
        if node not in readers
    ]
    inputs, outputs = list(graph.inputs), list(graph.outputs)
    inputs[place] = replace(port, tensor=kept)
    outputs = [replace(other, tensor=merged.get(other.tensor, other.tensor)) for other in outputs]
    return graph.replace(nodes=nodes, inputs=inputs, outputs=outputs)


def _strip_output(graph: Graph, port: Port) -> Port:
    writer = next((node for node in graph.nodes if port.tensor in node.outputs), None)
    if writer is None or writer.op.name != "dequantize":
        return port
    return replace(port, tensor=writer.inputs[0])


def _float_islands(graph: Graph) -> list[Reason]:
    hint = "quantize the whole model, with float32 at its inputs and outputs at most"
    reasons = []
    for node in graph.nodes:
        tensors = [*graph.input_tensors(node), *graph.output_tensors(node)]
        real = next((tensor for tensor in tensors if tensor is not None and tensor.dtype is DType.F32), None)
        if real is not None:
            reasons.append((node.name, node.op.name, _why(graph, node, real.name), hint))
    for port in (*graph.inputs, *graph.outputs):
        if graph.tensors[port.tensor].dtype.is_float and not _touched(graph, port.tensor):
            reasons.append((port.name, "port", "it is float32 and no node quantizes it", hint))
    return reasons


def _why(graph: Graph, node: Node, name: str) -> str:
    if node.op.name == "quantize" and any(port.tensor in node.inputs for port in graph.inputs):
        return f"float input {name!r} is quantized in more than one way, or read by a float operator too"
    if node.op.name in ("quantize", "dequantize"):
        return f"float island: it stands between integers and the float32 tensor {name!r} inside the model"
    return f"float island: it computes on the float32 tensor {name!r}"


def _touched(graph: Graph, index: int) -> bool:
    return any(index in (*node.inputs, *node.outputs) for node in graph.nodes)

# SPDX-License-Identifier: Apache-2.0
"""Where int8 and int16 activations meet: requantizations between nodes of different dtypes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Graph, Node
from edgeq.ops.quantize import Quantize
from edgeq.quantize.assign import Choice
from edgeq.quantize.groups import is_activation


@dataclasses.dataclass(frozen=True)
class Typed:
    """A float graph whose nodes read and write real tensors of one dtype each, and the choice for each node."""

    graph: Graph
    choices: tuple[Choice, ...]
    dtypes: dict[int, DType]  # of every tensor that holds real values computed at run time


def separate_dtypes(graph: Graph, choices: Sequence[Choice]) -> Typed:
    """Insert a QUANTIZE wherever a node reads a tensor that was made in another dtype; nodes that agree share it.

    A model input has the dtype of the first node that reads it.
    """
    tensors, nodes, kept = list(graph.tensors), list[Node](), list[Choice]()
    dtypes: dict[int, DType] = {}
    copies: dict[tuple[int, DType], int] = {}
    for node, choice in zip(graph.nodes, choices, strict=True):
        wanted = choice.activations
        inputs = list(node.inputs)
        for position, index in enumerate(node.inputs):
            if not is_activation(graph, index) or dtypes.setdefault(index, wanted) is wanted:
                continue
            if (index, wanted) not in copies:
                copies[index, wanted] = len(tensors)
                name = f"{tensors[index].name}/{wanted.numpy.name}"
                tensors.append(dataclasses.replace(tensors[index], name=name))
                nodes.append(Node(name, Quantize(), (index,), (copies[index, wanted],)))
                kept.append(choice)
                dtypes[copies[index, wanted]] = wanted
            inputs[position] = copies[index, wanted]
        nodes.append(dataclasses.replace(node, inputs=tuple(inputs)))
        kept.append(choice)
        dtypes |= {index: wanted for index in node.outputs if is_activation(graph, index)}
    for port in graph.inputs:  # one that no node reads
        if is_activation(graph, port.tensor):
            dtypes.setdefault(port.tensor, DType.S8)
    return Typed(graph.replace(tensors=tensors, nodes=nodes), tuple(kept), dtypes)

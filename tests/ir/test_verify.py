# SPDX-License-Identifier: Apache-2.0
"""The rules of a graph: what verify_graph accepts and how it names what it refuses."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from edgeq.errors import GraphError, InvalidValueError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import ABSENT, Graph, Node, Port, Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ir.verify import verify_graph


@dataclass(frozen=True)
class Any:
    name: str = "any"


def chain() -> Graph:
    """x -> a -> b -> y with one constant."""
    tensors = (
        *(Tensor(name, (2, 3), DType.F32) for name in ("x", "t", "y")),
        Tensor("w", (3,), DType.F32, data=np.ones(3, np.float32)),
    )
    nodes = (Node("a", Any(), (0, 3, ABSENT), (1,)), Node("b", Any(), (1,), (2,)))
    return Graph("chain", tensors, nodes, (Port("x", 0, DType.F32),), (Port("y", 2, DType.F32),))


def with_tensor(index: int, **changes: object) -> Graph:
    graph = chain()
    tensors = list(graph.tensors)
    tensors[index] = replace(tensors[index], **changes)
    return graph.replace(tensors=tensors)


def with_nodes(*nodes: Node) -> Graph:
    return chain().replace(nodes=nodes)


def test_a_legal_graph_is_accepted() -> None:
    verify_graph(chain())


CASES = {
    "empty name": (with_tensor(1, name=""), GraphError, "no name"),
    "shared name": (with_tensor(1, name="x"), GraphError, 'share the name "x"'),
    "size zero": (with_tensor(1, shape=(2, 0)), GraphError, r"\[2, 0\], every size"),
    "too many elements": (with_tensor(1, shape=(65536, 32768)), GraphError, "more than 2147483647"),
    "constant shape": (with_tensor(3, shape=(4,)), GraphError, r"shape \[4\], its data \[3\]"),
    "constant dtype": (with_tensor(3, dtype=DType.S32), GraphError, "is int32, its data float32"),
    "not finite": (
        with_tensor(3, data=np.array([1, 2, np.nan], np.float32)), InvalidValueError, '"w" has nan at flat index 2',
    ),
    "scales": (
        with_tensor(0, quant=QuantParams.per_channel(np.ones(4), 1)), InvalidValueError, "4 scales along dimension 1",
    ),
    "input index": (with_nodes(Node("a", Any(), (9,), (1,))), GraphError, '"a" reads tensor 9, the graph has 4'),
    "output index": (with_nodes(Node("a", Any(), (0,), (-1,))), GraphError, '"a" writes tensor -1'),
    "no output": (with_nodes(Node("a", Any(), (0,), ())), GraphError, "writes no tensor"),
    "two producers": (
        with_nodes(Node("a", Any(), (0,), (2,)), Node("b", Any(), (0,), (2,))), GraphError, '"y" is written by any "b"',
    ),
    "writes a constant": (with_nodes(Node("a", Any(), (0,), (3,))), GraphError, "an input or a constant"),
    "dangling": (with_nodes(Node("b", Any(), (1,), (2,))), GraphError, '"t", which no node writes'),
    "cycle": (
        with_nodes(Node("a", Any(), (2,), (1,)), Node("b", Any(), (1,), (2,))), GraphError, "the graph has a cycle",
    ),
    "self": (with_nodes(Node("a", Any(), (2,), (2,))), GraphError, "the graph has a cycle"),
    "order": (
        with_nodes(Node("b", Any(), (1,), (2,)), Node("a", Any(), (0,), (1,))), GraphError, 'before any "a"',
    ),
    "output not written": (with_nodes(Node("a", Any(), (0,), (1,))), GraphError, 'output "y" is written by no node'),
    "port index": (chain().replace(outputs=(Port("y", 7, DType.F32),)), GraphError, "is tensor 7"),
    "input twice": (
        chain().replace(inputs=(Port("x", 0, DType.F32), Port("z", 0, DType.F32))), GraphError, "as another input",
    ),
    "constant input": (chain().replace(inputs=(Port("w", 3, DType.F32),)), GraphError, "is a constant"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_broken_rule_is_named(case: str) -> None:
    graph, error, message = CASES[case]
    with pytest.raises(error, match=message):
        verify_graph(graph)

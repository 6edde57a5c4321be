# SPDX-License-Identifier: Apache-2.0
"""Float ends that quantize or dequantize become the ports' work; float islands are refused by name."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from edgeq.errors import UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Graph, Node, Port, Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ir.verify import verify_graph
from edgeq.ops.add import Add
from edgeq.ops.base import Op
from edgeq.ops.dequantize import Dequantize
from edgeq.ops.quantize import Quantize
from edgeq.ops.relu import Relu
from edgeq.rewrite.boundary import strip_boundary

QUANT = QuantParams.of(0.5, 3)


def graph_of(nodes: Sequence[tuple[Op, str, str]], inputs: str, outputs: str, **quants: QuantParams) -> Graph:
    """Nodes are (op, inputs, output); tensors have one letter, capitals are float32, the others int8."""
    names = sorted({*inputs, *outputs, *(name for _, read, written in nodes for name in read + written)})
    number = {name: index for index, name in enumerate(names)}
    tensors = [
        Tensor(name, (2,), DType.F32) if name.isupper() else Tensor(name, (2,), DType.S8, quants.get(name, QUANT))
        for name in names
    ]

    def ports(letters: str) -> tuple[Port, ...]:
        return tuple(Port(name, number[name], tensors[number[name]].dtype) for name in letters)

    built = tuple(
        Node(written, op, tuple(number[name] for name in read), (number[written],)) for op, read, written in nodes
    )
    return Graph("g", tuple(tensors), built, ports(inputs), ports(outputs))


def ends(graph: Graph) -> list[tuple[str, str, DType]]:
    return [(port.name, graph.tensors[port.tensor].name, port.dtype) for port in (*graph.inputs, *graph.outputs)]


def test_integer_tensors_become_the_ports_tensors() -> None:
    graph = graph_of([(Quantize(), "X", "x"), (Relu(), "x", "y"), (Dequantize(), "y", "Y")], "X", "Y")
    stripped = strip_boundary(graph)
    verify_graph(stripped)
    assert [node.name for node in stripped.nodes] == ["y"]
    assert ends(stripped) == [("X", "x", DType.F32), ("Y", "y", DType.F32)]
    assert len(stripped.tensors) == 2


def test_equal_quantize_nodes_are_merged() -> None:
    graph = graph_of([(Quantize(), "X", "a"), (Quantize(), "X", "b"), (Add(), "ab", "y")], "X", "yb")
    stripped = strip_boundary(graph)
    verify_graph(stripped)
    assert stripped.nodes[0].inputs == (stripped.inputs[0].tensor,) * 2
    assert ends(stripped) == [("X", "a", DType.F32), ("y", "y", DType.S8), ("b", "a", DType.S8)]


def test_one_result_may_leave_as_codes_and_as_real_values() -> None:
    graph = graph_of([(Relu(), "x", "y"), (Dequantize(), "y", "Y")], "x", "yY")
    assert ends(strip_boundary(graph)) == [("x", "x", DType.S8), ("y", "y", DType.S8), ("Y", "y", DType.F32)]


def test_a_quantized_input_may_be_an_output() -> None:
    graph = graph_of([(Quantize(), "X", "x"), (Dequantize(), "x", "Y")], "X", "Y")
    stripped = strip_boundary(graph)
    assert (len(stripped.nodes), ends(stripped)) == (0, [("X", "x", DType.F32), ("Y", "x", DType.F32)])


def test_float_graphs_and_integer_graphs_stay() -> None:
    for graph in (graph_of([(Relu(), "X", "Y")], "X", "Y"), graph_of([(Relu(), "x", "y")], "x", "y")):
        assert strip_boundary(graph) == graph


ISLANDS = {
    "inside": (
        graph_of([(Dequantize(), "x", "A"), (Relu(), "A", "B"), (Quantize(), "B", "y")], "x", "y"),
        [("A", "dequantize"), ("B", "relu"), ("y", "quantize")],
    ),
    "different parameters": (
        graph_of(
            [(Quantize(), "X", "a"), (Quantize(), "X", "b"), (Add(), "ab", "y")], "X", "y", b=QuantParams.of(0.25)
        ),
        [("a", "quantize"), ("b", "quantize")],
    ),
    "also read as float": (
        graph_of([(Quantize(), "X", "a"), (Relu(), "X", "Y"), (Relu(), "a", "y")], "X", "yY"),
        [("a", "quantize"), ("Y", "relu")],
    ),
    "passed through": (graph_of([(Quantize(), "X", "a"), (Relu(), "a", "y")], "X", "yX"), [("a", "quantize")]),
    "float head": (
        graph_of([(Relu(), "x", "y"), (Dequantize(), "y", "A"), (Relu(), "A", "Y")], "x", "Y"),
        [("A", "dequantize"), ("Y", "relu")],
    ),
    "unused input": (graph_of([(Relu(), "x", "y")], "xX", "y"), [("X", "port")]),
}


@pytest.mark.parametrize("case", ISLANDS)
def test_float_islands_are_listed(case: str) -> None:
    graph, expected = ISLANDS[case]
    with pytest.raises(UnsupportedError) as caught:
        strip_boundary(graph)
    assert [reason[:2] for reason in caught.value.reasons] == expected
    assert all(reason and hint for _, _, reason, hint in caught.value.reasons)
    for node, op in expected:
        assert f'{op} "{node}": ' in str(caught.value)

# SPDX-License-Identifier: Apache-2.0
"""Dynamic quantization: linear layers whose activations get their scales while the model runs, from what they hold.

Everything else stays static, in the scales that calibration found. Source: ZeroQuant, arXiv 2206.01861; the
arithmetic is that of edgeq/ops/dynamic_linear.py.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import ABSENT, Graph, Node, Tensor
from edgeq.ops.dynamic_linear import DynamicLinear, bias_tensor
from edgeq.ops.dynamic_quantize import DynamicQuantize, dynamic_outputs
from edgeq.ops.dynamic_rows import RowRange
from edgeq.ops.folding import quant_of
from edgeq.rewrite.dead import remove_dead

LAYERS = ("conv2d", "depthwise_conv2d", "fully_connected")


class Rows(enum.Enum):
    """What has a scale of its own."""

    TENSOR = "tensor"  # each image, or the whole of a tensor that holds none
    TOKEN = "token"  # each pixel or row of what a pointwise or fully connected layer reads; images elsewhere


def dynamic_layers(graph: Graph, *, rows: Rows = Rows.TENSOR, row_range: RowRange = RowRange.ASYMMETRIC) -> Graph:
    """Return a statically quantized graph with run-time scales in its layers of plain int8 weights.

    A layer whose result goes to such layers only, through reshapes at most, with the same rows, hands it on with its
    run-time scales; any other keeps its static result, and layers find the scales of a static input anew. Static int16
    activations lose next to nothing on the way, int8 ones as much as they would without this.
    Raises UnsupportedError when the graph holds no such layer.
    """
    return _Rewriter(graph, rows, row_range).run()


class _Rewriter:
    def __init__(self, graph: Graph, rows: Rows, row_range: RowRange) -> None:
        self.graph = graph
        self.rows = rows
        self.row_range = row_range
        self.tensors = list(graph.tensors)
        self.nodes: list[Node] = []
        self.consumers = graph.consumers()
        self.exposed = {port.tensor for port in graph.outputs}
        self.dynamic: dict[tuple[int, int], tuple[int, int]] = {}  # (tensor, rows) to its codes and scales

    def run(self) -> Graph:
        if not any(self._is_layer(node) for node in self.graph.nodes):
            raise UnsupportedError(f"{self.graph.name}: no layer has int8 weights, which run-time scales need")
        for node in self.graph.nodes:
            if self._is_layer(node):
                self._add_layer(node)
                continue
            if node.op.name == "reshape":
                self._reshape_codes(node)
            self.nodes.append(node)
        return remove_dead(self.graph.replace(tensors=self.tensors, nodes=self.nodes))

    def _is_layer(self, node: Node) -> bool:
        """Say whether a node is a linear layer of static codes with constant, symmetric int8 weights."""
        if node.op.name not in LAYERS:
            return False
        x, w, *bias = self.graph.input_tensors(node)
        if x is None or w is None or w.quant is None or any(w.quant.zero_points) or w.dtype is not DType.S8:
            return False
        constant = w.is_constant and all(tensor is None or tensor.is_constant for tensor in bias)
        return constant and x.dtype in (DType.S8, DType.S16) and x.quant is not None

    def _rows_of(self, node: Node) -> int:
        """Return how many rows the input of a layer has."""
        x, w = self.graph.tensors[node.inputs[0]], self.graph.tensors[node.inputs[1]]
        if node.op.name == "fully_connected":
            return x.elements // w.shape[1] if self.rows is Rows.TOKEN else 1
        same_size = x.shape[:3] == self.graph.tensors[node.outputs[0]].shape[:3]
        pointwise = node.op.name == "conv2d" and w.shape[1:3] == (1, 1) and w.shape[3] == x.shape[3] and same_size
        return x.elements // x.shape[3] if self.rows is Rows.TOKEN and pointwise else x.shape[0]

    def _readers(self, index: int) -> Iterator[Node | None]:
        """List the nodes that read a tensor, through reshapes; None for a model output."""
        if index in self.exposed:
            yield None
        for node in self.consumers.get(index, ()):
            if node.op.name == "reshape":
                yield from self._readers(node.outputs[0])
            else:
                yield node

    def _stays_dynamic(self, node: Node, rows: int) -> bool:
        """Say whether all that read a layer's result are layers that take it with its rows."""
        readers = list(self._readers(node.outputs[0]))
        return bool(readers) and all(
            reader is not None and self._is_layer(reader) and self._rows_of(reader) == rows for reader in readers
        )

    def _add_layer(self, node: Node) -> None:
        rows = self._rows_of(node)
        codes, scales = self._codes_of(node.inputs[0], rows)
        dynamic = self._stays_dynamic(node, rows)
        op = DynamicLinear(node.op, rows, self.row_range, self.row_range if dynamic else None)
        outputs: tuple[int, ...] = node.outputs
        if dynamic:
            target = self.graph.tensors[node.outputs[0]]
            outputs = self._add_dynamic(node.outputs[0], rows, target.name)
        self.nodes.append(Node(node.name, op, (codes, node.inputs[1], self._bias(node), scales), outputs))

    def _codes_of(self, index: int, rows: int) -> tuple[int, int]:
        """Return the codes and scales of a layer's input, found from its static codes where it has no others."""
        if (index, rows) not in self.dynamic:
            name = f"{self.graph.tensors[index].name}/{rows}"
            outputs = self._add_dynamic(index, rows, name)
            self.nodes.append(Node(f"{name}/quantize", DynamicQuantize(rows, self.row_range), (index,), outputs))
        return self.dynamic[index, rows]

    def _reshape_codes(self, node: Node) -> None:
        """Add the same reshape of the input's dynamic codes; the scales stay."""
        target = self.graph.tensors[node.outputs[0]]
        for (index, rows), (codes, scales) in list(self.dynamic.items()):
            if index == node.inputs[0]:
                name = f"{target.name}/{rows}/codes"
                shaped = self._add(dataclasses.replace(self.tensors[codes], name=name, shape=target.shape))
                self.nodes.append(dataclasses.replace(node, inputs=(codes, *node.inputs[1:]), outputs=(shaped,)))
                self.dynamic[node.outputs[0], rows] = (shaped, scales)

    def _bias(self, node: Node) -> int:
        """Return the bias of a layer in codes of one scale, ABSENT where there is none."""
        bias = self.graph.tensor(node.inputs[2]) if len(node.inputs) > 2 else None
        if bias is None or bias.data is None:
            return ABSENT
        scales = np.array(quant_of(bias, "bias").scales)
        found = bias_tensor(f"{bias.name}/{node.name}", bias.data.reshape(-1) * scales)
        return ABSENT if found is None else self._add(found)

    def _add_dynamic(self, index: int, rows: int, name: str) -> tuple[int, int]:
        """Add the codes and scales that stand for a tensor."""
        codes, scales = dynamic_outputs(self.graph.tensors[index].shape, rows, name)
        self.dynamic[index, rows] = (self._add(codes), self._add(scales))
        return self.dynamic[index, rows]

    def _add(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

# SPDX-License-Identifier: Apache-2.0
"""Say in several nodes what .tflite files cannot say in one, or LiteRT computes wrongly; the integers stay the same."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from edgeq.frontends.tflite_tensors import unique_names
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import ABSENT, Graph, Node, Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Op
from edgeq.ops.batch_matmul import BatchMatmul
from edgeq.ops.convolution import pair_of, slide
from edgeq.ops.folding import quant_of
from edgeq.ops.pad import Pad
from edgeq.ops.reshape import Reshape
from edgeq.ops.transpose import Transpose
from edgeq.rewrite.dead import remove_dead


def spell_out(graph: Graph) -> Graph:
    """Return the graph as a .tflite can hold it; what has no other form stays as it is.

    Padding by numbers becomes SAME, VALID or a PAD in front; a STRIDED_SLICE that drops or adds axes is followed by a
    RESHAPE; an int8 SUM becomes a product with ones; a layer gets a bias, with scales.
    """
    return _Speller(graph).run()


class _Speller:
    """Rewrites node by node; tensors are appended."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._tensors = list(graph.tensors)
        self._nodes: list[Node] = []

    def run(self) -> Graph:
        for node in self._graph.nodes:
            if node.op.name == "strided_slice" and node.op.shape != node.op.sizes:
                self._slice_and_reshape(node)
            elif node.op.name == "sum" and self._tensors[node.inputs[0]].dtype is DType.S8:
                self._multiply_by_ones(node)
            else:
                self._nodes.append(self._with_bias(self._with_named_padding(node)))
        names = unique_names(tensor.name for tensor in self._tensors)
        tensors = [dataclasses.replace(tensor, name=name) for tensor, name in zip(self._tensors, names, strict=True)]
        return remove_dead(self._graph.replace(tensors=tensors, nodes=self._nodes))

    def _with_named_padding(self, node: Node) -> Node:
        """Return a node of windows whose padding is "same" or "valid", behind a PAD where that takes one."""
        if not isinstance(getattr(node.op, "padding", None), tuple) or node.op.name == "transpose_conv":
            return node
        op, size = node.op, pair_of(self._tensors[node.inputs[0]].shape[1:3])
        kernel = pair_of(op.kernel if op.weight_input is None else self._tensors[node.inputs[1]].shape[1:3])
        dilation = getattr(op, "dilation", (1, 1))
        windows = {
            padding: slide(size, kernel, stride=op.stride, padding=padding, dilation=dilation)
            for padding in ("same", op.padding)
        }
        if windows["same"] == windows[op.padding]:
            return dataclasses.replace(node, op=dataclasses.replace(op, padding="same"))
        inputs = node.inputs
        if any(op.padding):
            if op.name == "average_pool_2d":  # a mean does not count what lies outside the image
                return node
            inputs = (self._padded(node), *inputs[1:])
        return dataclasses.replace(node, op=dataclasses.replace(op, padding="valid"), inputs=inputs)

    def _padded(self, node: Node) -> int:
        """Pad the image that a node reads: with zeros, or for a maximum with the lowest code."""
        top, bottom, left, right = node.op.padding
        source = self._tensors[node.inputs[0]]
        inputs = [node.inputs[0]]
        if node.op.name == "max_pool_2d":
            lowest = np.array(source.dtype.limits[0], source.dtype.numpy)
            inputs.append(self._constant(f"{node.name}/lowest", lowest, quant_of(source)))
        return self._compute(f"{node.name}/padded", Pad(((0, 0), (top, bottom), (left, right), (0, 0))), *inputs)

    def _with_bias(self, node: Node) -> Node:
        """Return a layer with a bias, which CONV_2D must have, and with its scales, which LiteRT checks."""
        at, weights_at = node.op.bias_input, node.op.weight_input
        if at is None or weights_at is None:
            return node
        bias = self._tensors[node.inputs[at]] if at < len(node.inputs) and node.inputs[at] != ABSENT else None
        if bias is not None and (bias.quant is not None or bias.data is None):
            return node
        source, weights = self._tensors[node.inputs[0]], self._tensors[node.inputs[weights_at]]
        scales = np.array(quant_of(weights).scales) * quant_of(source).scale
        quant = QuantParams.per_channel(scales, 0) if len(scales) > 1 else QuantParams.of(scales[0])
        zeros = np.zeros(weights.shape[node.op.weight_axis], np.int64 if source.dtype is DType.S16 else np.int32)
        name, codes = (f"{node.name}/bias", zeros) if bias is None else (bias.name, bias.data)
        index = self._constant(name, codes, quant)
        return dataclasses.replace(node, inputs=(*node.inputs[:at], index, *node.inputs[at + 1 :]))

    def _slice_and_reshape(self, node: Node) -> None:
        op = dataclasses.replace(node.op, shape=node.op.sizes)
        taken = self._compute(f"{node.name}/slice", op, *node.inputs)
        self._nodes.append(Node(node.name, Reshape(node.op.shape), (taken,), node.outputs))

    def _multiply_by_ones(self, node: Node) -> None:
        """Add up as a product with ones, of scale 1: LiteRT's SUM takes signed codes for unsigned ones."""
        (source,), (result,) = (node.inputs, node.outputs)
        shape, reduced = self._tensors[source].shape, tuple(sorted(set(node.op.axes)))
        kept = tuple(axis for axis in range(len(shape)) if axis not in reduced)
        count = math.prod(shape[axis] for axis in reduced)
        turned = self._compute(f"{node.name}/turned", Transpose(kept + reduced), source)
        rows = self._compute(f"{node.name}/rows", Reshape((math.prod(shape[axis] for axis in kept), count)), turned)
        ones = self._constant(f"{node.name}/ones", np.ones((count, 1), np.int8), QuantParams.of(1.0))
        sums = self._compute(f"{node.name}/sums", BatchMatmul(), rows, ones, quant=self._tensors[result].quant)
        self._nodes.append(Node(node.name, Reshape(self._tensors[result].shape), (sums,), node.outputs))

    def _compute(self, name: str, op: Op, *inputs: int, quant: QuantParams | None = None) -> int:
        """Append a node and return its result, of the first input's dtype and, unless told otherwise, parameters."""
        source = self._tensors[inputs[0]]
        (shape,) = op.infer_shape([self._tensors[index] for index in inputs])
        self._tensors.append(Tensor(name, tuple(shape), source.dtype, quant or source.quant))
        self._nodes.append(Node(name, op, inputs, (len(self._tensors) - 1,)))
        return len(self._tensors) - 1

    def _constant(self, name: str, data: np.ndarray, quant: QuantParams) -> int:
        self._tensors.append(Tensor(name, data.shape, DType.of_numpy(data.dtype), quant, data))
        return len(self._tensors) - 1

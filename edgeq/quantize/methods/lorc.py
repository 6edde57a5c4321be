# SPDX-License-Identifier: Apache-2.0
"""Low-rank compensation: a thin side branch that makes up for what rounding takes from a layer's weights."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import UsageError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import ABSENT, Graph, Node, Tensor
from edgeq.ops.add import Add
from edgeq.ops.base import Activation
from edgeq.ops.conv2d import Conv2d
from edgeq.quantize.layers import from_rows, is_linear, real_data, rows_of
from edgeq.quantize.methods.nested import parse_weights
from edgeq.quantize.methods.transform import Samples, Transform

SUFFIX = "low_rank"  # of the names of nodes that are added; a recipe's scope "*/low_rank*" gives them int8 weights


@dataclass(frozen=True)
class Lorc(Transform):
    """Round a layer's weights W to W^ in the format ``weights`` and add A (B x), with A B the best of rank ``rank``.

    A and B come from the singular values of W - W^, so the squared error left is the sum of the squares of all further
    singular values. B is a layer with ``rank`` outputs, A one that reads them, and an addition joins both branches and
    takes over the activation; all three are named after the layer with /low_rank behind. Layers where A and B have
    half as many weights as W or more stay as they are, depthwise and grouped ones too. The format is spelled as in a
    recipe with semicolons for commas, and the recipe must give it to the layer, int8 to A and B. Needs no samples.
    Source: Yao et al., "ZeroQuant-V2", arXiv 2303.08302. Left out: int16 between B and A.
    """

    name: ClassVar[str] = "lorc"

    rank: int = 8
    weights: str = "int:bits=4"

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise UsageError(f"lorc: rank={self.rank} given, at least 1 expected")
        parse_weights(self.weights)

    def apply(self, graph: Graph, samples: Samples) -> Graph:
        """Return the graph with rounded layers and their side branches, its outputs nearly unchanged."""
        tensors: list[Tensor] = list(graph.tensors)
        nodes: list[Node] = []
        constants: dict[int, tuple[int, int, int]] = {}  # of W^, B and A by weights that layers may share

        def add(name: str, shape: tuple[int, ...], data: np.ndarray | None = None) -> int:
            tensors.append(Tensor(name, shape, DType.F32, data=None if data is None else data.astype(np.float32)))
            return len(tensors) - 1

        for node in graph.nodes:
            if not self._helps(graph, node):
                nodes.append(node)
                continue
            index, output = node.inputs[1], graph.tensors[node.outputs[0]]
            if index not in constants:
                name, shape = tensors[index].name, tensors[index].shape
                rounded, outer, inner = self.split(rows_of(real_data(tensors[index]), 0))
                thin = (self.rank, *shape[1:])
                wide = (shape[0], *(1,) * (len(shape) - 2), self.rank)
                constants[index] = (
                    add(f"{name}/rounded", shape, from_rows(rounded, shape, 0)),
                    add(f"{name}/{SUFFIX}_b", thin, from_rows(inner, thin, 0)),
                    add(f"{name}/{SUFFIX}_a", wide, from_rows(outer, wide, 0)),
                )
            main, inner_weights, outer_weights = constants[index]
            count = output.shape[-1]
            names = (("rounded", count), (f"{SUFFIX}_b", self.rank), (SUFFIX, count))
            parts = [add(f"{output.name}/{name}", (*output.shape[:-1], size)) for name, size in names]
            plain = dataclasses.replace(node.op, activation=Activation.NONE)
            after = Conv2d() if node.op.name == "conv2d" else plain
            inputs = (node.inputs[0], main, *node.inputs[2:])
            nodes += [
                dataclasses.replace(node, op=plain, inputs=inputs, outputs=(parts[0],)),
                Node(f"{node.name}/{SUFFIX}_b", plain, (node.inputs[0], inner_weights, ABSENT), (parts[1],)),
                Node(f"{node.name}/{SUFFIX}_a", after, (parts[1], outer_weights, ABSENT), (parts[2],)),
                Node(f"{node.name}/{SUFFIX}", Add(activation=node.op.activation), (parts[0], parts[2]), node.outputs),
            ]
        return graph.replace(tensors=tensors, nodes=nodes)

    def _helps(self, graph: Graph, node: Node) -> bool:
        if node.op.name not in ("conv2d", "fully_connected") or not is_linear(graph, node):
            return False
        weights = graph.tensors[node.inputs[1]]
        grouped = node.op.name == "conv2d" and weights.shape[-1] != graph.tensors[node.inputs[0]].shape[-1]
        depth = weights.elements // weights.shape[0]
        return not grouped and 2 * self.rank * (weights.shape[0] + depth) < weights.elements

    def split(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return rounded rows (O, K), A (O, rank) and B (rank, K) of weights (O, K)."""
        grid = parse_weights(self.weights).fit(rows)
        rounded = grid.values(grid.nearest(rows))
        left, sizes, right = np.linalg.svd(rows - rounded, full_matrices=False)
        roots = np.sqrt(sizes[: self.rank])
        return rounded, left[:, : self.rank] * roots, roots[:, np.newaxis] * right[: self.rank]

# SPDX-License-Identifier: Apache-2.0
"""The integer forms of a graph's nodes, each folded once however many passes ask for it."""

from __future__ import annotations

from edgeq.ir.graph import Graph, Node, Tensor
from edgeq.ops.base import Fold, Rounding, Step, View


class Folds:
    """Folds nodes with one rounding, and not again when operator and tensors are those of an earlier node."""

    def __init__(self, rounding: Rounding) -> None:
        self.rounding = rounding
        # by operator and identity of the tensors, which are kept so that no other object takes an identity over
        self._known: dict[tuple[object, ...], tuple[tuple[Tensor | None, ...], Fold | View]] = {}

    def of(self, graph: Graph, node: Node) -> Fold | View:
        """Fold a node of a graph; raises what ``Op.fold`` raises."""
        inputs, outputs = graph.input_tensors(node), graph.output_tensors(node)
        tensors = (*inputs, *outputs)
        key = (node.op, len(inputs), *map(id, tensors))
        if key not in self._known:
            self._known[key] = (tensors, node.op.fold(inputs, outputs, rounding=self.rounding))
        return self._known[key][1]

    def step(self, graph: Graph, node: Node) -> Step | None:
        """Return the step of a node, None for one that moves no data."""
        folded = self.of(graph, node)
        return folded.step if isinstance(folded, Fold) else None

    def macs(self, graph: Graph) -> int:
        """Return the multiply-accumulates of one inference."""
        return sum(step.macs() for node in graph.nodes if (step := self.step(graph, node)) is not None)

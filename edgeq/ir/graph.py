# SPDX-License-Identifier: Apache-2.0
"""Graph: tensors and operator nodes; first float, later quantized; never changed in place."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from edgeq.ir.coding import Coding
from edgeq.ir.dtypes import DType
from edgeq.ir.qparams import QuantParams

ABSENT = -1  # the index of an optional input that is not there


class Operator(Protocol):
    """What the graph needs to know of an operator; ``edgeq.ops.base.Op`` is the implementation."""

    @property
    def name(self) -> str: ...


@dataclass(frozen=True)
class Tensor:
    """A value in the graph; a constant when it carries ``data`` (in storage codes, not real values).

    Low-bit weights hold uint8 codes, ``coding`` says what they mean, and ``quant`` holds the scales of those integers.
    """

    name: str
    shape: tuple[int, ...]
    dtype: DType
    quant: QuantParams | None = None
    data: np.ndarray | None = None
    coding: Coding | None = None

    @property
    def elements(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bytes(self) -> int:
        return self.elements * self.dtype.bytes

    @property
    def is_constant(self) -> bool:
        return self.data is not None


@dataclass(frozen=True)
class Node:
    """One operator with the tensors it reads and writes, as indices; ABSENT for an input left out."""

    name: str
    op: Any  # an Op; typed loosely here because ir lies below ops
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Port:
    """A model input or output: the tensor that holds it, and how the source model declares it.

    ``dtype`` is what callers pass or get; when it is F32 and the tensor holds codes, the boundary quantizes with
    ``quant`` of the tensor.
    """

    name: str
    tensor: int
    dtype: DType


@dataclass(frozen=True)
class Graph:
    """A model: nodes are in execution order."""

    name: str
    tensors: tuple[Tensor, ...]
    nodes: tuple[Node, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def tensor(self, index: int) -> Tensor | None:
        """Return a tensor, or None for ABSENT."""
        return None if index == ABSENT else self.tensors[index]

    def input_tensors(self, node: Node) -> tuple[Tensor | None, ...]:
        return tuple(self.tensor(index) for index in node.inputs)

    def output_tensors(self, node: Node) -> tuple[Tensor, ...]:
        return tuple(self.tensors[index] for index in node.outputs)

    def consumers(self) -> dict[int, list[Node]]:
        """Map each tensor to the nodes that read it, in order."""
        found: dict[int, list[Node]] = {}
        for node in self.nodes:
            for index in dict.fromkeys(node.inputs):
                if index != ABSENT:
                    found.setdefault(index, []).append(node)
        return found

    def replace(
        self,
        *,
        tensors: Iterable[Tensor] | None = None,
        nodes: Iterable[Node] | None = None,
        inputs: Sequence[Port] | None = None,
        outputs: Sequence[Port] | None = None,
    ) -> Graph:
        """Return a copy with some parts replaced."""
        return dataclasses.replace(
            self,
            tensors=self.tensors if tensors is None else tuple(tensors),
            nodes=self.nodes if nodes is None else tuple(nodes),
            inputs=self.inputs if inputs is None else tuple(inputs),
            outputs=self.outputs if outputs is None else tuple(outputs),
        )

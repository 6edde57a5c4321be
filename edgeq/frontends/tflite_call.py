# SPDX-License-Identifier: Apache-2.0
"""What a mapping rule may ask of one operator of a .tflite file: its inputs, its constants, its attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeq.errors import BadInputError, GraphError, UnsupportedError
from edgeq.frontends.tflite_schema import RawOperator, RawOptions
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Activation, Op, Shape

Pair = tuple[int, int]
ACTIVATIONS = {0: Activation.NONE, 1: Activation.RELU, 2: Activation.RELU_N1_TO_1, 3: Activation.RELU6}
_OTHER_ACTIVATIONS = {4: "TANH", 5: "SIGN_BIT"}
PADDINGS = {0: "same", 1: "valid"}


@dataclass(frozen=True)
class Mapped:
    """The operator that stands for one of the file, and which of its inputs it reads, by position."""

    op: Op
    inputs: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Call:
    """One operator of the file with its tensors."""

    operator: RawOperator
    inputs: Sequence[Tensor | None]
    outputs: Sequence[Tensor]
    unsigned: bool = False  # whether the file has uint8 codes where ``outputs`` have int8

    def options(self, kind: str) -> RawOptions:
        return self.operator.options(kind)

    def has(self, position: int) -> bool:
        return position < len(self.inputs) and self.inputs[position] is not None

    def tensor(self, position: int, what: str = "input") -> Tensor:
        tensor = self.inputs[position] if self.has(position) else None
        if tensor is None:
            raise GraphError(f"{what} (input {position}) is missing")
        return tensor

    def shape(self, position: int = 0) -> Shape:
        return self.tensor(position).shape

    def indices(self, position: int, what: str) -> tuple[int, ...]:
        """Return a constant list of integers. Raises UnsupportedError when it is computed at run time."""
        tensor = self.tensor(position, what)
        if tensor.data is None:
            raise UnsupportedError(
                f"{what} (tensor {tensor.name!r}) is computed at run time",
                hint="convert the model with fixed shapes, so that it becomes a constant",
            )
        if tensor.dtype not in (DType.S32, DType.S64):
            raise UnsupportedError(f"{what} (tensor {tensor.name!r}) is {tensor.dtype.numpy}, int32 or int64 expected")
        return tuple(int(value) for value in tensor.data.reshape(-1))

    def index(self, position: int, what: str) -> int:
        values = self.indices(position, what)
        if len(values) != 1:
            raise GraphError(f"{what} has {len(values)} entries, 1 expected")
        return values[0]

    def axes(self, position: int, what: str = "the list of axes") -> tuple[int, ...]:
        """Return constant axes of input 0, counted from the front, sorted, each once."""
        rank = len(self.shape())
        return tuple(sorted({axis_of(axis, rank) for axis in self.indices(position, what)}))

    def pairs(self, position: int) -> tuple[Pair, ...]:
        """Return constant (before, after) pairs, one for each axis of input 0."""
        values = self.indices(position, "the list of paddings")
        rank = len(self.shape())
        if len(values) != 2 * rank:
            raise GraphError(f"the list of paddings has {len(values)} entries, {2 * rank} expected")
        return tuple(zip(values[::2], values[1::2], strict=True))


def axis_of(axis: int, rank: int) -> int:
    """Count an axis from the front. Raises GraphError when there is none of that number."""
    if not -rank <= axis < rank:
        raise GraphError(f"axis {axis} of a tensor with {rank} dimensions")
    return axis % rank


def activation_of(options: RawOptions) -> Activation:
    """Return the fused activation."""
    code = options.integer("FusedActivationFunction")
    if code in _OTHER_ACTIVATIONS:
        raise UnsupportedError(f"fused activation {_OTHER_ACTIVATIONS[code]} is not supported")
    if code not in ACTIVATIONS:
        raise BadInputError(f"fused activation {code} is not known")
    return ACTIVATIONS[code]


def padding_of(options: RawOptions) -> str:
    """Return "same" or "valid"."""
    code = options.integer("Padding")
    if code not in PADDINGS:
        raise BadInputError(f"padding mode {code} is not known, 0 (SAME) or 1 (VALID) expected")
    return PADDINGS[code]


def pair_of(options: RawOptions, name: str, *, suffix: str = "") -> Pair:
    """Return (vertical, horizontal) of a stride, dilation or filter size, each at least 1."""
    pair = options.integer(f"{name}H{suffix}", 1), options.integer(f"{name}W{suffix}", 1)
    if min(pair) < 1:
        raise BadInputError(f"{name.lower()} {list(pair)} must be at least 1")
    return pair


def as_sizes(values: Sequence[int], elements: int) -> Shape:
    """Resolve a target shape with at most one -1 for a number of elements."""
    known = int(np.prod([value for value in values if value != -1], dtype=object))
    if list(values).count(-1) > 1 or any(value < -1 or value == 0 for value in values):
        raise GraphError(f"{list(values)} is not a shape")
    sizes = tuple(elements // known if value == -1 else value for value in values)
    if int(np.prod(sizes, dtype=object)) != elements:
        raise GraphError(f"{elements} elements do not fill the shape {list(values)}")
    return sizes

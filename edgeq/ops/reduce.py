# SPDX-License-Identifier: Apache-2.0
"""Reductions over any axes: the step that sums or compares, and what MEAN, SUM, REDUCE_MAX and REDUCE_MIN share."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from edgeq.errors import GraphError, UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import requant
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Case, Op, Shape, Step, ints
from edgeq.ops.folding import required

PAIRS = 4  # alternating (kept, reduced) sizes: enough for any axes of six dimensions


class Reduction(enum.IntEnum):
    """What happens to the elements; the values are permanent codes of the model file."""

    SUM = 0
    MAX = 1
    MIN = 2


@dataclass(frozen=True)
class ReduceStep(Step):
    """out = clamp(zero + requant(sum of (in - input_zero))), or the largest or smallest code, over the odd sizes."""

    name: ClassVar[str] = "reduce"
    code: ClassVar[int] = 18

    kind: int  # 0 sum, 1 largest, 2 smallest
    element_bytes: int
    sizes: tuple[int, ...] = ints(2 * PAIRS)  # kept, reduced, kept, reduced, ..
    input_zero: int = 0  # this and what follows: sums only
    zero: int = 0
    multiplier: int = 0
    shift: int = 0
    mode: int = 0

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        codes = np.asarray(inputs[0])
        blocks = codes.reshape(self.sizes)
        axes = tuple(range(1, 2 * PAIRS, 2))
        if self.kind == Reduction.MAX:
            return [blocks.max(axis=axes)]
        if self.kind == Reduction.MIN:
            return [blocks.min(axis=axes)]
        sums = (blocks.astype(np.int64) - self.input_zero).sum(axis=axes)
        info = np.iinfo(codes.dtype)
        scaled = requant(sums, self.multiplier, self.shift, self.mode) + self.zero
        return [np.clip(scaled, info.min, info.max).astype(codes.dtype)]


@dataclass(frozen=True)
class Reduce(Op):
    """An operator that reduces ``axes``, counted from the front, and keeps them with size 1 or drops them."""

    axes: tuple[int, ...] = ()
    keep_dims: bool = False

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        source = required(inputs, 0, "input")
        if any(not 0 <= axis < len(source.shape) for axis in self.axes):
            raise GraphError(f"axes {list(self.axes)} of a tensor with {len(source.shape)} dimensions")
        kept = [
            1 if axis in self.axes else size
            for axis, size in enumerate(source.shape)
            if self.keep_dims or axis not in self.axes
        ]
        return [tuple(kept)]

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments of the NumPy reduction."""
        return {"axis": tuple(self.axes), "keepdims": self.keep_dims}

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        shape = tuple(int(size) for size in rng.integers(1, 7, size=int(rng.integers(1, 7))))
        axes = tuple(axis for axis in range(len(shape)) if rng.random() < 0.5) or (int(rng.integers(len(shape))),)
        op = cls(axes, bool(rng.integers(2)))
        dtype = DType.S8 if rng.random() < 0.7 else DType.S16

        def draw() -> QuantParams:
            zero_point = int(rng.integers(-128, 128)) if dtype is DType.S8 else 0
            return QuantParams.of(2.0 ** rng.uniform(-6, 0), zero_point)

        source = Tensor("x", shape, dtype, draw())
        same = rng.random() < 0.3 or "reduce" in cls.name
        target = Tensor("y", op.infer_shape([source])[0], dtype, source.quant if same else draw())
        return Case(op, (source,), (target,))


def alternating_sizes(shape: Shape, axes: Sequence[int]) -> tuple[int, ...]:
    """Merge dimensions into alternating kept and reduced sizes, 2 * PAIRS of them, ones in front.

    C takes the last sizes in its inner loops.
    Raises UnsupportedError when they do not suffice.
    """
    sizes = [1]  # the last one is kept while their number is odd
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        if (axis in axes) == (len(sizes) % 2 == 0):
            sizes[-1] *= size
        else:
            sizes.append(size)
    if len(sizes) > 2 * PAIRS:
        raise UnsupportedError(f"reducing axes {list(axes)} of shape {list(shape)} takes more than {PAIRS} loops")
    sizes += [1] * (len(sizes) % 2)
    return (1,) * (2 * PAIRS - len(sizes)) + tuple(sizes)

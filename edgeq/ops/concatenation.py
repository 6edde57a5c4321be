# SPDX-License-Identifier: Apache-2.0
"""CONCATENATION: tensors joined along an axis, and the step that joins any number of inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import GraphError, UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Activation, Case, Fold, Op, RangeRule, Rounding, Shape, Step, View, constant
from edgeq.ops.folding import required
from edgeq.ops.movement import axis_of, case_of, element_bytes, sample_shape, sample_tensor, volume


@dataclass(frozen=True)
class ConcatStep(Step):
    """out = outer rows; each row is ``inner_bytes[i]`` bytes of every input i in turn."""

    name: ClassVar[str] = "concat"
    code: ClassVar[int] = 31
    shares: ClassVar[bool] = True

    outer: int
    inner_bytes: np.ndarray = constant(DType.S32)  # (number of inputs,)

    def pieces(self) -> list[tuple[int, int, int]]:
        if self.outer != 1:
            return []
        starts = np.cumsum(self.inner_bytes, dtype=np.int64) - self.inner_bytes
        return [(i, 0, -int(start)) for i, start in enumerate(starts)]

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        rows = [np.ascontiguousarray(part).reshape(-1).view(np.uint8).reshape(self.outer, -1) for part in inputs]
        return [np.concatenate(rows, axis=1).reshape(-1).view(np.asarray(inputs[0]).dtype)]


def fold_concat(parts: Sequence[Tensor], target: Tensor, *, outer: int) -> Fold | View:
    """Fold the joining of parts, each of ``outer`` rows, row by row; a single part is a View."""
    element_bytes([*parts, target])
    if len(parts) == 1:
        return View()
    inner_bytes = np.array([part.bytes // outer for part in parts], np.int32)
    return Fold(ConcatStep(outer=outer, inner_bytes=inner_bytes), tuple(range(len(parts))))


@dataclass(frozen=True)
class Concatenation(Op):
    """Join tensors of equal scale and zero point along an axis."""

    name: ClassVar[str] = "concatenation"
    range_rule: ClassVar[RangeRule] = RangeRule.SAME

    axis: int = -1
    activation: Activation = Activation.NONE

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shapes = [required(inputs, i, "input").shape for i in range(max(1, len(inputs)))]
        axis = axis_of(self.axis, len(shapes[0]))
        for shape in shapes:
            if len(shape) != len(shapes[0]) or shape[:axis] + shape[axis + 1 :] != (
                shapes[0][:axis] + shapes[0][axis + 1 :]
            ):
                raise GraphError(f"shapes {list(shapes[0])} and {list(shape)} do not join along axis {axis}")
        return [(*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])]

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        joined = np.concatenate([np.asarray(part) for part in inputs], axis=self.axis)
        return [self.activation.apply(joined)]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold | View:
        if self.activation is not Activation.NONE:
            raise UnsupportedError(f"concatenation with fused {self.activation.name}")
        parts = [required(inputs, i, "input") for i in range(len(inputs))]
        axis = axis_of(self.axis, len(parts[0].shape))
        return fold_concat(parts, outputs[0], outer=volume(parts[0].shape[:axis]))

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        shape = sample_shape(rng)
        axis = int(rng.integers(0, len(shape)))
        first = sample_tensor(rng, shape)
        parts = [first]
        for i in range(1, int(rng.choice([2, 3, 4, 64]))):
            sizes = (*shape[:axis], int(rng.integers(1, 6)), *shape[axis + 1 :])
            parts.append(Tensor(f"x{i}", sizes, first.dtype, first.quant))
        return case_of(cls(axis if rng.random() < 0.5 else axis - len(shape)), parts)

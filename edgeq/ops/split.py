# SPDX-License-Identifier: Apache-2.0
"""SPLIT and SPLIT_V: a tensor cut into parts along an axis, and the step that writes any number of outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import GraphError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Case, Fold, Op, RangeRule, Rounding, Shape, Step, View, constant
from edgeq.ops.folding import required
from edgeq.ops.movement import axis_of, case_of, element_bytes, sample_shape, sample_tensor, volume


@dataclass(frozen=True)
class SplitStep(Step):
    """in = outer rows; each row is ``inner_bytes[i]`` bytes of every output i in turn."""

    name: ClassVar[str] = "split"
    code: ClassVar[int] = 32
    shares: ClassVar[bool] = True

    outer: int
    inner_bytes: np.ndarray = constant(DType.S32)  # (number of outputs,)

    def pieces(self) -> list[tuple[int, int, int]]:
        if self.outer != 1:
            return []
        starts = np.cumsum(self.inner_bytes, dtype=np.int64) - self.inner_bytes
        return [(0, i, int(start)) for i, start in enumerate(starts)]

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        source = np.ascontiguousarray(inputs[0]).reshape(-1)
        rows = source.view(np.uint8).reshape(self.outer, -1)
        parts = np.split(rows, np.cumsum(self.inner_bytes)[:-1], axis=1)
        return [np.ascontiguousarray(part).reshape(-1).view(source.dtype) for part in parts]


def fold_split(source: Tensor, parts: Sequence[Tensor], *, outer: int) -> Fold | View:
    """Fold the cutting of ``outer`` rows into parts, row by row; a single part is a View."""
    element_bytes([source, *parts])
    if len(parts) == 1:
        return View()
    return Fold(SplitStep(outer=outer, inner_bytes=np.array([part.bytes // outer for part in parts], np.int32)))


@dataclass(frozen=True)
class Split(Op):
    """Cut a tensor into parts of the given sizes along an axis; one size may be -1, the rest."""

    name: ClassVar[str] = "split"
    range_rule: ClassVar[RangeRule] = RangeRule.SAME

    axis: int = 0
    sizes: tuple[int, ...] = ()

    def _sizes(self, shape: Shape) -> tuple[int, ...]:
        full = shape[axis_of(self.axis, len(shape))]
        rest = full - sum(size for size in self.sizes if size != -1)
        sizes = tuple(rest if size == -1 else size for size in self.sizes)
        if self.sizes.count(-1) > 1 or any(size < 1 for size in sizes) or sum(sizes) != full:
            raise GraphError(f"sizes {list(self.sizes)} do not divide {full} elements")
        return sizes

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = required(inputs, 0, "input").shape
        axis = axis_of(self.axis, len(shape))
        return [(*shape[:axis], size, *shape[axis + 1 :]) for size in self._sizes(shape)]

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        assert inputs[0] is not None
        cuts = np.cumsum(self._sizes(inputs[0].shape))[:-1]
        return list(np.split(inputs[0], cuts, axis=self.axis))

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold | View:
        source = required(inputs, 0, "input")
        axis = axis_of(self.axis, len(source.shape))
        return fold_split(source, outputs, outer=volume(source.shape[:axis]))

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        shape = sample_shape(rng)
        axis = int(rng.integers(0, len(shape)))
        sizes = [int(size) for size in rng.integers(1, 6, size=int(rng.choice([2, 3, 4, 64])))]
        source = sample_tensor(rng, (*shape[:axis], sum(sizes), *shape[axis + 1 :]))
        if rng.random() < 0.3:
            sizes[int(rng.integers(0, len(sizes)))] = -1
        return case_of(cls(axis if rng.random() < 0.5 else axis - len(shape), tuple(sizes)), [source])

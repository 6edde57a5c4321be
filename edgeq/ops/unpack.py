# SPDX-License-Identifier: Apache-2.0
"""UNPACK: a tensor cut into its slices along an axis, which is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ir.graph import Tensor
from edgeq.ops.base import Case, Fold, Op, RangeRule, Rounding, Shape, View
from edgeq.ops.folding import required
from edgeq.ops.movement import axis_of, case_of, sample_shape, sample_tensor, volume
from edgeq.ops.split import fold_split


@dataclass(frozen=True)
class Unpack(Op):
    """Give each slice along an axis as a tensor of its own."""

    name: ClassVar[str] = "unpack"
    range_rule: ClassVar[RangeRule] = RangeRule.SAME

    axis: int = 0

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = required(inputs, 0, "input").shape
        axis = axis_of(self.axis, len(shape))
        return [(*shape[:axis], *shape[axis + 1 :])] * shape[axis]

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        assert inputs[0] is not None
        return list(np.moveaxis(inputs[0], self.axis, 0))

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold | View:
        source = required(inputs, 0, "input")
        axis = axis_of(self.axis, len(source.shape))
        return fold_split(source, outputs, outer=volume(source.shape[:axis]))

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        shape = sample_shape(rng)
        axis = int(rng.integers(0, len(shape)))
        shape = (*shape[:axis], int(rng.choice([2, 3, 4, 64])), *shape[axis + 1 :])
        return case_of(cls(axis if rng.random() < 0.5 else axis - len(shape)), [sample_tensor(rng, shape)])

# SPDX-License-Identifier: Apache-2.0
"""PACK: tensors of one shape stacked along a new axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import GraphError
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Case, Fold, Op, RangeRule, Rounding, Shape, View
from edgeq.ops.concatenation import fold_concat
from edgeq.ops.folding import required
from edgeq.ops.movement import MAX_RANK, axis_of, case_of, sample_shape, sample_tensor, volume


@dataclass(frozen=True)
class Pack(Op):
    """Stack tensors of equal shape, scale and zero point along a new axis."""

    name: ClassVar[str] = "pack"
    range_rule: ClassVar[RangeRule] = RangeRule.SAME

    axis: int = 0

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shapes = [required(inputs, i, "input").shape for i in range(max(1, len(inputs)))]
        if len(set(shapes)) > 1:
            raise GraphError(f"shapes {', '.join(str(list(shape)) for shape in dict.fromkeys(shapes))} do not stack")
        axis = axis_of(self.axis, len(shapes[0]) + 1)
        return [(*shapes[0][:axis], len(shapes), *shapes[0][axis:])]

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        return [np.stack([np.asarray(part) for part in inputs], axis=self.axis)]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold | View:
        parts = [required(inputs, i, "input") for i in range(len(inputs))]
        axis = axis_of(self.axis, len(parts[0].shape) + 1)
        return fold_concat(parts, outputs[0], outer=volume(parts[0].shape[:axis]))

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        shape = sample_shape(rng, 1, MAX_RANK - 1)
        first = sample_tensor(rng, shape)
        count = int(rng.choice([2, 3, 4, 64]))
        parts = [first, *(Tensor(f"x{i}", shape, first.dtype, first.quant) for i in range(1, count))]
        return case_of(cls(int(rng.integers(-len(shape) - 1, len(shape) + 1))), parts)

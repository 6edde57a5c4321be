# SPDX-License-Identifier: Apache-2.0
"""RESHAPE, SQUEEZE and EXPAND_DIMS: another shape for the same memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import GraphError
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Case, Op, RangeRule, Rounding, Shape, View
from edgeq.ops.folding import required
from edgeq.ops.movement import case_of, sample_tensor


@dataclass(frozen=True)
class Reshape(Op):
    """Give the elements another shape, in row-major order; one size may be -1."""

    name: ClassVar[str] = "reshape"
    range_rule: ClassVar[RangeRule] = RangeRule.SAME

    shape: Shape = ()

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        source = required(inputs, 0, "input")
        known = int(np.prod([size for size in self.shape if size != -1], dtype=np.int64))
        if self.shape.count(-1) > 1:
            raise GraphError(f"shape {list(self.shape)} leaves more than one size open")
        sizes = tuple(source.elements // max(known, 1) if size == -1 else size for size in self.shape)
        if int(np.prod(sizes, dtype=np.int64)) != source.elements:
            raise GraphError(f"{source.elements} elements of shape {list(source.shape)} do not fill {list(self.shape)}")
        return [sizes]

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        assert inputs[0] is not None
        return [inputs[0].reshape(self.shape)]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> View:
        return View()

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        first, second, third = (int(size) for size in rng.integers(1, 6, size=3))
        return case_of(cls((first * second, third)), [sample_tensor(rng, (first, second, third))])

# SPDX-License-Identifier: Apache-2.0
"""TRANSPOSE: the dimensions in another order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import GraphError
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Case, Fold, Op, RangeRule, Rounding, Shape, View
from edgeq.ops.copy import dense_strides, fold_strided
from edgeq.ops.folding import required
from edgeq.ops.movement import case_of, sample_shape, sample_tensor


@dataclass(frozen=True)
class Transpose(Op):
    """Dimension i of the result is dimension ``permutation[i]`` of the input."""

    name: ClassVar[str] = "transpose"
    range_rule: ClassVar[RangeRule] = RangeRule.SAME

    permutation: tuple[int, ...] = ()

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = required(inputs, 0, "input").shape
        if sorted(self.permutation) != list(range(len(shape))):
            raise GraphError(f"{list(self.permutation)} is not a permutation of {len(shape)} dimensions")
        return [tuple(shape[axis] for axis in self.permutation)]

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        assert inputs[0] is not None
        return [np.transpose(inputs[0], self.permutation)]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold | View:
        source = required(inputs, 0, "input")
        strides = dense_strides(source.shape)
        dims = [(source.shape[axis], strides[axis]) for axis in self.permutation]
        return fold_strided(source, outputs[0], start=0, dims=dims)

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        shape = sample_shape(rng)
        permutation = tuple(int(axis) for axis in rng.permutation(len(shape)))
        return case_of(cls(permutation), [sample_tensor(rng, shape)])

# SPDX-License-Identifier: Apache-2.0
"""SLICE: a box cut out of a tensor."""

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
class Slice(Op):
    """Cut ``size`` elements from ``begin`` along each axis; a size of -1 reaches to the end."""

    name: ClassVar[str] = "slice"
    range_rule: ClassVar[RangeRule] = RangeRule.SAME

    begin: tuple[int, ...] = ()
    size: tuple[int, ...] = ()

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = required(inputs, 0, "input").shape
        if not len(self.begin) == len(self.size) == len(shape):
            raise GraphError(f"begin {list(self.begin)} and size {list(self.size)} for a shape {list(shape)}")
        return [self._sizes(shape)]

    def _sizes(self, shape: Shape) -> Shape:
        sizes = tuple(
            full - start if size == -1 else size for full, start, size in zip(shape, self.begin, self.size, strict=True)
        )
        for axis, (full, start, size) in enumerate(zip(shape, self.begin, sizes, strict=True)):
            if start < 0 or size < 1 or start + size > full:
                raise GraphError(f"axis {axis}: {size} elements from {start} do not lie in {full}")
        return sizes

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        x = inputs[0]
        assert x is not None
        box = zip(self.begin, self._sizes(x.shape), strict=True)
        return [x[tuple(slice(start, start + size) for start, size in box)]]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold | View:
        source = required(inputs, 0, "input")
        strides = dense_strides(source.shape)
        start = sum(first * stride for first, stride in zip(self.begin, strides, strict=True))
        dims = list(zip(self._sizes(source.shape), strides, strict=True))
        return fold_strided(source, outputs[0], start=start, dims=dims)

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        shape = sample_shape(rng)
        begin = tuple(int(rng.integers(0, size)) for size in shape)
        size = tuple(int(rng.integers(1, full - first + 1)) for full, first in zip(shape, begin, strict=True))
        if rng.random() < 0.3:
            size = (*size[:-1], -1)
        return case_of(cls(begin, size), [sample_tensor(rng, shape)])

# SPDX-License-Identifier: Apache-2.0
"""STRIDED_SLICE: every n-th element along each axis, forwards or backwards."""

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
from edgeq.ops.movement import case_of, sample_shape, sample_tensor, volume


@dataclass(frozen=True)
class StridedSlice(Op):
    """Take ``sizes[a]`` elements along each input axis a: ``begin[a]``, ``begin[a] + strides[a]`` and so on.

    Masks and negative positions are resolved by whoever makes the op; ``shape`` is the shape of the result after axes
    were dropped or added.
    """

    name: ClassVar[str] = "strided_slice"
    range_rule: ClassVar[RangeRule] = RangeRule.SAME

    begin: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()
    shape: Shape = ()

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = required(inputs, 0, "input").shape
        if not len(self.begin) == len(self.strides) == len(self.sizes) == len(shape):
            raise GraphError(f"a slice of {len(self.begin)} axes for a tensor of {len(shape)}")
        for axis, (full, first, stride, size) in enumerate(
            zip(shape, self.begin, self.strides, self.sizes, strict=True)
        ):
            last = first + (size - 1) * stride
            if size < 1 or stride == 0 or not (0 <= first < full and 0 <= last < full):
                raise GraphError(f"axis {axis}: {size} elements from {first} by {stride} do not lie in {full}")
        if volume(self.sizes) != volume(self.shape):
            raise GraphError(f"a slice of {list(self.sizes)} elements cannot have shape {list(self.shape)}")
        return [self.shape]

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        x = inputs[0]
        assert x is not None
        axes = zip(self.begin, self.strides, self.sizes, strict=True)
        positions = [first + stride * np.arange(size) for first, stride, size in axes]
        return [(x[np.ix_(*positions)] if positions else x).reshape(self.shape)]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold | View:
        source = required(inputs, 0, "input")
        steps = dense_strides(source.shape)
        start = sum(first * step for first, step in zip(self.begin, steps, strict=True))
        strides = [stride * step for stride, step in zip(self.strides, steps, strict=True)]
        return fold_strided(source, outputs[0], start=start, dims=list(zip(self.sizes, strides, strict=True)))

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        shape = sample_shape(rng)
        begin, strides, sizes = [], [], []
        for full in shape:
            first = int(rng.integers(0, full))
            stride = int(rng.choice([-3, -2, -1, 1, 1, 2, 3]))
            room = (full - 1 - first) // stride if stride > 0 else first // -stride
            begin.append(first)
            strides.append(stride)
            sizes.append(int(rng.integers(1, room + 2)))
        result = tuple(size for size in sizes if size > 1 or rng.random() < 0.5)  # drops some axes of one element
        return case_of(cls(tuple(begin), tuple(strides), tuple(sizes), result), [sample_tensor(rng, shape)])

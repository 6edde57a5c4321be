# SPDX-License-Identifier: Apache-2.0
"""PAD and PADV2: a border of one value around a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import GraphError, UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Case, Fold, Op, RangeRule, Rounding, Shape, Step, View, ints
from edgeq.ops.folding import constant_of, require_dtype, required
from edgeq.ops.movement import MAX_RANK, case_of, element_bytes, sample_shape, sample_tensor


@dataclass(frozen=True)
class PadStep(Step):
    """out = in with ``before`` and ``after`` elements of ``value`` added along each of six dimensions."""

    name: ClassVar[str] = "pad"
    code: ClassVar[int] = 33

    element_bytes: int  # 1, 2 or 4
    value: int
    sizes: tuple[int, ...] = ints(MAX_RANK)  # of the input
    before: tuple[int, ...] = ints(MAX_RANK)
    after: tuple[int, ...] = ints(MAX_RANK)

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        source = np.asarray(inputs[0]).reshape(self.sizes)
        value = np.array(self.value, np.int32).astype(source.dtype)
        return [np.pad(source, list(zip(self.before, self.after, strict=True)), constant_values=value)]


@dataclass(frozen=True)
class Pad(Op):
    """Add (before, after) elements along each axis: zeros, or the value of a constant scalar as second input."""

    name: ClassVar[str] = "pad"
    range_rule: ClassVar[RangeRule] = RangeRule.SAME

    paddings: tuple[tuple[int, int], ...] = ()

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = required(inputs, 0, "input").shape
        return [padded_shape(shape, self.paddings)]

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        assert inputs[0] is not None
        given = inputs[1] if len(inputs) > 1 else None
        value = 0 if given is None else np.asarray(given).reshape(())
        return [np.pad(inputs[0], self.paddings, constant_values=value)]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold | View:
        source = required(inputs, 0, "input")
        given = inputs[1] if len(inputs) > 1 else None
        tensors = [source, outputs[0]] if given is None else [source, outputs[0], given]
        require_dtype(source, DType.S8, DType.U8, DType.S16, DType.S32)
        size = element_bytes(tensors)
        if given is not None:
            value = int(constant_of(given, "pad value").reshape(-1)[0])
        else:
            value = 0 if source.quant is None else source.quant.zero_point
        if not any(before or after for before, after in self.paddings):
            return View()

        dims: list[tuple[int, int, int]] = []  # (size, before, after); one without padding joins the one before it
        for length, (before, after) in zip(source.shape, self.paddings, strict=True):
            if dims and before == after == 0:
                dims[-1] = (dims[-1][0] * length, dims[-1][1] * length, dims[-1][2] * length)
            else:
                dims.append((length, before, after))
        if len(dims) > MAX_RANK:
            raise UnsupportedError(f"padding of {len(dims)} dimensions; {MAX_RANK} are supported")
        sizes, befores, afters = zip(*([(1, 0, 0)] * (MAX_RANK - len(dims)) + dims), strict=True)
        return Fold(PadStep(element_bytes=size, value=value, sizes=sizes, before=befores, after=afters))

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        source = sample_tensor(rng, sample_shape(rng))
        paddings = [[int(count) for count in rng.integers(0, 4, size=2)] for _ in source.shape]
        for axis in np.flatnonzero(rng.random(len(paddings)) < 0.4):
            paddings[axis] = [0, 0]
        if not np.any(paddings):
            paddings[-1][1] = 2
        value = None
        if rng.random() < 0.5:
            code = rng.integers(*source.dtype.limits, endpoint=True, size=()).astype(source.dtype.numpy)
            value = Tensor("value", (), source.dtype, source.quant, np.asarray(code))
        return case_of(cls(tuple((before, after) for before, after in paddings)), [source, value])


def padded_shape(shape: Shape, paddings: Sequence[tuple[int, int]]) -> Shape:
    """Add paddings to a shape; raises GraphError when there is not one non-negative pair per axis."""
    if len(paddings) != len(shape) or any(before < 0 or after < 0 for before, after in paddings):
        raise GraphError(f"paddings {[list(pair) for pair in paddings]} for a shape {list(shape)}")
    return tuple(size + before + after for size, (before, after) in zip(shape, paddings, strict=True))

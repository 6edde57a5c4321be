# SPDX-License-Identifier: Apache-2.0
"""MAXIMUM and MINIMUM of two tensors that share one scale: a comparison of codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Case, Fold, RangeRule, Rounding, ints
from edgeq.ops.elementwise import RANK, Binary, BinaryStep, broadcast_geometry, sample_binary
from edgeq.ops.folding import require_dtype, require_same_quant, required


@dataclass(frozen=True)
class MinMaxStep(BinaryStep):
    """out = the larger or the smaller of two int8 codes."""

    name: ClassVar[str] = "minmax"
    code: ClassVar[int] = 12
    in_place: ClassVar[tuple[int, ...]] = (0, 1)

    maximum: int  # 1 for the larger, 0 for the smaller
    sizes: tuple[int, ...] = ints(RANK)
    strides_a: tuple[int, ...] = ints(RANK)
    strides_b: tuple[int, ...] = ints(RANK)

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        a, b = self.operands(inputs)
        return [(np.maximum(a, b) if self.maximum else np.minimum(a, b)).astype(inputs[0].dtype)]


@dataclass(frozen=True)
class Maximum(Binary):
    """The larger of a and b."""

    name: ClassVar[str] = "maximum"
    range_rule: ClassVar[RangeRule] = RangeRule.SAME

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        return [np.maximum(np.asarray(inputs[0]), np.asarray(inputs[1]))]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        return _fold(inputs, outputs[0], maximum=1)

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        return sample_binary(cls(), rng, same_quant=True)


@dataclass(frozen=True)
class Minimum(Binary):
    """The smaller of a and b."""

    name: ClassVar[str] = "minimum"
    range_rule: ClassVar[RangeRule] = RangeRule.SAME

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        return [np.minimum(np.asarray(inputs[0]), np.asarray(inputs[1]))]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        return _fold(inputs, outputs[0], maximum=0)

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        return sample_binary(cls(), rng, same_quant=True)


def _fold(inputs: Sequence[Tensor | None], target: Tensor, *, maximum: int) -> Fold:
    a, b = required(inputs, 0, "first input"), required(inputs, 1, "second input")
    for tensor in (a, b, target):
        require_dtype(tensor, DType.S8)
    require_same_quant([a, b, target])
    geometry = broadcast_geometry(a.shape, b.shape)
    step = MinMaxStep(
        maximum=maximum, sizes=geometry.sizes, strides_a=geometry.strides_a, strides_b=geometry.strides_b,
    )  # fmt: skip
    return Fold(step, (0, 1))

# SPDX-License-Identifier: Apache-2.0
"""SQUARED_DIFFERENCE: (a - b)^2, both operands brought to one fine scale first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import requant
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Case, Fold, Rounding, ints
from edgeq.ops.elementwise import (
    RANK,
    Binary,
    BinaryStep,
    broadcast_geometry,
    output_multiplier,
    require_equal_dtypes,
    sample_binary,
)
from edgeq.ops.folding import multiplier, quant_of, required

_LEFT_SHIFT = 7  # of the operands; |a - b| then stays within 2^15, its square within 2^30


@dataclass(frozen=True)
class SquaredDifferenceStep(BinaryStep):
    """out = clamp(zero + requant((requant((a - zero_a) << 7) - requant((b - zero_b) << 7))^2)), int8."""

    name: ClassVar[str] = "squared_difference"
    code: ClassVar[int] = 13
    in_place: ClassVar[tuple[int, ...]] = (0, 1)

    zero_a: int
    multiplier_a: int
    shift_a: int
    zero_b: int
    multiplier_b: int
    shift_b: int
    zero: int
    multiplier: int
    shift: int
    mode: int
    sizes: tuple[int, ...] = ints(RANK)
    strides_a: tuple[int, ...] = ints(RANK)
    strides_b: tuple[int, ...] = ints(RANK)

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        a, b = self.operands(inputs)
        a = requant((a - self.zero_a) << _LEFT_SHIFT, self.multiplier_a, self.shift_a, self.mode)
        b = requant((b - self.zero_b) << _LEFT_SHIFT, self.multiplier_b, self.shift_b, self.mode)
        result = requant((a - b) ** 2, self.multiplier, self.shift, self.mode) + self.zero
        return [np.clip(result, *DType.S8.limits).astype(np.int8)]


@dataclass(frozen=True)
class SquaredDifference(Binary):
    """(a - b)^2."""

    name: ClassVar[str] = "squared_difference"

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        return [np.square(np.asarray(inputs[0]) - np.asarray(inputs[1]))]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        a, b, target = required(inputs, 0, "first input"), required(inputs, 1, "second input"), outputs[0]
        dtype = require_equal_dtypes([a, b, target], DType.S8)
        quant_a, quant_b, quant = (quant_of(tensor) for tensor in (a, b, target))
        twice_larger = 2 * max(quant_a.scale, quant_b.scale)
        mode = rounding.mode
        multiplier_a, shift_a = multiplier(quant_a.scale / twice_larger, mode)
        multiplier_b, shift_b = multiplier(quant_b.scale / twice_larger, mode)
        real = twice_larger**2 / (2 ** (2 * _LEFT_SHIFT) * quant.scale)
        scale, shift = output_multiplier(real, mode, peak=(255 << _LEFT_SHIFT) ** 2, dtype=dtype)
        geometry = broadcast_geometry(a.shape, b.shape)
        step = SquaredDifferenceStep(
            zero_a=quant_a.zero_point, multiplier_a=multiplier_a, shift_a=shift_a,
            zero_b=quant_b.zero_point, multiplier_b=multiplier_b, shift_b=shift_b,
            zero=quant.zero_point, multiplier=scale, shift=shift, mode=int(mode),
            sizes=geometry.sizes, strides_a=geometry.strides_a, strides_b=geometry.strides_b,
        )  # fmt: skip
        return Fold(step, (0, 1))

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        return sample_binary(cls(), rng)

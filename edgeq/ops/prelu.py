# SPDX-License-Identifier: Apache-2.0
"""PRELU: x, or x times a learned slope where x is negative."""

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
from edgeq.ops.folding import quant_of, required


@dataclass(frozen=True)
class PreluStep(BinaryStep):
    """out = clamp(zero + (a >= zero_a ? requant(a - zero_a) : requant((a - zero_a) * (b - zero_b)))), int8."""

    name: ClassVar[str] = "prelu"
    code: ClassVar[int] = 14
    in_place: ClassVar[tuple[int, ...]] = (0, 1)

    zero_a: int
    zero_b: int
    zero: int
    multiplier: int  # of a >= zero_a
    shift: int
    slope_multiplier: int  # of products
    slope_shift: int
    mode: int
    sizes: tuple[int, ...] = ints(RANK)
    strides_a: tuple[int, ...] = ints(RANK)
    strides_b: tuple[int, ...] = ints(RANK)

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        a, b = self.operands(inputs)
        value = a - self.zero_a
        positive = requant(value, self.multiplier, self.shift, self.mode)
        negative = requant(value * (b - self.zero_b), self.slope_multiplier, self.slope_shift, self.mode)
        return [np.clip(np.where(value >= 0, positive, negative) + self.zero, *DType.S8.limits).astype(np.int8)]


@dataclass(frozen=True)
class Prelu(Binary):
    """x where x >= 0, slope * x elsewhere; the slope is the second input."""

    name: ClassVar[str] = "prelu"

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        x, slope = np.asarray(inputs[0]), np.asarray(inputs[1])
        return [np.where(x >= 0, x, x * slope)]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        x, slope, target = required(inputs, 0, "input"), required(inputs, 1, "slope"), outputs[0]
        dtype = require_equal_dtypes([x, slope, target], DType.S8)
        quant_x, quant_slope, quant = (quant_of(tensor) for tensor in (x, slope, target))
        mode = rounding.mode
        scale, shift = output_multiplier(quant_x.scale / quant.scale, mode, peak=255, dtype=dtype)
        real = quant_x.scale * quant_slope.scale / quant.scale
        slope_scale, slope_shift = output_multiplier(real, mode, peak=255**2, dtype=dtype)
        geometry = broadcast_geometry(x.shape, slope.shape)
        step = PreluStep(
            zero_a=quant_x.zero_point, zero_b=quant_slope.zero_point, zero=quant.zero_point,
            multiplier=scale, shift=shift, slope_multiplier=slope_scale, slope_shift=slope_shift, mode=int(mode),
            sizes=geometry.sizes, strides_a=geometry.strides_a, strides_b=geometry.strides_b,
        )  # fmt: skip
        return Fold(step, (0, 1))

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        return sample_binary(cls(), rng)

# SPDX-License-Identifier: Apache-2.0
"""MUL: the product of two tensors, brought to the output's scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import requant
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Activation, Case, Fold, Rounding, ints
from edgeq.ops.elementwise import (
    RANK,
    Binary,
    BinaryStep,
    broadcast_geometry,
    output_multiplier,
    require_equal_dtypes,
    sample_binary,
)
from edgeq.ops.folding import activation_bounds, f32, quant_of, required, shifts_alone

_PEAK = {DType.S8: 255**2, DType.S16: 2**30}  # largest product of two codes less their zero points


@dataclass(frozen=True)
class MulStep(BinaryStep):
    """out = clamp(zero + requant((a - zero_a) * (b - zero_b)))."""

    name: ClassVar[str] = "mul"
    code: ClassVar[int] = 11
    in_place: ClassVar[tuple[int, ...]] = (0, 1)

    element_bytes: int
    zero_a: int
    zero_b: int
    zero: int
    multiplier: int
    shift: int
    act_min: int
    act_max: int
    mode: int
    sizes: tuple[int, ...] = ints(RANK)
    strides_a: tuple[int, ...] = ints(RANK)
    strides_b: tuple[int, ...] = ints(RANK)

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        a, b = self.operands(inputs)
        result = requant((a - self.zero_a) * (b - self.zero_b), self.multiplier, self.shift, self.mode) + self.zero
        return [np.clip(result, self.act_min, self.act_max).astype(inputs[0].dtype)]


@dataclass(frozen=True)
class Mul(Binary):
    """a * b."""

    name: ClassVar[str] = "mul"

    activation: Activation = Activation.NONE

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        return [self.activation.apply(np.asarray(inputs[0]) * np.asarray(inputs[1]))]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        a, b, target = required(inputs, 0, "first input"), required(inputs, 1, "second input"), outputs[0]
        dtype = require_equal_dtypes([a, b, target], DType.S8, DType.S16)
        quant_a, quant_b, quant = (quant_of(tensor) for tensor in (a, b, target))
        real = f32(f32(quant_a.scale * quant_b.scale) / quant.scale)
        scale, shift = output_multiplier(real, rounding.mode, peak=_PEAK[dtype], dtype=dtype)
        bounds = activation_bounds(self.activation, quant, dtype)
        geometry = broadcast_geometry(a.shape, b.shape)
        step = MulStep(
            element_bytes=dtype.bytes, zero_a=quant_a.zero_point, zero_b=quant_b.zero_point, zero=quant.zero_point,
            multiplier=scale, shift=shift, act_min=bounds[0], act_max=bounds[1], mode=int(rounding.mode),
            sizes=geometry.sizes, strides_a=geometry.strides_a, strides_b=geometry.strides_b,
        )  # fmt: skip
        return Fold(shifts_alone(step), (0, 1))

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        dtype = DType.S8 if rng.random() < 0.7 else DType.S16
        while True:
            case = sample_binary(cls(list(Activation)[rng.integers(4)]), rng, dtype=dtype)
            scales = [quant_of(tensor).scale for tensor in (*case.inputs, *case.outputs) if tensor is not None]
            if dtype is DType.S8 or scales[0] * scales[1] < scales[2]:
                return case

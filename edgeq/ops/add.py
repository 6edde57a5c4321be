# SPDX-License-Identifier: Apache-2.0
"""ADD and SUB: both operands brought to one fine scale, added, and brought to the output's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import InvalidValueError
from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import requant
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Activation, Case, Fold, Rounding, ints
from edgeq.ops.elementwise import RANK, Binary, BinaryStep, broadcast_geometry, require_equal_dtypes, sample_binary
from edgeq.ops.folding import activation_bounds, f32, multiplier, quant_of, required, shifts_alone

_ELEMENT_WORK = 64  # products of a matrix that take as long as one sum, with AVX-512
_LEFT_SHIFT = {DType.S8: 20, DType.S16: 15}  # of the operands, before they are rescaled

# Files may allow int16 sums to be taken by shifts (``shifts``, their pot_scale_int16). LiteRT does so where all scales
# are powers of two, that of one operand is the output's, and that of the other is no larger: it rounds the other to
# the output's scale and adds. A left shift of 1 makes the step do the same: 2 x * 2^-1 is exact.


@dataclass(frozen=True)
class AddStep(BinaryStep):
    """out = clamp(zero + requant(requant((a - zero_a) << left_shift) + sign * requant((b - zero_b) << left_shift)))."""

    name: ClassVar[str] = "add"
    code: ClassVar[int] = 10
    divides: ClassVar[bool] = True
    in_place: ClassVar[tuple[int, ...]] = (0, 1)

    element_bytes: int
    sign: int  # 1 adds, -1 subtracts
    left_shift: int
    zero_a: int
    multiplier_a: int
    shift_a: int
    zero_b: int
    multiplier_b: int
    shift_b: int
    zero: int
    multiplier: int
    shift: int
    act_min: int
    act_max: int
    mode: int
    sizes: tuple[int, ...] = ints(RANK)
    strides_a: tuple[int, ...] = ints(RANK)
    strides_b: tuple[int, ...] = ints(RANK)

    def work(self) -> int:
        return _ELEMENT_WORK * math.prod(self.sizes)

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        a, b = self.operands(inputs)
        a = requant((a - self.zero_a) << self.left_shift, self.multiplier_a, self.shift_a, self.mode)
        b = requant((b - self.zero_b) << self.left_shift, self.multiplier_b, self.shift_b, self.mode)
        result = requant(a + self.sign * b, self.multiplier, self.shift, self.mode) + self.zero
        return [np.clip(result, self.act_min, self.act_max).astype(inputs[0].dtype)]


@dataclass(frozen=True)
class Add(Binary):
    """a + b; for ``shifts`` see the note above."""

    name: ClassVar[str] = "add"

    activation: Activation = Activation.NONE
    shifts: bool = False

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        return [self.activation.apply(np.asarray(inputs[0]) + np.asarray(inputs[1]))]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        return _fold_sum(self, inputs, outputs[0], rounding=rounding, sign=1)

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        return _sample(cls, rng)


@dataclass(frozen=True)
class Sub(Binary):
    """a - b; for ``shifts`` see the note above."""

    name: ClassVar[str] = "sub"

    activation: Activation = Activation.NONE
    shifts: bool = False

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        return [self.activation.apply(np.asarray(inputs[0]) - np.asarray(inputs[1]))]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        return _fold_sum(self, inputs, outputs[0], rounding=rounding, sign=-1)

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        return _sample(cls, rng)


def _sample(op: type[Add] | type[Sub], rng: np.random.Generator) -> Case:
    dtype = DType.S8 if rng.random() < 0.7 else DType.S16
    return sample_binary(op(list(Activation)[rng.integers(4)]), rng, dtype=dtype)


def _are_shifts(a: float, b: float, out: float) -> bool:
    """Whether LiteRT adds by shifts alone, see above."""
    return all(math.frexp(scale)[0] == 0.5 for scale in (a, b, out)) and max(a, b) == out


def _fold_sum(op: Add | Sub, inputs: Sequence[Tensor | None], target: Tensor, *, rounding: Rounding, sign: int) -> Fold:
    a, b = required(inputs, 0, "first input"), required(inputs, 1, "second input")
    dtype = require_equal_dtypes([a, b, target], DType.S8, DType.S16)
    quant_a, quant_b, quant = (quant_of(tensor) for tensor in (a, b, target))
    scales = quant_a.scale, quant_b.scale, quant.scale
    shifted = op.shifts and rounding is Rounding.TFLITE and dtype is DType.S16 and _are_shifts(*scales)
    left_shift = 1 if shifted else _LEFT_SHIFT[dtype]
    twice_larger = 2 * max(quant_a.scale, quant_b.scale)
    real = twice_larger / f32(2**left_shift * quant.scale)
    if real >= 1 and not shifted:
        raise InvalidValueError(
            f"output scale {quant.scale:.6g} is too fine for input scales {quant_a.scale:.6g} and {quant_b.scale:.6g}"
        )
    mode = rounding.mode
    multiplier_a, shift_a = multiplier(quant_a.scale / twice_larger, mode)
    multiplier_b, shift_b = multiplier(quant_b.scale / twice_larger, mode)
    scale, shift = multiplier(real, mode)
    bounds = activation_bounds(op.activation, quant, dtype)
    geometry = broadcast_geometry(a.shape, b.shape)
    step = AddStep(
        element_bytes=dtype.bytes, sign=sign, left_shift=left_shift,
        zero_a=quant_a.zero_point, multiplier_a=multiplier_a, shift_a=shift_a,
        zero_b=quant_b.zero_point, multiplier_b=multiplier_b, shift_b=shift_b,
        zero=quant.zero_point, multiplier=scale, shift=shift, act_min=bounds[0], act_max=bounds[1], mode=int(mode),
        sizes=geometry.sizes, strides_a=geometry.strides_a, strides_b=geometry.strides_b,
    )  # fmt: skip
    return Fold(shifts_alone(step), (0, 1))

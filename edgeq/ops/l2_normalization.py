# SPDX-License-Identifier: Apache-2.0
"""L2_NORMALIZATION: each row of the last axis divided by its Euclidean length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import invsqrt, requant
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Activation, Case, Fold, Op, RangeRule, Rounding, Shape, Step
from edgeq.ops.folding import quant_of, require_dtype, require_quant, required

MAX_DEPTH = 33025  # elements of a row: their squares, up to 255^2, add up to less than 2^31


@dataclass(frozen=True)
class L2NormalizationStep(Step):
    """out = clamp(128 * (in - zero) / sqrt(sum of (in - zero)^2 over a row)), int8."""

    name: ClassVar[str] = "l2_normalization"
    code: ClassVar[int] = 17
    in_place: ClassVar[tuple[int, ...]] = (0,)

    rows: int
    depth: int
    zero: int
    left_shift: int  # of the codes, before they are multiplied: 0 to 7
    mode: int

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        values = np.asarray(inputs[0]).astype(np.int64).reshape(self.rows, self.depth) - self.zero
        roots = [invsqrt(int(total)) for total in np.square(values).sum(axis=1)]
        multipliers = np.array([multiplier for multiplier, _ in roots])[:, None]
        shifts = np.array([shift for _, shift in roots])[:, None] + 7 - self.left_shift
        scaled = requant(values << self.left_shift, multipliers, shifts, self.mode)
        return [np.clip(scaled, -128, 127).astype(np.int8)]


@dataclass(frozen=True)
class L2Normalization(Op):
    """x / sqrt(sum of x^2) along the last axis.

    LiteRT's kernel for unsigned codes multiplies by 128 first, which rounds otherwise; ``scaled_first`` does the same.
    """

    name: ClassVar[str] = "l2_normalization"
    range_rule: ClassVar[RangeRule] = RangeRule.FIXED

    activation: Activation = Activation.NONE
    scaled_first: bool = False

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        return [required(inputs, 0, "input").shape]

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        x = np.asarray(inputs[0])
        lengths = np.sqrt(np.square(x).sum(axis=-1, keepdims=True))
        return [self.activation.apply(x / np.maximum(lengths, x.dtype.type(1e-6)))]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        source, target = required(inputs, 0, "input"), outputs[0]
        if self.activation is not Activation.NONE:
            raise UnsupportedError(f"l2_normalization with fused {self.activation.name}")
        for tensor in (source, target):
            require_dtype(tensor, DType.S8)
        require_quant(target, self.fixed_quant(DType.S8))
        if not source.shape or source.shape[-1] > MAX_DEPTH:
            raise UnsupportedError(
                f"l2_normalization over rows of shape {list(source.shape)}: 1 to {MAX_DEPTH} elements expected"
            )
        depth = source.shape[-1]
        zero = quant_of(source, "input").zero_point
        left_shift = 7 if self.scaled_first else 0
        return Fold(L2NormalizationStep(source.elements // depth, depth, zero, left_shift, int(rounding.mode)))

    def fixed_quant(self, dtype: DType) -> QuantParams:
        return QuantParams.of(1 / 128 if dtype is DType.S8 else 1 / 32768)

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        shape = tuple(int(size) for size in rng.integers(1, 9, size=int(rng.integers(1, 5))))
        source = Tensor("x", shape, DType.S8, QuantParams.of(2.0 ** rng.uniform(-8, 0), int(rng.integers(-128, 128))))
        op = cls(scaled_first=bool(rng.random() < 0.3))
        return Case(op, (source,), (Tensor("y", shape, DType.S8, op.fixed_quant(DType.S8)),))

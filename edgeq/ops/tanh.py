# SPDX-License-Identifier: Apache-2.0
"""TANH: int8 by table, int16 by LiteRT's interpolated sigmoid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import exp_neg, ratio1p, rdp
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Case, Fold, RangeRule, Rounding
from edgeq.ops.folding import required
from edgeq.ops.sigmoid_s16 import fold_sigmoid_s16
from edgeq.ops.unary import RealUnary, fold_fixed_point, sample_unary, transcendental


@dataclass(frozen=True)
class Tanh(RealUnary):
    """The hyperbolic tangent."""

    name: ClassVar[str] = "tanh"
    range_rule: ClassVar[RangeRule] = RangeRule.FIXED

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        return [transcendental(np.tanh, np.asarray(inputs[0]))]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        source, target = required(inputs, 0, "input"), outputs[0]
        if source.dtype is DType.S16:
            return fold_sigmoid_s16(source, target, tanh=True)
        if rounding is Rounding.TFLM:
            return fold_fixed_point(source, target, _tanh_codes, fixed=self.fixed_quant(DType.S8))
        return super().fold(inputs, outputs, rounding=rounding)

    def fixed_quant(self, dtype: DType) -> QuantParams:
        return QuantParams.of(1 / 128 if dtype is DType.S8 else 1 / 32768)

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        dtype = DType.S8 if rng.random() < 0.7 else DType.S16
        return sample_unary(cls(), rng, output=cls().fixed_quant(dtype), dtype=dtype)


def _tanh_codes(x: np.ndarray) -> np.ndarray:
    """tanh(x) in 1/128, of x in Q4.27."""
    magnitude = ratio1p(exp_neg(-np.abs(x), 5))  # 2 |x| has one integer bit more
    return np.where(x == 0, 0, rdp(np.sign(x) * magnitude, 24))

# SPDX-License-Identifier: Apache-2.0
"""LOGISTIC: 1 / (1 + exp(-x)); int8 by table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Case, Fold, Op, RangeRule, Rounding, Shape
from edgeq.ops.folding import required
from edgeq.ops.unary import fold_real_function, sample_unary


@dataclass(frozen=True)
class Logistic(Op):
    """The sigmoid function."""

    name: ClassVar[str] = "logistic"
    range_rule: ClassVar[RangeRule] = RangeRule.FIXED

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        return [required(inputs, 0, "input").shape]

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        x = np.asarray(inputs[0])
        return [x.dtype.type(1) / (x.dtype.type(1) + np.exp(-x))]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        return fold_real_function(required(inputs, 0, "input"), outputs[0], lambda x: self.reference([x])[0])

    def fixed_quant(self, dtype: DType) -> QuantParams:
        return QuantParams.of(1 / 256, -128) if dtype is DType.S8 else QuantParams.of(1 / 32768)

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        return sample_unary(cls(), rng, output=QuantParams.of(1 / 256, -128))

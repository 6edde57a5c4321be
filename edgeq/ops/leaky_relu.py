# SPDX-License-Identifier: Apache-2.0
"""LEAKY_RELU: x, or alpha * x where x is negative; by table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ir.graph import Tensor
from edgeq.ops.base import Case, Fold, Rounding
from edgeq.ops.folding import f32, quant_of, required
from edgeq.ops.lut import fold_table
from edgeq.ops.unary import Unary, rescaled, sample_unary


@dataclass(frozen=True)
class LeakyRelu(Unary):
    """x where x >= 0, alpha * x elsewhere; alpha may be negative."""

    name: ClassVar[str] = "leaky_relu"

    alpha: float = 0.2

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        x = np.asarray(inputs[0])
        return [np.where(x >= 0, x, x * x.dtype.type(self.alpha))]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        source, target = required(inputs, 0, "input"), outputs[0]
        quant_in, quant_out = quant_of(source, "input"), quant_of(target, "output")
        alpha = f32(self.alpha)
        identity = f32(quant_in.scale / quant_out.scale)
        slope = f32(f32(quant_in.scale * abs(alpha)) / quant_out.scale)
        sign = -1 if alpha < 0 else 1

        def codes_of(codes: np.ndarray) -> np.ndarray:
            values = codes - quant_in.zero_point
            positive = rescaled(values, identity, rounding.mode)
            negative = sign * rescaled(values, slope, rounding.mode)
            return np.where(values >= 0, positive, negative) + quant_out.zero_point

        return fold_table(source, target, codes_of)

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        return sample_unary(cls(f32(rng.uniform(-0.5, 1.5))), rng)

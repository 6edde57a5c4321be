# SPDX-License-Identifier: Apache-2.0
"""RSQRT: 1 / sqrt(x), by table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ir.fixed_point import invsqrt, requant
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Fold, Rounding
from edgeq.ops.folding import f32, multiplier, quant_of, required
from edgeq.ops.lut import fold_table
from edgeq.ops.unary import Unary

_GUARD_BITS = 20  # of 1 / sqrt(code) before the output's scale is applied


@dataclass(frozen=True)
class Rsqrt(Unary):
    """1 / sqrt(x); infinity at 0, and in codes at negative values too."""

    name: ClassVar[str] = "rsqrt"

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        x = np.asarray(inputs[0])
        with np.errstate(divide="ignore", invalid="ignore"):
            return [x.dtype.type(1) / np.sqrt(x)]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        source, target = required(inputs, 0, "input"), outputs[0]
        quant_in, quant_out = quant_of(source, "input"), quant_of(target, "output")
        root = f32(math.sqrt(quant_in.scale))
        scale, shift = multiplier(1 / f32(root * quant_out.scale), rounding.mode)

        def code_of(value: int) -> int:
            if value <= 0:
                return target.dtype.limits[1]
            inverse, inverse_shift = invsqrt(value)
            fine = requant(np.array(1), inverse, inverse_shift + _GUARD_BITS, rounding.mode)
            return int(requant(fine, scale, shift - _GUARD_BITS, rounding.mode)) + quant_out.zero_point

        return fold_table(
            source,
            target,
            lambda codes: np.array([code_of(int(code) - quant_in.zero_point) for code in codes], np.int64),
        )

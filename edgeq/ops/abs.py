# SPDX-License-Identifier: Apache-2.0
"""ABS: |x|, by table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ir.graph import Tensor
from edgeq.ops.base import Fold, Rounding
from edgeq.ops.folding import f32, quant_of, required
from edgeq.ops.lut import fold_table
from edgeq.ops.unary import Unary, rescaled


@dataclass(frozen=True)
class Abs(Unary):
    """The absolute value."""

    name: ClassVar[str] = "abs"

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        return [np.abs(np.asarray(inputs[0]))]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        source, target = required(inputs, 0, "input"), outputs[0]
        quant_in, quant_out = quant_of(source, "input"), quant_of(target, "output")

        def codes_of(codes: np.ndarray) -> np.ndarray:
            magnitudes = np.abs(codes - quant_in.zero_point)
            return rescaled(magnitudes, f32(quant_in.scale / quant_out.scale), rounding.mode) + quant_out.zero_point

        return fold_table(source, target, codes_of)

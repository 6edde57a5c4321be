# SPDX-License-Identifier: Apache-2.0
"""RELU, RELU6 and RELU_N1_TO_1 as operators of their own: a change of scale and a clamp, by table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ir.graph import Tensor
from edgeq.ops.base import Activation, Fold, Rounding
from edgeq.ops.folding import activation_bounds, f32, quant_of, required
from edgeq.ops.lut import fold_table
from edgeq.ops.unary import Unary, rescaled


class _Clamp(Unary):
    """A clamp of real values."""

    activation: ClassVar[Activation]

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        return [self.activation.apply(np.asarray(inputs[0]))]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        source, target = required(inputs, 0, "input"), outputs[0]
        quant_in, quant_out = quant_of(source, "input"), quant_of(target, "output")
        bounds = activation_bounds(self.activation, quant_out, target.dtype)

        def codes_of(codes: np.ndarray) -> np.ndarray:
            scaled = rescaled(codes - quant_in.zero_point, f32(quant_in.scale / quant_out.scale), rounding.mode)
            return np.asarray(np.minimum(np.maximum(scaled + quant_out.zero_point, bounds[0]), bounds[1]))

        return fold_table(source, target, codes_of)


@dataclass(frozen=True)
class Relu(_Clamp):
    """max(x, 0)."""

    name: ClassVar[str] = "relu"
    activation: ClassVar[Activation] = Activation.RELU


@dataclass(frozen=True)
class Relu6(_Clamp):
    """x clamped to [0, 6]."""

    name: ClassVar[str] = "relu6"
    activation: ClassVar[Activation] = Activation.RELU6


@dataclass(frozen=True)
class ReluN1To1(_Clamp):
    """x clamped to [-1, 1]."""

    name: ClassVar[str] = "relu_n1_to_1"
    activation: ClassVar[Activation] = Activation.RELU_N1_TO_1

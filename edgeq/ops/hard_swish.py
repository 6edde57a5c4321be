# SPDX-License-Identifier: Apache-2.0
"""HARD_SWISH: x * relu6(x + 3) / 6, by a table made with LiteRT's 16-bit pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.ir.fixed_point import quantize_multiplier, rdp, srdhm16
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Case, Fold, Rounding
from edgeq.ops.folding import f32, quant_of, required
from edgeq.ops.lut import fold_table
from edgeq.ops.unary import Unary, sample_unary


@dataclass(frozen=True)
class HardSwish(Unary):
    """x * relu6(x + 3) / 6."""

    name: ClassVar[str] = "hard_swish"

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        x = np.asarray(inputs[0])
        return [x * np.clip(x + 3, 0, 6) / x.dtype.type(6)]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        source, target = required(inputs, 0, "input"), outputs[0]
        quant_in, quant_out = quant_of(source, "input"), quant_of(target, "output")
        fine = f32(quant_in.scale / 128)  # the scale of codes shifted left by 7
        output, output_shift = _multiplier16(f32(fine / quant_out.scale))
        gate, gate_shift = _multiplier16(f32(fine / f32(3 / 32768)))
        if output_shift > 0:
            raise UnsupportedError(
                f"hard_swish from scale {quant_in.scale:.6g} to {quant_out.scale:.6g}: the output's scale must be at "
                "least 1/128 of the input's"
            )

        def codes_of(codes: np.ndarray) -> np.ndarray:
            shifted = (codes - quant_in.zero_point) * 128
            relu_like = shifted  # becomes clamp(x / 3, -1, 1) in Q0.15
            if gate_shift > 0:
                relu_like = _saturate16(relu_like << (gate_shift - 1))
            relu_like = srdhm16(relu_like, gate)
            if gate_shift > 0:
                relu_like = _saturate16(relu_like << 1)
            if gate_shift < 0:
                relu_like = rdp(relu_like, -gate_shift)
            half_gate = (relu_like + 32768) >> 1
            product = half_gate * srdhm16(shifted, output)
            truncated = np.where(product >= 0, product >> 15, -(-product >> 15))
            return _divide16(truncated, -output_shift, rounding) + quant_out.zero_point

        return fold_table(source, target, codes_of)

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        while True:
            case = sample_unary(cls(), rng)
            source, target = case.inputs[0], case.outputs[0]
            assert source is not None
            if quant_of(source).scale < 127 * quant_of(target).scale:
                return case


def _multiplier16(real: float) -> tuple[int, int]:
    """Split a real multiplier into 16 bits and a shift: real ~ m * 2^(shift - 15)."""
    wide, shift = quantize_multiplier(real)
    return 32767 if wide >= 2**31 - 2**15 else (wide + 2**15) >> 16, shift


def _saturate16(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(values, -32768, 32767))


def _divide16(values: np.ndarray, exponent: int, rounding: Rounding) -> np.ndarray:
    """Divide 16-bit values by 2^exponent, rounding half away from zero.

    Past 15 the quotient is 0. The 16-bit mask of the reference kernels is then all ones, and what they give is the
    sign: 1 for 0 and above, -1 below.
    """
    if exponent <= 15 or rounding is Rounding.NATIVE:
        return rdp(values, exponent)
    return np.where(values < 0, -1, 1)

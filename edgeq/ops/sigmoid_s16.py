# SPDX-License-Identifier: Apache-2.0
"""LOGISTIC and TANH of int16 tensors: LiteRT's 256-entry sigmoid table with linear interpolation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Fold, Step, constant
from edgeq.ops.folding import quant_of, require_dtype, require_quant


@dataclass(frozen=True)
class SigmoidS16Step(Step):
    """out[i] = sigmoid(in[i]), or tanh(in[i]) = 2 sigmoid(2 in[i]) - 1, in Q0.15 by an interpolated table."""

    name: ClassVar[str] = "sigmoid_s16"
    code: ClassVar[int] = 25
    in_place: ClassVar[tuple[int, ...]] = (0,)

    count: int
    tanh: int  # 1 for tanh, 0 for sigmoid
    multiplier: int  # in[i] * multiplier / 2^shift is in units of 1 / 12288
    shift: int
    table: np.ndarray = constant(DType.S16)  # (256,) sigmoid(i / 24) - 1/2 in Q0.16

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        codes = np.asarray(inputs[0]).astype(np.int64)
        scaled = (codes * self.multiplier + (1 << self.shift) // 2) >> self.shift
        bits = 8 if self.tanh else 9
        magnitudes = np.abs(scaled)
        index = np.minimum(magnitudes >> bits, 254)
        table = self.table.astype(np.int64) + 32768
        fraction = magnitudes & ((1 << bits) - 1)
        inner = (table[index] << bits) + fraction * (table[index + 1] - table[index])
        outer = magnitudes >> bits >= 255
        if self.tanh:
            above = np.where(outer, 0xFFFF << 8, inner) - 2**23  # half, in Q0.24
            return [(np.where(scaled >= 0, above + 128, 127 - above) >> 8).astype(np.int16)]
        above = np.where(outer, 0x7FFF << 10, inner)
        return [(np.where(scaled >= 0, above + 512, 2**25 - above + 511) >> 10).astype(np.int16)]


def fold_sigmoid_s16(source: Tensor, target: Tensor, *, tanh: bool) -> Fold:
    """Fold the scale of the input; zero points must be 0 and the output's scale 1/32768."""
    require_dtype(source, DType.S16)
    require_dtype(target, DType.S16)
    require_quant(target, QuantParams.of(1 / 32768))
    quant = quant_of(source, "input")
    if quant.zero_point != 0:
        raise UnsupportedError(f"int16 input {source.name!r} has zero point {quant.zero_point}, 0 expected")
    multiplier, shift = _input_multiplier(quant.scale, tanh=tanh)
    return Fold(
        SigmoidS16Step(count=source.elements, tanh=int(tanh), multiplier=multiplier, shift=shift, table=_table())
    )


def _table() -> np.ndarray:
    """Return LiteRT's table: each entry is moved by half of the error that interpolation makes half a step further."""
    index = np.arange(256, dtype=np.float64)

    def sigmoid(place: np.ndarray) -> np.ndarray:
        return np.asarray(2**16 / (1 + np.exp(-place / 24)))

    error = sigmoid(index + 0.5) - (sigmoid(index) + sigmoid(index + 1)) / 2
    table = np.floor(sigmoid(index) + error / 2 + 0.5) - 2**15
    table[-1] = 32767  # the end of the range, where the formula gives 32766
    return np.asarray(table.astype(np.int16))


def _input_multiplier(scale: float, *, tanh: bool) -> tuple[int, int]:
    """Return (multiplier, shift) that bring codes to units of 1 / (3 * 4096)."""
    fraction, exponent = math.frexp(scale)
    left = exponent - 1 + 12  # log2(scale * 4096) of a power of two
    if fraction == 0.5 and left in ((0, 1) if tanh else (0,)):
        return 3 << left, 0
    real, shift = scale * 4096 * 3, 0
    while real <= 32767 / 2 and shift <= 30:
        real, shift = real * 2, shift + 1
    if real >= 32768:
        raise UnsupportedError(f"int16 input scale {scale:.6g} is too large: at most 2.6 is possible")
    return int(real), shift

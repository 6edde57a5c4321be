# SPDX-License-Identifier: Apache-2.0
"""SOFTMAX of int16 tensors: exponential and reciprocal from LiteRT's interpolated tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import Mode, clz32, quantize_multiplier, requant
from edgeq.ops.base import Step, constant
from edgeq.ops.lut_s16 import interpolate, interpolation_table

MAX_DEPTH = 65535  # elements of a row: their exponentials, in Q0.15, add up to less than 2^31
_REACH = 10.0  # exponentials of less than -10 count as exp(-10)
_MAX_SHIFT = 14  # differences of up to 65535 are shifted left by it in int32


@dataclass(frozen=True)
class SoftmaxS16Step(Step):
    """out = exp(in - max) / sum of exp(in - max) over a row, int16 in Q0.15, by two interpolated tables."""

    name: ClassVar[str] = "softmax_s16"
    code: ClassVar[int] = 26

    rows: int
    depth: int
    multiplier: int  # brings differences to units of 10 / 65535
    shift: int
    exps: np.ndarray = constant(DType.S16)  # (513,) exp of -10 to 0 in Q0.15
    reciprocals: np.ndarray = constant(DType.S16)  # (513,) 1 / (1 + x) of 0 to 1 in Q0.15

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        codes = np.asarray(inputs[0]).astype(np.int64).reshape(self.rows, self.depth)
        scaled = requant(codes - codes.max(axis=1, keepdims=True), self.multiplier, self.shift, Mode.DOUBLE)
        exps = interpolate(self.exps, np.clip(scaled + 32767, -32768, 32767))
        sums = exps.sum(axis=1, keepdims=True)
        bits = np.array([[31 - clz32(int(total))] for total in sums[:, 0]])  # 2^bits <= sum < 2^(bits + 1)
        mantissas = ((sums << (30 - bits)) + 2**13) >> 14  # in [2^16, 2^17]
        inverses = interpolate(self.reciprocals, np.clip(mantissas - 2**16 - 2**15, -32768, 32767))
        return [np.clip((exps * inverses + (1 << (bits - 1))) >> bits, 0, 32767).astype(np.int16)]


def softmax_s16_step(scale: float, beta: float, *, rows: int, depth: int) -> SoftmaxS16Step:
    """Fold the scale of the input; the output's is 1/32768. Raises UnsupportedError for sizes out of range."""
    if depth > MAX_DEPTH:
        raise UnsupportedError(f"int16 softmax over rows of {depth} elements: at most {MAX_DEPTH} are possible")
    product = float(np.float32(scale) * np.float32(beta))  # in single precision, as LiteRT has it
    multiplier, shift = quantize_multiplier(product / (_REACH / 65535))
    if shift > _MAX_SHIFT:
        raise UnsupportedError(f"int16 softmax with input scale {scale:.6g} and beta {beta:.6g}: too large a product")
    # in double precision, unlike other tables: in single precision two of the reciprocals come out one less
    table = partial(interpolation_table, outputs=(2 / 65535, 0), real=np.float64)
    exps = table(np.exp, inputs=(_REACH / 65535, 32767))
    reciprocals = table(lambda x: 1 / (1 + x), inputs=(1 / 65535, -32768))
    return SoftmaxS16Step(
        rows=rows, depth=depth, multiplier=multiplier, shift=shift, exps=exps, reciprocals=reciprocals
    )

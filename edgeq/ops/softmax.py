# SPDX-License-Identifier: Apache-2.0
"""SOFTMAX over the last axis: exponentials from a table, one reciprocal a row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import GraphError, UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import INT32_MAX, clz32, exp_neg, quantize_multiplier, rdp, recip1p, srdhm, wrap32
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Case, Fold, Op, RangeRule, Rounding, Shape, Step, constant
from edgeq.ops.elementwise import require_equal_dtypes
from edgeq.ops.folding import quant_of, require_quant, required
from edgeq.ops.softmax_s16 import softmax_s16_step

MAX_DEPTH = 4095  # elements of a row: their exponentials, in Q12.19, add up to less than 2^31
_INTEGER_BITS = 5  # of the scaled difference from the row's maximum


@dataclass(frozen=True)
class SoftmaxStep(Step):
    """out = 256 * exps[max - in] / (sum of exps[max - in] over a row) - 128, int8, in LiteRT's fixed point."""

    name: ClassVar[str] = "softmax"
    code: ClassVar[int] = 16
    in_place: ClassVar[tuple[int, ...]] = (0,)

    rows: int
    depth: int
    exps: np.ndarray = constant(DType.S32)  # (256,) exp(-scale * i) in Q0.31

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        codes = np.asarray(inputs[0]).astype(np.int64).reshape(self.rows, self.depth)
        exps = self.exps.astype(np.int64)[codes.max(axis=1, keepdims=True) - codes]
        sums = rdp(exps, 12).sum(axis=1)
        headroom = np.array([clz32(int(total)) for total in sums])
        inverses = recip1p(wrap32((sums << headroom) - 2**31))[:, None]
        ratios = rdp(srdhm(inverses, exps), (12 - headroom + 23)[:, None])
        return [np.clip(ratios - 128, -128, 127).astype(np.int8)]


@dataclass(frozen=True)
class Softmax(Op):
    """exp(beta * x) over its sum along the last axis."""

    name: ClassVar[str] = "softmax"
    range_rule: ClassVar[RangeRule] = RangeRule.FIXED

    beta: float = 1.0

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        return [required(inputs, 0, "input").shape]

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        x = np.asarray(inputs[0])
        exps = np.exp((x - x.max(axis=-1, keepdims=True)) * x.dtype.type(self.beta))
        return [exps / exps.sum(axis=-1, keepdims=True)]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        source, target = required(inputs, 0, "input"), outputs[0]
        dtype = require_equal_dtypes([source, target], DType.S8, DType.S16)
        require_quant(target, self.fixed_quant(dtype))
        if not source.shape:
            raise GraphError("softmax of a scalar")
        scale, depth = quant_of(source, "input").scale, source.shape[-1]
        rows = source.elements // depth
        if dtype is DType.S16:
            return Fold(softmax_s16_step(scale, self.beta, rows=rows, depth=depth))
        if depth > MAX_DEPTH:
            raise UnsupportedError(f"int8 softmax over rows of {depth} elements: at most {MAX_DEPTH} are possible")
        return Fold(SoftmaxStep(rows=rows, depth=depth, exps=_exponentials(scale, self.beta)))

    def fixed_quant(self, dtype: DType) -> QuantParams:
        return QuantParams.of(1 / 256, -128) if dtype is DType.S8 else QuantParams.of(1 / 32768)

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        shape = (*rng.integers(1, 5, size=int(rng.integers(0, 4))), int(rng.choice([1, 2, 7, 10, 64, 1001])))
        sizes = tuple(int(size) for size in shape)
        dtype, quant = DType.S8, QuantParams.of(2.0 ** rng.uniform(-9, 1), int(rng.integers(-128, 128)))
        if rng.random() < 0.3:
            # beyond a spread of 10, LiteRT counts exponentials as exp(-10)
            dtype, quant = DType.S16, QuantParams.of(2.0 ** rng.uniform(-18, -14))
        op = cls(float(rng.choice([0.5, 1.0, 2.0])))
        return Case(op, (Tensor("x", sizes, dtype, quant),), (Tensor("y", sizes, dtype, op.fixed_quant(dtype)),))


def _exponentials(scale: float, beta: float) -> np.ndarray:
    """Return exp(-beta * scale * i) for i = 0..255 in Q0.31, 0 where LiteRT skips the element."""
    real = min(float(np.float32(beta)) * scale * 2.0 ** (31 - _INTEGER_BITS), float(INT32_MAX))
    multiplier, shift = quantize_multiplier(real)
    if shift < 0:
        raise UnsupportedError(f"softmax with input scale {scale:.6g} and beta {beta:.6g}: their product is too small")
    limit = math.floor(31 * 2.0 ** (31 - _INTEGER_BITS - shift))
    differences = np.arange(256)
    scaled = srdhm(-np.minimum(differences, limit) << shift, multiplier)
    return np.where(differences > limit, 0, exp_neg(scaled, _INTEGER_BITS)).astype(np.int32)

# SPDX-License-Identifier: Apache-2.0
"""What unary functions share: one shape in and out, tables from real and from integer functions, random cases."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import Mode, quantize_multiplier, requant, round_away
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Case, Fold, Op, Rounding, Shape
from edgeq.ops.folding import multiplier, quant_of, require_quant, required
from edgeq.ops.lut import fold_table
from edgeq.ops.lut_s16 import fold_table_s16


class Unary(Op):
    """An operator that maps each element by itself."""

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        return [required(inputs, 0, "input").shape]

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        return sample_unary(cls(), rng)


class RealUnary(Unary):
    """A unary operator, of int8 or int16, whose table is ``reference`` in float32."""

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        return fold_real_function(
            required(inputs, 0, "input"), outputs[0], lambda x: self.reference([x])[0], rounding=rounding
        )

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        return sample_unary(cls(), rng, dtype=DType.S8 if rng.random() < 0.7 else DType.S16)


def transcendental(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    """Apply a function in float64 and round to the dtype of x, so that every host gets the same float32 values."""
    return np.asarray(function(x.astype(np.float64)).astype(x.dtype))


def rescaled(values: np.ndarray, real: float, mode: Mode) -> np.ndarray:
    """Multiply integers by a real multiplier >= 0, in fixed point."""
    return requant(values, *multiplier(real, mode), mode)


def fold_real_function(
    source: Tensor, target: Tensor, function: Callable[[np.ndarray], np.ndarray], *, rounding: Rounding
) -> Fold:
    """Fold a real function into a table, evaluated in float32 as LiteRT's reference kernels do.

    With TFLITE rounding it warns of a value so near a tie that the libm behind LiteRT could round it the other way.
    """
    quant_in, quant_out = quant_of(source, "input"), quant_of(target, "output")
    if source.dtype is DType.S16:
        return fold_table_s16(source, target, function)
    inverse = np.float32(1) / np.float32(quant_out.scale)

    def codes_of(codes: np.ndarray) -> np.ndarray:
        real = np.float32(quant_in.scale) * (codes - quant_in.zero_point).astype(np.float32)
        with np.errstate(over="ignore"):
            scaled = function(real).astype(np.float32) * inverse
            exact = function(real.astype(np.float64)) / np.float64(quant_out.scale)
        near_tie = np.abs(np.abs(exact - np.trunc(exact)) - 0.5) < 1e-5
        if rounding is Rounding.TFLITE and np.any(near_tie & (exact != scaled) & (np.abs(exact) < 1e6)):
            warnings.warn(
                f"a value of {target.name!r} lies within 1e-5 of a rounding tie; LiteRT may give the code beside ours",
                stacklevel=2,
            )
        limit = np.float32(2**24)
        rounded: np.ndarray = round_away(np.clip(scaled, -limit, limit)).astype(np.int64)
        return rounded + quant_out.zero_point

    return fold_table(source, target, codes_of)


def fold_fixed_point(
    source: Tensor, target: Tensor, function: Callable[[np.ndarray], np.ndarray], *, fixed: QuantParams
) -> Fold:
    """Fold a function from Q4.27 to output codes, as TensorFlow Lite Micro computes it; beyond +-15 it saturates."""
    quant_in = quant_of(source, "input")
    require_quant(target, fixed)
    scale, shift = quantize_multiplier(quant_in.scale * 2.0**27)
    radius = int(15 * 2.0 ** (27 - shift))

    def codes_of(codes: np.ndarray) -> np.ndarray:
        values = codes - quant_in.zero_point
        inside = np.abs(values) < radius
        low, high = target.dtype.limits
        return np.where(
            inside,
            function(requant(np.where(inside, values, 0), scale, shift, Mode.DOUBLE)),
            np.where(values < 0, low, high),
        )

    return fold_table(source, target, codes_of)


def sample_unary(
    op: Op, rng: np.random.Generator, *, output: QuantParams | None = None, dtype: DType = DType.S8
) -> Case:
    """Draw a shape and scales for a unary operator."""
    shape = tuple(int(size) for size in rng.integers(1, 9, size=int(rng.integers(1, 5))))
    if dtype is DType.S16:
        # fine enough that interpolation costs less than a code of the output
        source = Tensor("x", shape, dtype, QuantParams.of(2.0 ** rng.uniform(-16, -13)))
        return Case(op, (source,), (Tensor("y", shape, dtype, output or QuantParams.of(2.0 ** rng.uniform(-12, -10))),))
    quant_in = QuantParams.of(2.0 ** rng.uniform(-8, 0), int(rng.integers(-128, 128)))
    drawn = QuantParams.of(2.0 ** rng.uniform(-8, 0), int(rng.integers(-128, 128)))
    return Case(op, (Tensor("x", shape, DType.S8, quant_in),), (Tensor("y", shape, DType.S8, output or drawn),))

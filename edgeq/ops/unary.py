# SPDX-License-Identifier: Apache-2.0
"""What unary functions share: their table from a real function, and random cases."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import round_away
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Case, Fold, Op
from edgeq.ops.folding import quant_of
from edgeq.ops.lut import fold_table


def fold_real_function(source: Tensor, target: Tensor, function: Callable[[np.ndarray], np.ndarray]) -> Fold:
    """Fold a real function into a table, evaluated in float32 as LiteRT's reference kernels do.

    Warns when a value lies so near a rounding tie that another host's libm could round it the other way.
    """
    quant_in, quant_out = quant_of(source, "input"), quant_of(target, "output")
    inverse = np.float32(1) / np.float32(quant_out.scale)

    def codes_of(codes: np.ndarray) -> np.ndarray:
        real = np.float32(quant_in.scale) * (codes - quant_in.zero_point).astype(np.float32)
        with np.errstate(over="ignore"):
            scaled = function(real).astype(np.float32) * inverse
            exact = function(real.astype(np.float64)) / np.float64(quant_out.scale)
        near_tie = np.abs(np.abs(exact - np.trunc(exact)) - 0.5) < 1e-5
        if np.any(near_tie & (exact != scaled) & (np.abs(exact) < 1e6)):
            warnings.warn(f"the table of {target.name!r} has a value within 1e-5 of a rounding tie", stacklevel=2)
        limit = np.float32(2**24)
        rounded: np.ndarray = np.clip(round_away(scaled), -limit, limit).astype(np.int64)
        return rounded + quant_out.zero_point

    return fold_table(source, target, codes_of)


def sample_unary(
    op: Op, rng: np.random.Generator, *, output: QuantParams | None = None, same_quant: bool = False
) -> Case:
    """Draw a shape and scales for a unary operator on int8."""
    shape = tuple(int(size) for size in rng.integers(1, 9, size=int(rng.integers(1, 5))))
    quant_in = QuantParams.of(2.0 ** rng.uniform(-8, 0), int(rng.integers(-128, 128)))
    drawn = QuantParams.of(2.0 ** rng.uniform(-8, 0), int(rng.integers(-128, 128)))
    quant_out = quant_in if same_quant else (output or drawn)
    return Case(op, (Tensor("x", shape, DType.S8, quant_in),), (Tensor("y", shape, DType.S8, quant_out),))

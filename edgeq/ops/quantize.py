# SPDX-License-Identifier: Apache-2.0
"""QUANTIZE: codes of one scale to codes of another; real values only at a model's boundary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import InvalidValueError, UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import requant
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Case, Fold, Op, Rounding, Shape, Step, View
from edgeq.ops.folding import multiplier, quant_of, require_dtype, required, shifts_alone
from edgeq.ops.lut import fold_table
from edgeq.ops.movement import sample_shape

MAX_SHIFTS = {1: 22, 2: 14}  # by bytes of a code: |code - zero point| < 2^8 or 2^16 stays below 2^30 when rescaled
MAX_TABLE_SHIFT = 30  # what a requantization can express at all


@dataclass(frozen=True)
class RequantStep(Step):
    """out[i] = clamp(requant(in[i] - in_zero) + out_zero) to the range of the output's elements."""

    name: ClassVar[str] = "requant"
    code: ClassVar[int] = 38

    count: int
    in_bytes: int  # 1: int8, 2: int16
    out_bytes: int  # 1: int8, 2: int16
    in_zero: int
    out_zero: int
    multiplier: int
    shift: int
    mode: int

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        centred = np.asarray(inputs[0]).astype(np.int64) - self.in_zero
        codes = requant(centred, self.multiplier, self.shift, self.mode) + self.out_zero
        dtype = DType.S8 if self.out_bytes == 1 else DType.S16
        return [np.clip(codes, *dtype.limits).astype(dtype.numpy)]


@dataclass(frozen=True)
class Quantize(Op):
    """Express the same real values in the output's scale and zero point."""

    name: ClassVar[str] = "quantize"

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        return [required(inputs, 0, "input").shape]

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        assert inputs[0] is not None
        return [inputs[0]]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold | View:
        source, target = required(inputs, 0, "input"), outputs[0]
        if source.dtype.is_float or target.dtype.is_float:
            raise UnsupportedError("quantize of real values has an integer form only at the model's boundary")
        old, new = quant_of(source, "input"), quant_of(target, "output")
        if source.dtype is target.dtype and (old.scale, old.zero_point) == (new.scale, new.zero_point):
            return View()
        mode = rounding.mode
        m, shift = multiplier(old.scale / new.scale, mode)
        by_table = source.dtype.bytes == target.dtype.bytes == 1
        limit = MAX_TABLE_SHIFT if by_table else MAX_SHIFTS[require_dtype(source, DType.S8, DType.S16).bytes]
        if shift > limit:
            raise InvalidValueError(
                f"scale {old.scale:.6g} is {old.scale / new.scale:.6g} times the output's {new.scale:.6g}; "
                f"less than {2**limit} times is supported"
            )
        if by_table:
            return fold_table(
                source, target, lambda codes: requant(codes - old.zero_point, m, shift, mode) + new.zero_point
            )
        in_bytes = require_dtype(source, DType.S8, DType.S16).bytes
        out_bytes = require_dtype(target, DType.S8, DType.S16).bytes
        step = RequantStep(source.elements, in_bytes, out_bytes, old.zero_point, new.zero_point, m, shift, mode)
        return Fold(shifts_alone(step))

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        shape = sample_shape(rng)
        tensors = []
        for name in ("x", "y"):
            dtype = DType.S8 if rng.random() < 0.6 else DType.S16
            zero_point = int(rng.integers(-128, 128)) if dtype is DType.S8 else 0
            tensors.append(Tensor(name, shape, dtype, QuantParams.of(2.0 ** rng.uniform(-6, 0), zero_point)))
        return Case(cls(), (tensors[0],), (tensors[1],))

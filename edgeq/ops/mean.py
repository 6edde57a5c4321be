# SPDX-License-Identifier: Apache-2.0
"""MEAN and SUM over any axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import InvalidValueError, UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import INT32_MAX
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Fold, Rounding
from edgeq.ops.elementwise import output_multiplier, require_equal_dtypes
from edgeq.ops.folding import multiplier, quant_of, required, shifts_alone
from edgeq.ops.reduce import Reduce, ReduceStep, Reduction, alternating_sizes

_PEAK = {DType.S8: 255, DType.S16: 32768}  # largest code less its zero point


@dataclass(frozen=True)
class Mean(Reduce):
    """The mean over ``axes``."""

    name: ClassVar[str] = "mean"

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        return [np.mean(np.asarray(inputs[0]), **self.options())]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        return _fold_sum(self, required(inputs, 0, "input"), outputs[0], rounding=rounding, mean=True)


@dataclass(frozen=True)
class Sum(Reduce):
    """The sum over ``axes``."""

    name: ClassVar[str] = "sum"

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        return [np.sum(np.asarray(inputs[0]), **self.options())]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        return _fold_sum(self, required(inputs, 0, "input"), outputs[0], rounding=rounding, mean=False)


def _fold_sum(op: Reduce, source: Tensor, target: Tensor, *, rounding: Rounding, mean: bool) -> Fold:
    dtype = require_equal_dtypes([source, target], DType.S8, DType.S16)
    quant_in, quant_out = quant_of(source, "input"), quant_of(target, "output")
    count = math.prod(source.shape[axis] for axis in set(op.axes))
    if count * _PEAK[dtype] > INT32_MAX:
        raise UnsupportedError(f"{op.name} of {count} elements: at most {INT32_MAX // _PEAK[dtype]} add up in int32")
    real = quant_in.scale / quant_out.scale
    if real * _PEAK[dtype] > INT32_MAX:
        raise InvalidValueError(
            f"output scale {quant_out.scale:.6g} is too fine for the input's scale {quant_in.scale:.6g}"
        )
    if mean:
        scale, shift = multiplier(real, rounding.mode)
        halvings = min(count.bit_length() - 1, 32, 31 + shift)
        scale, shift = (scale << halvings) // count, shift - halvings  # the quotient by count, as LiteRT takes it
    else:
        scale, shift = output_multiplier(real, rounding.mode, peak=count * _PEAK[dtype], dtype=dtype)
    step = ReduceStep(
        kind=int(Reduction.SUM), element_bytes=dtype.bytes, sizes=alternating_sizes(source.shape, op.axes),
        input_zero=quant_in.zero_point, zero=quant_out.zero_point, multiplier=scale, shift=shift,
        mode=int(rounding.mode),
    )  # fmt: skip
    return Fold(shifts_alone(step))

# SPDX-License-Identifier: Apache-2.0
"""Unary functions of an 8-bit tensor as one 256-entry table; the step that every such operator folds to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Fold, Step, constant
from edgeq.ops.folding import require_dtype

_LOOKUP_WORK = 16  # products of a matrix that take as long as a look-up; several times as many without vectors


@dataclass(frozen=True)
class LutStep(Step):
    """out[i] = table[in[i] as uint8]: bytes in, bytes out, whatever their signedness."""

    name: ClassVar[str] = "lut"
    code: ClassVar[int] = 1
    divides: ClassVar[bool] = True
    in_place: ClassVar[tuple[int, ...]] = (0,)

    count: int
    table: np.ndarray = constant(DType.U8)  # (256,), indexed by the code's bits

    def work(self) -> int:
        return _LOOKUP_WORK * self.count

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        codes = np.ascontiguousarray(inputs[0])
        return [self.table[codes.view(np.uint8)].reshape(codes.shape)]


def fold_table(source: Tensor, target: Tensor, function: Callable[[np.ndarray], np.ndarray]) -> Fold:
    """Fold ``function``, a map from int64 input codes to int64 output codes, over all 256 codes of ``source``.

    Results are clamped to the range of the target's dtype. Both tensors must be int8 or uint8.
    """
    low, high = require_dtype(source, DType.S8, DType.U8).limits
    codes = np.arange(low, high + 1, dtype=np.int64)
    require_dtype(target, DType.S8, DType.U8)
    results = np.clip(function(codes), *target.dtype.limits).astype(target.dtype.numpy)
    table = np.empty(256, np.uint8)
    table[codes & 0xFF] = results.view(np.uint8)
    return Fold(LutStep(count=source.elements, table=table))

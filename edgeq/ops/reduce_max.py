# SPDX-License-Identifier: Apache-2.0
"""REDUCE_MAX and REDUCE_MIN over any axes, on codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Fold, RangeRule, Rounding
from edgeq.ops.elementwise import require_equal_dtypes
from edgeq.ops.folding import require_same_quant, required
from edgeq.ops.reduce import Reduce, ReduceStep, Reduction, alternating_sizes


@dataclass(frozen=True)
class ReduceMax(Reduce):
    """The largest element over ``axes``."""

    name: ClassVar[str] = "reduce_max"
    range_rule: ClassVar[RangeRule] = RangeRule.SAME

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        return [np.max(np.asarray(inputs[0]), **self.options())]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        return _fold(self, required(inputs, 0, "input"), outputs[0], kind=Reduction.MAX)


@dataclass(frozen=True)
class ReduceMin(Reduce):
    """The smallest element over ``axes``."""

    name: ClassVar[str] = "reduce_min"
    range_rule: ClassVar[RangeRule] = RangeRule.SAME

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        return [np.min(np.asarray(inputs[0]), **self.options())]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        return _fold(self, required(inputs, 0, "input"), outputs[0], kind=Reduction.MIN)


def _fold(op: Reduce, source: Tensor, target: Tensor, *, kind: Reduction) -> Fold:
    dtype = require_equal_dtypes([source, target], DType.S8, DType.S16)
    require_same_quant([source, target])
    sizes = alternating_sizes(source.shape, op.axes)
    return Fold(ReduceStep(kind=int(kind), element_bytes=dtype.bytes, sizes=sizes))

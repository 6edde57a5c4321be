# SPDX-License-Identifier: Apache-2.0
"""DEQUANTIZE: codes to real values, which exist only at a model's boundary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Fold, Op, Rounding, Shape, View
from edgeq.ops.folding import required


@dataclass(frozen=True)
class Dequantize(Op):
    """Give codes as real values; ``edgeq.ir.boundary.dequantize`` is its arithmetic."""

    name: ClassVar[str] = "dequantize"

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        return [required(inputs, 0, "input").shape]

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        assert inputs[0] is not None
        return [inputs[0]]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold | View:
        raise UnsupportedError("dequantize has an integer form only at the model's boundary")

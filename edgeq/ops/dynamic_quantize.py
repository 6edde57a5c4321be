# SPDX-License-Identifier: Apache-2.0
"""Static codes to a dynamic tensor: int8 codes with a scale of each row's own, chosen while the model runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ir.run_time_scale import COLUMNS, Scale, scale_of_real
from edgeq.ops.base import Case, Fold, Op, Rounding, Shape, Step, ints
from edgeq.ops.dynamic_rows import DEVIATIONS, RowRange, quantize_row, reference_rows, require_rows, scale_shape
from edgeq.ops.folding import quant_of, require_dtype, required
from edgeq.ops.movement import sample_shape


@dataclass(frozen=True)
class DynamicQuantizeStep(Step):
    """Rows of codes to int8 codes with scales of their own; outputs are codes and a (m, e, zero point) for each row."""

    name: ClassVar[str] = "dynamic_quantize"
    code: ClassVar[int] = 60

    rows: int
    row: int  # elements of each
    element_bytes: int
    zero: int  # of the input's codes
    row_range: int  # 0: symmetric, 1: asymmetric, 2: mean and deviations
    deviations: int
    source: Scale = ints(2)  # the input's scale
    step: Scale = ints(2)  # 1 / (codes in the range), and / row for mean and deviations

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        values = np.asarray(inputs[0]).reshape(self.rows, self.row).astype(np.int64) - self.zero
        codes = np.empty((self.rows, self.row), np.int8)
        scales = np.empty((self.rows, COLUMNS), np.int32)
        for index, row in enumerate(values):
            codes[index], scales[index] = quantize_row(
                row,
                row_range=RowRange(self.row_range),
                deviations=self.deviations,
                source=self.source,
                kept=self.source,
                step=self.step,
            )
        return [codes, scales]

    def scratch_bytes(self) -> int:
        return 4 * self.row


@dataclass(frozen=True)
class DynamicQuantize(Op):
    """x to its codes, in ``rows`` rows of equal size, and their scales (rows, 3)."""

    name: ClassVar[str] = "dynamic_quantize"

    rows: int = 1
    row_range: RowRange = RowRange.ASYMMETRIC

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        x = required(inputs, 0, "input")
        require_rows(x.shape, self.rows)
        return [x.shape, scale_shape(self.rows)]

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        return reference_rows(np.asarray(inputs[0]), self.rows, self.row_range, DEVIATIONS)

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        self.infer_shape(inputs)
        x = required(inputs, 0, "input")
        row = x.elements // self.rows
        return Fold(
            DynamicQuantizeStep(
                rows=self.rows,
                row=row,
                element_bytes=require_dtype(x, DType.S8, DType.S16).bytes,
                zero=quant_of(x, "input").zero_point,
                row_range=int(self.row_range),
                deviations=DEVIATIONS,
                source=scale_of_real(quant_of(x, "input").scale),
                step=self.row_range.step_of(1.0, row),
            )
        )

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        shape = sample_shape(rng)
        dtype = DType.S8 if rng.random() < 0.5 else DType.S16
        zero = int(rng.integers(-128, 128)) if dtype is DType.S8 else 0
        x = Tensor("x", shape, dtype, QuantParams.of(2.0 ** rng.uniform(-20, 4), zero))
        rows = int(rng.choice([count for count in range(1, x.elements + 1) if x.elements % count == 0]))
        op = cls(rows, RowRange(int(rng.integers(len(RowRange)))))
        return Case(op, (x,), dynamic_outputs(shape, rows))


def dynamic_outputs(shape: Shape, rows: int, name: str = "y") -> tuple[Tensor, Tensor]:
    """Return the two tensors of a dynamic one."""
    return Tensor(f"{name}/codes", shape, DType.S8), Tensor(f"{name}/scales", scale_shape(rows), DType.S32)

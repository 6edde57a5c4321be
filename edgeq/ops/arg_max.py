# SPDX-License-Identifier: Apache-2.0
"""ARG_MAX: where the largest element along an axis is; the first of equals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Case, Fold, Op, Rounding, Shape, Step
from edgeq.ops.folding import require_dtype, required
from edgeq.ops.movement import axis_of, sample_shape, sample_tensor, volume


@dataclass(frozen=True)
class ArgMaxStep(Step):
    """out[o][i] = the first a with the largest in[o][a][i]."""

    name: ClassVar[str] = "arg_max"
    code: ClassVar[int] = 37

    outer: int
    axis_size: int
    inner: int
    in_bytes: int  # 1: int8, 2: int16
    out_bytes: int  # 4: int32, 8: int64

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        found = np.argmax(np.asarray(inputs[0]).reshape(self.outer, self.axis_size, self.inner), axis=1)
        return [found.astype(np.int32 if self.out_bytes == 4 else np.int64)]


@dataclass(frozen=True)
class ArgMax(Op):
    """Return the position of the first maximum along an axis, which is dropped."""

    name: ClassVar[str] = "arg_max"

    axis: int = -1
    dtype: DType = DType.S32

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = required(inputs, 0, "input").shape
        axis = axis_of(self.axis, len(shape))
        return [(*shape[:axis], *shape[axis + 1 :])]

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        assert inputs[0] is not None
        return [np.argmax(inputs[0], axis=self.axis).astype(self.dtype.numpy)]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        source = required(inputs, 0, "input")
        in_bytes = require_dtype(source, DType.S8, DType.S16).bytes
        out_bytes = require_dtype(outputs[0], DType.S32, DType.S64).bytes
        if outputs[0].dtype is not self.dtype:
            raise UnsupportedError(f"arg_max of {self.dtype.numpy} into a tensor of {outputs[0].dtype.numpy}")
        axis = axis_of(self.axis, len(source.shape))
        outer, inner = volume(source.shape[:axis]), volume(source.shape[axis + 1 :])
        return Fold(ArgMaxStep(outer, source.shape[axis], inner, in_bytes, out_bytes))

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        source = sample_tensor(rng, sample_shape(rng))
        rank = len(source.shape)
        op = cls(int(rng.integers(-rank, rank)), DType.S32 if rng.random() < 0.5 else DType.S64)
        return Case(op, (source,), (Tensor("y", op.infer_shape([source])[0], op.dtype),))

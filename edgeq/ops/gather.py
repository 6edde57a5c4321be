# SPDX-License-Identifier: Apache-2.0
"""GATHER: slices picked by an index tensor, constant or computed at run time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import GraphError, InvalidValueError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Case, Fold, Op, RangeRule, Rounding, Shape, Step
from edgeq.ops.folding import require_dtype, required
from edgeq.ops.movement import axis_of, case_of, element_bytes, sample_shape, sample_tensor, volume


@dataclass(frozen=True)
class GatherStep(Step):
    """out[b][o][j] = in[b][o][index[b][j]], blocks of bytes; an index out of range counts as the nearest legal one."""

    name: ClassVar[str] = "gather"
    code: ClassVar[int] = 35

    batch: int
    outer: int
    axis_size: int
    count: int  # indices per batch
    block_bytes: int
    index_bytes: int  # 4 or 8

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        source = np.ascontiguousarray(inputs[0]).reshape(-1)
        blocks = source.view(np.uint8).reshape(self.batch, self.outer, self.axis_size, self.block_bytes)
        indices = np.clip(np.asarray(inputs[1]).reshape(self.batch, 1, self.count, 1), 0, self.axis_size - 1)
        return [np.take_along_axis(blocks, indices.astype(np.int64), axis=2).reshape(-1).view(source.dtype)]


@dataclass(frozen=True)
class Gather(Op):
    """Pick slices along an axis; the first ``batch_dims`` axes of both inputs go together.

    An index out of range is an error when constant; computed at run time, it counts as the nearest legal one.
    """

    name: ClassVar[str] = "gather"
    range_rule: ClassVar[RangeRule] = RangeRule.SAME

    axis: int = 0
    batch_dims: int = 0

    def _places(self, x: Shape, indices: Shape) -> tuple[int, int]:
        """Return (axis, number of batch axes), both counted from the front."""
        axis = axis_of(self.axis, len(x))
        batch = self.batch_dims + (len(indices) if self.batch_dims < 0 else 0)
        if not 0 <= batch <= min(axis, len(indices)) or x[:batch] != indices[:batch]:
            raise GraphError(
                f"gather of {list(x)} by {list(indices)} with {self.batch_dims} batch axes, axis {self.axis}"
            )
        return axis, batch

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        x, indices = required(inputs, 0, "input").shape, required(inputs, 1, "indices").shape
        axis, batch = self._places(x, indices)
        return [(*x[:axis], *indices[batch:], *x[axis + 1 :])]

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        x, indices = np.asarray(inputs[0]), np.asarray(inputs[1])
        axis, batch = self._places(x.shape, indices.shape)
        n = volume(x.shape[:batch])
        split = x.reshape(n, volume(x.shape[batch:axis]), x.shape[axis], volume(x.shape[axis + 1 :]))
        legal = np.clip(indices, 0, x.shape[axis] - 1).astype(np.int64).reshape(n, -1)
        picked = np.stack([part[:, row] for part, row in zip(split, legal, strict=True)])
        return [picked.reshape((*x.shape[:axis], *indices.shape[batch:], *x.shape[axis + 1 :]))]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        source, indices = required(inputs, 0, "input"), required(inputs, 1, "indices")
        size = element_bytes([source, outputs[0]])
        index_bytes = require_dtype(indices, DType.S32, DType.S64).bytes
        axis, batch = self._places(source.shape, indices.shape)
        if indices.data is not None:
            wrong = np.flatnonzero((indices.data < 0) | (indices.data >= source.shape[axis]))
            if wrong.size:
                raise InvalidValueError(
                    f"index {int(indices.data.reshape(-1)[wrong[0]])} at position {int(wrong[0])} of {indices.name!r} "
                    f"lies outside an axis of {source.shape[axis]} elements"
                )
        step = GatherStep(
            batch=volume(source.shape[:batch]),
            outer=volume(source.shape[batch:axis]),
            axis_size=source.shape[axis],
            count=volume(indices.shape[batch:]),
            block_bytes=volume(source.shape[axis + 1 :]) * size,
            index_bytes=index_bytes,
        )
        return Fold(step, (0, 1))

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        source = sample_tensor(rng, sample_shape(rng, 1, 4))
        rank = len(source.shape)
        axis = int(rng.integers(0, rank))
        batch = int(rng.integers(0, axis + 1))
        extra = tuple(int(size) for size in rng.integers(1, 6, size=int(rng.integers(0, 3))))
        shape = (*source.shape[:batch], *extra)
        dtype = DType.S64 if rng.random() < 0.2 else DType.S32
        data = None
        if rng.random() < 0.5:
            data = rng.integers(0, source.shape[axis], size=shape, dtype=dtype.numpy)
        op = cls(axis if rng.random() < 0.7 else axis - rank, batch)
        return case_of(op, [source, Tensor("indices", shape, dtype, data=data)])

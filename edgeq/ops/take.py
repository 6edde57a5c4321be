# SPDX-License-Identifier: Apache-2.0
"""The step behind mirrored padding and nearest-neighbour resizing: one table of source positions per axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Fold, Step, View, constant, ints
from edgeq.ops.copy import dense_strides
from edgeq.ops.movement import MAX_RANK, element_bytes


@dataclass(frozen=True)
class TakeStep(Step):
    """out[i0]..[i5] = the block of in at byte t0[i0] + .. + t5[i5]; ``offsets`` is the six tables in a row."""

    name: ClassVar[str] = "take"
    code: ClassVar[int] = 34

    block_bytes: int
    sizes: tuple[int, ...] = ints(MAX_RANK)
    offsets: np.ndarray = constant(DType.S32)  # (sum of sizes,)

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        source = np.ascontiguousarray(inputs[0]).reshape(-1)
        tables = np.split(self.offsets.astype(np.int64), np.cumsum(self.sizes)[:-1])
        starts = sum(np.ix_(*tables))
        picked = source.view(np.uint8)[np.asarray(starts)[..., np.newaxis] + np.arange(self.block_bytes)]
        return [picked.reshape(-1).view(source.dtype)]


def fold_take(source: Tensor, target: Tensor, positions: Sequence[np.ndarray]) -> Fold | View:
    """Fold out[i, j, ..] = in[positions[0][i], positions[1][j], ..] with one array of positions per axis of the source.

    Trailing axes that are taken whole become part of the block; taking everything in order is a View. Raises
    UnsupportedError when more than six axes remain.
    """
    block = element_bytes([source, target])
    strides = [stride * block for stride in dense_strides(source.shape)]
    axes = [axis for axis, taken in enumerate(positions) if not _is_whole(taken, source.shape[axis])]
    kept = axes[-1] + 1 if axes else 0
    if kept == 0:
        return View()
    block = strides[kept - 1]
    tables = [positions[axis] * strides[axis] for axis in range(kept) if source.shape[axis] > 1 or axis in axes]
    if len(tables) > MAX_RANK:
        raise UnsupportedError(f"positions along {len(tables)} axes; {MAX_RANK} are supported")
    tables = [np.zeros(1, np.int64)] * (MAX_RANK - len(tables)) + tables
    sizes = tuple(len(table) for table in tables)
    return Fold(TakeStep(block_bytes=block, sizes=sizes, offsets=np.concatenate(tables).astype(np.int32)))


def _is_whole(positions: np.ndarray, size: int) -> bool:
    return np.array_equal(positions, np.arange(size))

# SPDX-License-Identifier: Apache-2.0
"""The step behind transpositions, slices and block shuffles: a strided source copied to a dense result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Fold, Step, View, ints
from edgeq.ops.movement import MAX_RANK, element_bytes
from edgeq.ops.order import ANYWHERE


@dataclass(frozen=True)
class CopyStep(Step):
    """out[i0]..[i5] = the block of in that begins at byte start + i0 * strides[0] + .. + i5 * strides[5]."""

    name: ClassVar[str] = "copy"
    code: ClassVar[int] = 30
    shares: ClassVar[bool] = True

    block_bytes: int
    start: int
    sizes: tuple[int, ...] = ints(MAX_RANK)
    strides: tuple[int, ...] = ints(MAX_RANK)  # bytes; may be negative

    @property
    def is_one_block(self) -> bool:
        return all(size == 1 for size in self.sizes)

    def overlap_distance(self) -> int | None:
        return ANYWHERE if self.is_one_block else None

    def pieces(self) -> list[tuple[int, int, int]]:
        return [(0, 0, self.start)] if self.is_one_block else []

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        source = np.ascontiguousarray(inputs[0]).reshape(-1)
        steps = np.asarray(self.strides).reshape(-1, *[1] * MAX_RANK)
        offsets = self.start + (np.indices(self.sizes) * steps).sum(axis=0)
        picked = source.view(np.uint8)[offsets[..., np.newaxis] + np.arange(self.block_bytes)]
        return [picked.reshape(-1).view(source.dtype)]


def fold_strided(source: Tensor, target: Tensor, *, start: int, dims: Sequence[tuple[int, int]]) -> Fold | View:
    """Fold a strided copy; ``dims`` are (size, source stride) of the result, outermost first.

    Strides and ``start`` are in elements. Dimensions that the source walks through in one stride are joined, and what
    lies contiguous becomes one block. A copy of everything in order is a View. Raises UnsupportedError when more than
    six dimensions remain.
    """
    block = element_bytes([source, target])
    start *= block
    joined: list[tuple[int, int]] = []
    for size, elements in dims:
        stride = elements * source.dtype.bytes
        if size == 1:
            continue
        if joined and joined[-1][1] == size * stride:
            joined[-1] = (joined[-1][0] * size, stride)
        else:
            joined.append((size, stride))
    if joined and joined[-1][1] == block:
        block *= joined.pop()[0]
    if not joined and start == 0 and block == source.bytes:
        return View()
    if len(joined) > MAX_RANK:
        raise UnsupportedError(f"a copy along {len(joined)} separate dimensions; {MAX_RANK} are supported")
    padded = [(1, 0)] * (MAX_RANK - len(joined)) + joined
    sizes, strides = zip(*padded, strict=True)
    return Fold(CopyStep(block_bytes=block, start=start, sizes=sizes, strides=strides))


def dense_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides of a row-major array, in elements."""
    strides = [1]
    for size in reversed(shape[1:]):
        strides.append(strides[-1] * size)
    return tuple(reversed(strides[: len(shape)]))

# SPDX-License-Identifier: Apache-2.0
"""RESIZE_NEAREST_NEIGHBOR: an image of another size made of the nearest pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import GraphError
from edgeq.ir.fixed_point import round_away
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Case, Fold, Op, RangeRule, Rounding, Shape, View
from edgeq.ops.folding import required
from edgeq.ops.movement import case_of, sample_tensor
from edgeq.ops.take import fold_take


@dataclass(frozen=True)
class ResizeNearest(Op):
    """(N, H, W, C) -> (N, *size, C)."""

    name: ClassVar[str] = "resize_nearest"
    range_rule: ClassVar[RangeRule] = RangeRule.SAME

    size: tuple[int, int] = (1, 1)
    align_corners: bool = False
    half_pixel: bool = False

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        return [resized_shape(required(inputs, 0, "input").shape, self.size)]

    def _nearest(self, size: int, resized: int) -> np.ndarray:
        """Return the source position of each of ``resized`` positions, as LiteRT computes it in float32."""
        aligned = self.align_corners and resized > 1
        scale = np.float32(size - 1) / np.float32(resized - 1) if aligned else np.float32(size) / np.float32(resized)
        offset = np.float32(0.5 if self.half_pixel else 0)
        scaled = (np.arange(resized, dtype=np.float32) + offset) * scale
        nearest = round_away(scaled.astype(np.float64)) if self.align_corners else np.floor(scaled)
        return np.clip(nearest.astype(np.int64), 0, size - 1)

    def _positions(self, shape: Shape) -> list[np.ndarray]:
        n, height, width, channels = shape
        rows, columns = self._nearest(height, self.size[0]), self._nearest(width, self.size[1])
        return [np.arange(n), rows, columns, np.arange(channels)]

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        assert inputs[0] is not None
        return [inputs[0][np.ix_(*self._positions(inputs[0].shape))]]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold | View:
        source = required(inputs, 0, "input")
        return fold_take(source, outputs[0], self._positions(source.shape))

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        shape = tuple(int(size) for size in rng.integers(1, 9, size=4))
        height, width = (int(size) for size in rng.integers(1, 17, size=2))
        align, half = ((False, False), (True, False), (False, True))[int(rng.integers(0, 3))]
        return case_of(cls((height, width), align, half), [sample_tensor(rng, shape)])


def resized_shape(shape: Shape, size: tuple[int, int]) -> Shape:
    """Return the shape of a resized image; raises GraphError when the input is not one or the size is not positive."""
    if len(shape) != 4 or min(size) < 1:
        raise GraphError(f"shape {list(shape)} cannot be resized to {list(size)}; (N, H, W, C) is expected")
    return (shape[0], *size, shape[3])

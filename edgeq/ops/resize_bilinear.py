# SPDX-License-Identifier: Apache-2.0
"""RESIZE_BILINEAR: an image of another size, blended from the four pixels around each position."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Case, Fold, Op, RangeRule, Rounding, Shape, Step, View, constant
from edgeq.ops.folding import require_dtype, required
from edgeq.ops.movement import case_of, element_bytes, sample_tensor
from edgeq.ops.resize_nearest import resized_shape

ONE = 1024  # positions and weights have ten fraction bits


@dataclass(frozen=True)
class ResizeBilinearStep(Step):
    """out = the sum of four int8 taps by weights in 2^-20, rounded to nearest, ties away from zero."""

    name: ClassVar[str] = "resize_bilinear"
    code: ClassVar[int] = 36

    batch: int
    height: int
    width: int
    channels: int
    out_height: int
    out_width: int
    rows: np.ndarray = constant(DType.S32)  # (out_height, 3): lower row, upper row, weight of the upper one in 1/1024
    columns: np.ndarray = constant(DType.S32)  # (out_width, 3)

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        x = np.asarray(inputs[0]).astype(np.int64).reshape(self.batch, self.height, self.width, self.channels)
        low, high, weight = self.rows.astype(np.int64).reshape(-1, 3).T
        weight = weight[:, np.newaxis, np.newaxis]
        x = x[:, low] * (ONE - weight) + x[:, high] * weight
        low, high, weight = self.columns.astype(np.int64).reshape(-1, 3).T
        weight = weight[:, np.newaxis]
        x = x[:, :, low] * (ONE - weight) + x[:, :, high] * weight
        rounded = np.sign(x) * ((np.abs(x) + ONE * ONE // 2) // (ONE * ONE))
        return [rounded.astype(np.int8)]


def positions_of(size: int, resized: int, *, align_corners: bool, half_pixel: bool) -> np.ndarray:
    """Return where each of ``resized`` positions lies in the source, in 1/1024, as LiteRT computes it."""
    if align_corners and resized > 1:
        scale = (ONE * (size - 1) + (resized - 1) // 2) // (resized - 1)
    else:
        scale = (ONE * size + resized // 2) // resized
    positions = np.arange(resized, dtype=np.int64) * scale
    if half_pixel:
        positions += scale // 2 - ONE // 2
    return positions


def taps(positions: np.ndarray, size: int) -> np.ndarray:
    """Return (len(positions), 3) int32: the two pixels around each position and the weight of the upper in 1/1024.

    Where both are one pixel, at and past the edges, the result is that pixel and the weight is 0. So every weight lies
    in [0, 1023].
    """
    # np.fix of a quotient by a power of two truncates as C does, exactly
    low = np.clip(np.fix(positions / ONE), 0, size - 1).astype(np.int64)
    high = np.clip(np.fix((positions + ONE - 1) / ONE), 0, size - 1).astype(np.int64)
    weight = np.where(low == high, 0, positions - ONE * low)
    return np.stack([low, high, weight], axis=1).astype(np.int32)


@dataclass(frozen=True)
class ResizeBilinear(Op):
    """(N, H, W, C) -> (N, *size, C)."""

    name: ClassVar[str] = "resize_bilinear"
    range_rule: ClassVar[RangeRule] = RangeRule.SAME

    size: tuple[int, int] = (1, 1)
    align_corners: bool = False
    half_pixel: bool = False

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        return [resized_shape(required(inputs, 0, "input").shape, self.size)]

    def _blend(self, x: np.ndarray, axis: int) -> np.ndarray:
        """Resize one axis of real values."""
        size, resized = x.shape[axis], self.size[axis - 1]
        aligned = self.align_corners and resized > 1
        scale = (size - 1) / (resized - 1) if aligned else size / resized
        offset = 0.5 if self.half_pixel else 0.0
        positions = np.clip((np.arange(resized) + offset) * scale - offset, 0, size - 1)
        low = np.floor(positions).astype(np.int64)
        weight = (positions - low).astype(x.dtype).reshape(-1, *[1] * (x.ndim - 1 - axis))
        high = np.minimum(low + 1, size - 1)
        return np.asarray(np.take(x, low, axis) * (1 - weight) + np.take(x, high, axis) * weight)

    def _taps(self, size: int, resized: int) -> np.ndarray:
        positions = positions_of(size, resized, align_corners=self.align_corners, half_pixel=self.half_pixel)
        if positions[-1] >= ONE * size:
            warnings.warn(
                f"resizing {size} pixels to {resized}: LiteRT reads past the last one, edgeq repeats it",
                stacklevel=2,
            )
        return taps(positions, size)

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        assert inputs[0] is not None
        return [self._blend(self._blend(inputs[0], 1), 2)]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold | View:
        source = required(inputs, 0, "input")
        require_dtype(source, DType.S8)
        element_bytes([source, outputs[0]])
        n, height, width, channels = source.shape
        rows, columns = (
            self._taps(length, resized) for length, resized in zip((height, width), self.size, strict=True)
        )
        if (height, width) == self.size and not rows[:, 2].any() and not columns[:, 2].any():
            return View()
        out_height, out_width = self.size
        return Fold(ResizeBilinearStep(n, height, width, channels, out_height, out_width, rows, columns))

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        shape = tuple(int(size) for size in rng.integers(1, 9, size=4))
        height, width = (int(size) for size in rng.integers(1, 17, size=2))
        align, half = ((False, False), (True, False), (False, True))[int(rng.integers(0, 3))]
        return case_of(cls((height, width), align, half), [sample_tensor(rng, shape, dtype=DType.S8)])

# SPDX-License-Identifier: Apache-2.0
"""AVERAGE_POOL_2D and MAX_POOL_2D: windows over an image (N, H, W, C), clipped where they leave it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import GraphError, UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Activation, Case, Fold, Op, RangeRule, Rounding, Shape, Step, ints
from edgeq.ops.convolution import Padding, Window, pair_of, random_window, slide
from edgeq.ops.elementwise import require_equal_dtypes
from edgeq.ops.folding import activation_bounds, quant_of, require_same_quant, required
from edgeq.ops.linear import Pair, shape_of_rank
from edgeq.ops.order import image_distance

MAX_TAPS = 65535  # of a window: sums of int16 codes then fit int32


@dataclass(frozen=True)
class PoolStep(Step):
    """out = clamp(mean, rounded to nearest, or maximum of the codes in each window's part of the image)."""

    name: ClassVar[str] = "pool"
    code: ClassVar[int] = 15
    shares: ClassVar[bool] = True

    average: int  # 0 for the maximum, 1 for the mean with ties away from zero, 2 for the mean with ties up
    element_bytes: int
    batch: int
    channels: int
    act_min: int
    act_max: int
    size: tuple[int, ...] = ints(2)  # pairs are (vertical, horizontal)
    output: tuple[int, ...] = ints(2)
    kernel: tuple[int, ...] = ints(2)
    stride: tuple[int, ...] = ints(2)
    before: tuple[int, ...] = ints(2)  # padding at the top and at the left

    def overlap_distance(self) -> int | None:
        pixel_bytes = self.channels * self.element_bytes
        shapes = [(self.batch, *size, pixel_bytes) for size in (self.size, self.output)]
        return image_distance(shapes[0], shapes[1], stride=self.stride[0], before=self.before[0])

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        codes = np.asarray(inputs[0])
        image = codes.astype(np.int64).reshape(self.batch, *self.size, self.channels)

        def reduce(part: np.ndarray) -> np.ndarray:
            if not self.average:
                return np.asarray(part.max(axis=(1, 2)))
            count = part.shape[1] * part.shape[2]
            sums = part.sum(axis=(1, 2))
            if self.average == 2:
                return np.asarray((sums + count // 2) // count)
            return np.asarray(np.sign(sums) * ((np.abs(sums) + count // 2) // count))

        window = Window(pair_of(self.kernel), pair_of(self.stride), (1, 1), pair_of(self.before), pair_of(self.output))
        return [np.clip(_over_windows(image, window, reduce), self.act_min, self.act_max).astype(codes.dtype)]


@dataclass(frozen=True)
class _Pool(Op):
    """What both kinds share."""

    range_rule: ClassVar[RangeRule] = RangeRule.SAME
    average: ClassVar[bool]

    kernel: Pair = (2, 2)
    stride: Pair = (2, 2)
    padding: Padding = "valid"
    activation: Activation = Activation.NONE

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        source = required(inputs, 0, "input")
        shape = shape_of_rank(source, 4, "input")
        return [(shape[0], *self._window(source).output, shape[3])]

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        image = np.asarray(inputs[0])
        window = slide(pair_of(image.shape[1:3]), self.kernel, stride=self.stride, padding=self.padding)
        reduce = np.mean if self.average else np.max
        return [self.activation.apply(_over_windows(image, window, lambda part: reduce(part, axis=(1, 2))))]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        source, target = required(inputs, 0, "input"), outputs[0]
        dtype = require_equal_dtypes([source, target], DType.S8, DType.S16)
        require_same_quant([source, target])
        window = self._window(source)
        bounds = activation_bounds(self.activation, quant_of(target), dtype)
        batch, height, width, channels = source.shape
        step = PoolStep(
            average=self._average_code(), element_bytes=dtype.bytes, batch=batch, channels=channels,
            size=(height, width), output=window.output, kernel=window.kernel, stride=window.stride,
            before=window.before, act_min=bounds[0], act_max=bounds[1],
        )  # fmt: skip
        return Fold(step)

    def _average_code(self) -> int:
        """Return the step's field ``average``."""
        return 0

    def _window(self, source: Tensor) -> Window:
        """Place the window; raises GraphError when one of its positions would lie outside the image."""
        if len(source.shape) != 4:
            raise GraphError(f"an image (N, H, W, C) expected, shape {list(source.shape)} found")
        size = pair_of(source.shape[1:3])
        window = slide(size, self.kernel, stride=self.stride, padding=self.padding)
        for axis in range(2):
            last = (window.output[axis] - 1) * window.stride[axis] - window.before[axis]
            if window.before[axis] >= window.kernel[axis] or last >= size[axis]:
                raise GraphError(f"padding {self.padding} leaves a window of {self.kernel} outside the image {size}")
        if window.kernel[0] * window.kernel[1] > MAX_TAPS:
            raise UnsupportedError(f"a window of {window.kernel} has more than {MAX_TAPS} taps")
        return window

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        while True:
            size, kernel, stride, _, padding = random_window(rng, dilated=False)
            op = cls(kernel, stride, padding, list(Activation)[rng.integers(4)])
            dtype = DType.S8 if rng.random() < 0.7 else DType.S16
            zero_point = int(rng.integers(-128, 128)) if dtype is DType.S8 else 0
            quant = QuantParams.of(2.0 ** rng.uniform(-8, 0), zero_point)
            shape = (int(rng.integers(1, 4)), *size, int(rng.choice([1, 2, 3, 8, 17, 40])))
            source = Tensor("x", shape, dtype, quant)
            try:
                return Case(op, (source,), (Tensor("y", op.infer_shape([source])[0], dtype, quant),))
            except GraphError:
                continue


@dataclass(frozen=True)
class AveragePool2d(_Pool):
    """The mean of each window's part of the image.

    Ties round away from zero; with ``ties_up`` they round up, as LiteRT's kernel for unsigned codes does.
    """

    name: ClassVar[str] = "average_pool_2d"
    average: ClassVar[bool] = True

    ties_up: bool = False

    def _average_code(self) -> int:
        return 2 if self.ties_up else 1

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        case = super().sample(rng)
        assert isinstance(case.op, cls)
        return dataclasses.replace(case, op=dataclasses.replace(case.op, ties_up=bool(rng.random() < 0.3)))


@dataclass(frozen=True)
class MaxPool2d(_Pool):
    """The maximum of each window's part of the image."""

    name: ClassVar[str] = "max_pool_2d"
    average: ClassVar[bool] = False


def _over_windows(image: np.ndarray, window: Window, reduce: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Reduce each clipped window (N, h, w, C) of an image (N, H, W, C) to (N, C); returns (N, OH, OW, C)."""
    parts = np.empty((image.shape[0], *window.output, image.shape[3]), image.dtype)
    for y, x in np.ndindex(*window.output):
        top, left = y * window.stride[0] - window.before[0], x * window.stride[1] - window.before[1]
        rows = slice(max(top, 0), top + window.kernel[0])
        columns = slice(max(left, 0), left + window.kernel[1])
        parts[:, y, x] = reduce(image[:, rows, columns])
    return parts

# SPDX-License-Identifier: Apache-2.0
"""TRANSPOSE_CONV: as many ordinary convolutions as the stride has phases, their outputs interleaved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import GraphError, UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import requant
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Activation, Case, Fold, Op, Rounding, Shape, Step, constant, ints
from edgeq.ops.convolution import Padding, Window, convolve, pair_of
from edgeq.ops.folding import activation_bounds, quant_of, require_dtype, required, same_padding, shifts_alone
from edgeq.ops.linear import (
    PATCHES,
    Pair,
    convolution_multipliers,
    fold_channels,
    random_activation,
    random_layer,
    read_layer,
    shape_of_rank,
)


@dataclass(frozen=True)
class Phase:
    """The output pixels (y * stride_y + start_y, x * stride_x + start_x) and the kernel taps that reach them."""

    start: Pair
    taps: tuple[range, range]  # descending, so that the input pixels they meet ascend
    window: Window  # over the input, with stride 1; padding before may be negative

    def weights(self, kernel: np.ndarray) -> np.ndarray:
        """Return the phase's part (O, taps_y, taps_x, I) of weights (O, KH, KW, I)."""
        return kernel[:, list(self.taps[0])][:, :, list(self.taps[1])]


def phases_of(kernel: Pair, stride: Pair, before: Pair, output: Pair) -> Iterator[Phase]:
    """Split a transposed convolution: output o meets input i through tap k when o = i * stride + k - before."""
    for start in np.ndindex(*stride):
        taps, counts, firsts = [], [], []
        for axis in range(2):
            offset = start[axis] + before[axis]
            mine = range(offset % stride[axis], kernel[axis], stride[axis])
            taps.append(mine[::-1])
            counts.append(max(0, -(-(output[axis] - start[axis]) // stride[axis])))
            firsts.append(len(mine) - 1 - offset // stride[axis])
        sizes = (len(taps[0]), len(taps[1]))
        window = Window(sizes, (1, 1), (1, 1), (firsts[0], firsts[1]), (counts[0], counts[1]))
        yield Phase((start[0], start[1]), (taps[0], taps[1]), window)


@dataclass(frozen=True)
class TransposeConvStep(Step):
    """Transposed convolution of int8 pixels; shapes are NHWC, pairs are (vertical, horizontal)."""

    name: ClassVar[str] = "transpose_conv"
    code: ClassVar[int] = 4

    input_zero: int
    weights_zero: int
    output_zero: int
    act_min: int
    act_max: int
    mode: int
    input: Shape = ints(4)
    output: Shape = ints(4)
    kernel: Pair = ints(2)
    stride: Pair = ints(2)
    padding: Pair = ints(2)  # output pixels cut off at the top and at the left
    weights: np.ndarray = constant(DType.S8)  # phase after phase: (O, taps_y, taps_x, I), taps descending
    bias: np.ndarray = constant(DType.S32)  # (phases, O), the input's zero point folded in
    multipliers: np.ndarray = constant(DType.S32)  # (O,)
    shifts: np.ndarray = constant(DType.S8)  # (O,)

    def _phases(self) -> Iterator[Phase]:
        return phases_of(self.kernel, self.stride, self.padding, pair_of(self.output[1:3]))

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        image = inputs[0].reshape(self.input).astype(np.float64)
        flat, count = self.weights.reshape(-1), self.output[3]
        y = np.zeros(self.output, np.int8)
        position = 0
        for phase, bias in zip(self._phases(), self.bias.reshape(-1, count), strict=True):
            shape = (count, *phase.window.kernel, self.input[3])
            size = int(np.prod(shape))
            weights = flat[position : position + size].reshape(shape).astype(np.float64) - self.weights_zero
            position += size
            sums = convolve(image, weights, phase.window, fill=self.input_zero).astype(np.int64) + bias
            scaled = requant(sums, self.multipliers, self.shifts, self.mode) + self.output_zero
            rows, columns = (slice(first, None, step) for first, step in zip(phase.start, self.stride, strict=True))
            y[:, rows, columns] = np.clip(scaled, self.act_min, self.act_max)
        return [y]

    def scratch_bytes(self) -> int:
        taps = [-(-self.kernel[axis] // self.stride[axis]) for axis in range(2)]
        return PATCHES * taps[0] * taps[1] * self.input[3]

    def macs(self) -> int:
        products = sum(int(np.prod([*phase.window.kernel, *phase.window.output])) for phase in self._phases())
        return self.output[0] * self.output[3] * self.input[3] * products


@dataclass(frozen=True)
class TransposeConv(Op):
    """Transposed convolution of x (N, H, W, I) with w (O, KH, KW, I), an optional bias (O,) and a given output shape.

    Padding is that of the convolution whose gradient this is: from the output's size, as LiteRT has it.
    """

    name: ClassVar[str] = "transpose_conv"
    weight_input: ClassVar[int | None] = 1
    bias_input: ClassVar[int | None] = 2

    stride: Pair = (1, 1)
    padding: Padding = "valid"
    activation: Activation = Activation.NONE
    output_shape: Shape = ()
    single_product: bool = False  # see convolution_multipliers

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        x = shape_of_rank(required(inputs, 0, "input"), 4, "input")
        w = shape_of_rank(required(inputs, 1, "weights"), 4, "weights")
        shape = self.output_shape
        if len(shape) != 4 or min(shape) < 1 or min(self.stride) < 1:
            raise GraphError(f"output shape {list(shape)} and stride {self.stride} must have positive sizes")
        if shape[0] != x[0] or shape[3] != w[0] or x[3] != w[3]:
            raise GraphError(f"input {list(x)}, weights {list(w)} and output {list(shape)} do not go together")
        return [shape]

    def _phases(self, kernel: Pair) -> Iterator[Phase]:
        return phases_of(kernel, self.stride, self._before(kernel), pair_of(self.output_shape[1:3]))

    def _before(self, kernel: Pair) -> Pair:
        if self.padding == "valid":
            return 0, 0
        if self.padding == "same":
            sizes = self.output_shape[1:3]
            rows, columns = (same_padding(sizes[i], kernel[i], self.stride[i], 1)[1] for i in range(2))
            return rows, columns
        if isinstance(self.padding, tuple) and len(self.padding) == 4 and min(self.padding) >= 0:
            return self.padding[0], self.padding[2]
        raise GraphError(f'padding {self.padding!r} is neither "same", "valid" nor (top, bottom, left, right)')

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        x, w = np.asarray(inputs[0]), np.asarray(inputs[1])
        y = np.zeros(self.output_shape, x.dtype)
        for phase in self._phases(pair_of(w.shape[1:3])):
            part = convolve(x, phase.weights(w).astype(x.dtype), phase.window)
            y[:, phase.start[0] :: self.stride[0], phase.start[1] :: self.stride[1]] = part
        if len(inputs) > 2 and inputs[2] is not None:
            y = y + inputs[2].astype(x.dtype)
        return [self.activation.apply(y)]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        (shape,) = self.infer_shape(inputs)
        x, y = required(inputs, 0, "input"), outputs[0]
        require_dtype(x, DType.S8)
        require_dtype(y, DType.S8)
        layer = read_layer(inputs, channels=shape[3], axis=0)
        if layer.coding is not None:
            raise UnsupportedError(
                "low-bit weights have no transposed convolution", hint="give this layer int8 weights"
            )
        kernel = pair_of(layer.weights.shape[1:3])
        reals = convolution_multipliers(x, layer, y, single=self.single_product)
        act_min, act_max = activation_bounds(self.activation, quant_of(y), y.dtype)
        zero = quant_of(x).zero_point
        parts = [
            fold_channels(layer.arranged(phase.weights(layer.weights)), reals, input_zero=zero, mode=rounding.mode)
            for phase in self._phases(kernel)
        ]
        return Fold(
            shifts_alone(
                TransposeConvStep(
                    input=x.shape,
                    output=shape,
                    kernel=kernel,
                    stride=self.stride,
                    padding=self._before(kernel),
                    input_zero=zero,
                    weights_zero=layer.weights_zero,
                    output_zero=quant_of(y).zero_point,
                    act_min=act_min,
                    act_max=act_max,
                    mode=int(rounding.mode),
                    weights=np.concatenate([part.weights.reshape(-1) for part in parts]),
                    bias=np.stack([part.bias for part in parts]),
                    multipliers=parts[0].multipliers,
                    shifts=parts[0].shifts,
                )
            )
        )

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        sizes = [int(size) for size in rng.integers(1, 6, size=8)]
        stride, kernel = (int(rng.integers(1, 4)), int(rng.integers(1, 4))), (sizes[0], sizes[1])
        full = [(sizes[2 + i] - 1) * stride[i] + kernel[i] for i in range(2)]
        padding: Padding = ("same", "valid", (1, 0, 0, 2))[rng.integers(3)]
        rows, columns = (max(1, size - int(rng.integers(0, 3))) for size in full)
        op = cls(stride, padding, random_activation(rng), (sizes[4], rows, columns, 3 * sizes[5]))
        return random_layer(
            op, rng, x=(sizes[4], sizes[2], sizes[3], 4 * sizes[6]), w=(3 * sizes[5], *kernel, 4 * sizes[6])
        )

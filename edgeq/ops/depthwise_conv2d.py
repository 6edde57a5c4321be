# SPDX-License-Identifier: Apache-2.0
"""DEPTHWISE_CONV_2D: every input channel convolved on its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import GraphError
from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import requant
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Activation, Case, Fold, Op, Rounding, Shape, Step, constant, ints
from edgeq.ops.conv2d import Conv2dStep, convolution_mode, fold_convolution
from edgeq.ops.convolution import Padding, Window, convolve, pair_of, random_window, slide
from edgeq.ops.folding import required
from edgeq.ops.linear import Pair, convolution_multipliers, random_activation, random_layer, read_layer, shape_of_rank
from edgeq.ops.order import image_distance
from edgeq.ops.packing import PORTABLE, depthwise_chains

BAND_LINES = 4  # the least lines of output that are made from one band of the image
BAND_PIXELS = 2048  # of an image, at most: copying costs as much as its pixels, blocks at its border only set-up
BAND_CHANNELS = 16  # set-up is the same for this many channels as for fewer
BAND_BYTES = 16384  # of a band, half a small first-level cache
SLACK = 16  # bytes behind a band that may be written


@dataclass(frozen=True)
class DepthwiseConv2dStep(Step):
    """Convolution of each int8 channel with its own window; shapes are NHWC, pairs are (vertical, horizontal)."""

    name: ClassVar[str] = "depthwise_conv2d"
    code: ClassVar[int] = 3
    divides: ClassVar[bool] = True
    mac_cost: ClassVar[int] = 4
    shares: ClassVar[bool] = True

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
    dilation: Pair = ints(2)
    padding: Pair = ints(2)  # at the top and at the left
    weights: np.ndarray = constant(DType.S8)  # (KH, KW, C)
    bias: np.ndarray = constant(DType.S32)  # (C,), the input's zero point folded in
    multipliers: np.ndarray = constant(DType.S32)  # (C,)
    shifts: np.ndarray = constant(DType.S8)  # (C,)

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        image = inputs[0].reshape(self.input).astype(np.float64)
        weights = self.weights.reshape(*self.kernel, 1, -1).astype(np.float64) - self.weights_zero
        window = Window(self.kernel, self.stride, self.dilation, self.padding, pair_of(self.output[1:3]))
        sums = convolve(image, weights.transpose(3, 0, 1, 2), window, fill=self.input_zero).astype(np.int64) + self.bias
        scaled = requant(sums, self.multipliers, self.shifts, self.mode) + self.output_zero
        return [np.clip(scaled, self.act_min, self.act_max).astype(np.int8)]

    def overlap_distance(self) -> int | None:
        return image_distance(self.input, self.output, stride=self.stride[0], before=self.padding[0])

    def scratch_bytes(self) -> int:
        """Return room for the biases of windows that leave the image: at the left, between, and at the right."""
        return 4 * self.output[3] * (1 if self.kernel == (1, 1) else 3)

    def fast_scratch_bytes(self) -> int:
        """Return room for a band of the image with its padding, where bands are worth copying."""
        if self.input[1] * self.input[2] * min(self.input[3], BAND_CHANNELS) > BAND_PIXELS * BAND_CHANNELS:
            return self.scratch_bytes()
        rows, columns = ((self.kernel[axis] - 1) * self.dilation[axis] + 1 for axis in range(2))
        line = ((self.output[2] - 1) * self.stride[1] + columns) * self.input[3]
        height, stride = self.output[1], self.stride[0]
        lines = min(height, ((BAND_BYTES - SLACK) // line - rows) // stride + 1)
        if lines < min(BAND_LINES, height):
            return self.scratch_bytes()
        return max(self.scratch_bytes(), line * ((lines - 1) * stride + rows) + SLACK)

    def packed(self, layout: int) -> Step:
        if layout == PORTABLE or self.weights_zero != 0:
            return self
        chains = depthwise_chains(self.weights.reshape(-1, self.output[3]))
        return dataclasses.replace(self, weights=np.concatenate([self.weights.reshape(-1), chains.view(np.int8)]))

    def unpacked(self, layout: int) -> Step:
        plain = self.kernel[0] * self.kernel[1] * self.output[3]
        return self if layout == PORTABLE else dataclasses.replace(self, weights=self.weights[:plain])

    def macs(self) -> int:
        return int(np.prod(self.output, dtype=np.int64)) * self.kernel[0] * self.kernel[1]


@dataclass(frozen=True)
class DepthwiseConv2d(Op):
    """Depthwise convolution of x (N, H, W, C) with w (1, KH, KW, C * multiplier) and an optional bias.

    Output channel ``c * multiplier + i`` reads input channel c.
    """

    name: ClassVar[str] = "depthwise_conv2d"
    weight_input: ClassVar[int | None] = 1
    weight_axis: ClassVar[int] = 3
    bias_input: ClassVar[int | None] = 2

    stride: Pair = (1, 1)
    padding: Padding = "valid"
    dilation: Pair = (1, 1)
    activation: Activation = Activation.NONE
    single_product: bool = False  # see convolution_multipliers

    def _window(self, x: Shape, w: Shape) -> Window:
        if w[0] != 1 or w[3] % x[3] != 0:
            raise GraphError(f"weights of shape {list(w)} do not go with an input of {x[3]} channels")
        sizes = pair_of(x[1:3]), pair_of(w[1:3])
        return slide(*sizes, stride=self.stride, padding=self.padding, dilation=self.dilation)

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        x = shape_of_rank(required(inputs, 0, "input"), 4, "input")
        w = shape_of_rank(required(inputs, 1, "weights"), 4, "weights")
        return [(x[0], *self._window(x, w).output, w[3])]

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        x, w = np.asarray(inputs[0]), np.asarray(inputs[1])
        y = convolve(x, w.astype(x.dtype).transpose(3, 1, 2, 0), self._window(x.shape, w.shape))
        if len(inputs) > 2 and inputs[2] is not None:
            y = y + inputs[2].astype(x.dtype)
        return [self.activation.apply(y)]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        """Fold to a depthwise step, or to a grouped convolution.

        The latter serves a single input channel, a channel multiplier and int16 activations.
        """
        (shape,) = self.infer_shape(inputs)
        x = required(inputs, 0, "input")
        layer = read_layer(inputs, channels=shape[3], axis=3)
        window = self._window(x.shape, layer.weights.shape)
        folded = fold_convolution(
            x,
            outputs[0],
            layer.arranged(np.ascontiguousarray(layer.weights.transpose(3, 1, 2, 0))),
            reals=convolution_multipliers(x, layer, outputs[0], single=self.single_product),
            shape=x.shape,
            window=window,
            activation=self.activation,
            mode=convolution_mode(x, rounding),
        )
        conv = folded.step
        if not isinstance(conv, Conv2dStep) or x.shape[3] != shape[3] or x.shape[3] == 1:
            return folded
        return Fold(
            DepthwiseConv2dStep(
                input=conv.input,
                output=conv.output,
                kernel=conv.kernel,
                stride=conv.stride,
                dilation=conv.dilation,
                padding=conv.padding,
                input_zero=conv.input_zero,
                weights_zero=conv.weights_zero,
                output_zero=conv.output_zero,
                act_min=conv.act_min,
                act_max=conv.act_max,
                mode=conv.mode,
                weights=layer.weights,
                bias=conv.bias,
                multipliers=conv.multipliers,
                shifts=conv.shifts,
            )
        )

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        size, kernel, stride, dilation, padding = random_window(rng)
        channels, factor = int(rng.integers(1, 50)), int(rng.choice([1, 1, 1, 2, 3]))
        op = cls(stride, padding, dilation, random_activation(rng))
        return random_layer(op, rng, x=(int(rng.integers(1, 3)), *size, channels), w=(1, *kernel, channels * factor))

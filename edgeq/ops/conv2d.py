# SPDX-License-Identifier: Apache-2.0
"""CONV_2D, also grouped; its int8 step serves every layer that is a convolution in disguise."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import GraphError
from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import Mode, requant
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Activation, Case, Fold, Op, Rounding, Shape, Step, constant, ints
from edgeq.ops.coded_conv2d import fold_coded
from edgeq.ops.conv2d_s16 import Conv2dS16Step
from edgeq.ops.convolution import Padding, Window, convolve, pair_of, random_window, slide
from edgeq.ops.folding import activation_bounds, quant_of, require_dtype, required, shifts_alone
from edgeq.ops.linear import (
    PATCHES,
    Layer,
    Pair,
    convolution_multipliers,
    fold_channels,
    fold_wide_channels,
    prove_exact,
    random_activation,
    random_layer,
    read_layer,
    shape_of_rank,
)
from edgeq.ops.order import convolution_distance, is_pointwise
from edgeq.ops.packing import PORTABLE, pack_weights, unpack_weights

RUN = 16  # bytes that kernels read at a time
MAX_RUNS = 16  # rows of a window that kernels read in place
STRIP_PIXELS = 8  # a strip of image rows serves a multiple of these, more than once as many while it stays within
STRIP_BYTES = 768
MOST_PATCHES = 64  # gathered at a time where memory is to spare
FAST_PATCH_BYTES = 8192
FAST_STRIP_BYTES = 4096
PATCH_BYTES = 1024  # as many gathered windows as fit are multiplied at a time, a multiple of 4 from 4 to 16


def align(size: int) -> int:
    """Round up to what kernels read at a time."""
    return -(-size // RUN) * RUN


@dataclass(frozen=True)
class Conv2dStep(Step):
    """Convolution of int8 pixels; shapes are NHWC, pairs are (vertical, horizontal)."""

    name: ClassVar[str] = "conv2d"
    code: ClassVar[int] = 2
    divides: ClassVar[bool] = True
    shares: ClassVar[bool] = True

    groups: int
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
    weights: np.ndarray = constant(DType.S8)  # (O, KH, KW, C / groups)
    bias: np.ndarray = constant(DType.S32)  # (O,), the input's zero point folded in
    multipliers: np.ndarray = constant(DType.S32)  # (O,)
    shifts: np.ndarray = constant(DType.S8)  # (O,)

    @property
    def depth(self) -> int:
        """Products per output element."""
        return self.kernel[0] * self.kernel[1] * self.input[3] // self.groups

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        image = inputs[0].reshape(self.input).astype(np.float64)
        weights = self.weights.reshape(self.output[3], *self.kernel, -1).astype(np.float64) - self.weights_zero
        window = Window(self.kernel, self.stride, self.dilation, self.padding, pair_of(self.output[1:3]))
        sums = convolve(image, weights, window, fill=self.input_zero).astype(np.int64) + self.bias
        scaled = requant(sums, self.multipliers, self.shifts, self.mode) + self.output_zero
        return [np.clip(scaled, self.act_min, self.act_max).astype(np.int8)]

    def overlap_distance(self) -> int | None:
        return convolution_distance(self)

    @property
    def is_pointwise(self) -> bool:
        """Whether every output pixel is one input pixel times the weights."""
        return is_pointwise(self)

    def scratch_bytes(self) -> int:
        """Return what either order of weights needs: strips, patches and tails if packed, else a few windows."""
        if self.is_pointwise:
            padded = align(self.depth)
            return -(-(padded - self.depth) // self.input[3]) * padded
        return max(self._window_scratch_bytes(), PATCHES * self.depth)

    def fast_scratch_bytes(self) -> int:
        """Return room for a strip of a whole line, or for more gathered windows at a time."""
        if self.is_pointwise:
            return self.scratch_bytes()
        if self.reads_in_place:
            line = self._strip_bytes(-(-self.output[2] // STRIP_PIXELS) * STRIP_PIXELS)
            return max(self.scratch_bytes(), line if line <= FAST_STRIP_BYTES else 0)
        pixels = int(np.prod(self.output[:3], dtype=np.int64))
        patches = min(MOST_PATCHES, FAST_PATCH_BYTES // align(self.depth), -(-pixels // 4) * 4)
        return max(self.scratch_bytes(), self._least_strip_bytes() + patches * align(self.depth) + RUN)

    @property
    def reads_in_place(self) -> bool:
        """Whether the rows of a window are whole runs, so that windows need not be gathered."""
        whole = self.groups == 1 and self.dilation[1] == 1 and self.kernel[0] <= MAX_RUNS
        return whole and self.kernel[1] * self.input[3] % RUN == 0

    def _strip_bytes(self, pixels: int) -> int:
        """Return the bytes of a strip of padded image rows for some output pixels."""
        columns = (pixels - 1) * self.stride[1] + (self.kernel[1] - 1) * self.dilation[1] + 1
        return align(self.kernel[0] * columns * self.input[3] + RUN)

    def _least_strip_bytes(self) -> int:
        pixels = STRIP_PIXELS
        while pixels < STRIP_BYTES and self._strip_bytes(pixels + STRIP_PIXELS) <= STRIP_BYTES:
            pixels += STRIP_PIXELS
        return self._strip_bytes(pixels)

    def _window_scratch_bytes(self) -> int:
        """Return the scratch of packed windows, which native/ops/windows.h divides in the same way.

        It is a strip, then patches where windows cannot be read from it.
        """
        patches = max(4, min(16, PATCH_BYTES // align(self.depth) // 4 * 4))
        return self._least_strip_bytes() + (0 if self.reads_in_place else patches * align(self.depth) + RUN)

    def packed(self, layout: int) -> Step:
        if layout == PORTABLE or self.weights_zero != 0:
            return self
        groups = self.weights.reshape(self.groups, -1, self.depth)
        blob = np.concatenate([pack_weights(group, layout) for group in groups])
        return dataclasses.replace(self, weights=blob)

    def unpacked(self, layout: int) -> Step:
        if layout == PORTABLE or self.weights.size == self.output[3] * self.depth:  # packed weights are longer
            return self
        n = self.output[3] // self.groups
        groups = [unpack_weights(blob, layout, n, self.depth) for blob in self.weights.reshape(self.groups, -1)]
        return dataclasses.replace(self, weights=np.concatenate(groups).reshape(-1))

    def macs(self) -> int:
        return int(np.prod(self.output, dtype=np.int64)) * self.depth


def fold_convolution(
    source: Tensor,
    target: Tensor,
    layer: Layer,
    *,
    reals: np.ndarray,
    shape: Shape,
    window: Window,
    activation: Activation,
    mode: Mode,
) -> Fold:
    """Fold a convolution by the dtype of its input, int8 or int16, and of its weights, int8 or low-bit codes.

    The layer's weights are (O, KH, KW, C / groups), reals its multipliers (O,); shape is the input as NHWC, which need
    not be its own shape.
    """
    require_dtype(target, require_dtype(source, DType.S8, DType.S16))
    quant_in, quant_out = quant_of(source, "input"), quant_of(target, "output")
    act_min, act_max = activation_bounds(activation, quant_out, target.dtype)
    if layer.coding is not None:
        return fold_coded(
            source,
            target,
            layer,
            layer.coding,
            reals=reals,
            shape=shape,
            window=window,
            bounds=(act_min, act_max),
            mode=mode,
        )
    groups = shape[3] // layer.weights.shape[3]
    output = (shape[0], *window.output, len(reals))
    if source.dtype is DType.S16:
        wide = fold_wide_channels(layer, reals, source=source, target=target, mode=mode)
        return Fold(
            Conv2dS16Step(
                input=shape,
                output=output,
                kernel=window.kernel,
                stride=window.stride,
                dilation=window.dilation,
                padding=window.before,
                groups=groups,
                act_min=act_min,
                act_max=act_max,
                mode=int(mode),
                weights=wide.weights,
                bias=wide.bias,
                multipliers=wide.multipliers,
                shifts=wide.shifts,
            )
        )
    channels = fold_channels(layer, reals, input_zero=quant_in.zero_point, mode=mode)
    if mode is Mode.EXACT:
        channels, mode = prove_exact(channels, reals, zero=quant_out.zero_point, bounds=(act_min, act_max))
    return Fold(
        shifts_alone(
            Conv2dStep(
                input=shape,
                output=output,
                kernel=window.kernel,
                stride=window.stride,
                dilation=window.dilation,
                padding=window.before,
                groups=groups,
                input_zero=quant_in.zero_point,
                weights_zero=layer.weights_zero,
                output_zero=quant_out.zero_point,
                act_min=act_min,
                act_max=act_max,
                mode=int(mode),
                weights=channels.weights,
                bias=channels.bias,
                multipliers=channels.multipliers,
                shifts=channels.shifts,
            )
        )
    )


def convolution_mode(source: Tensor, rounding: Rounding) -> Mode:
    """Return the mode of convolutions: the profile's for int8, 16-bit multipliers for int16."""
    return Mode.INT16 if source.dtype is DType.S16 else rounding.mode


def _has_narrow_bias(inputs: Sequence[Tensor | None]) -> bool:
    """Whether int16 pixels come with an int32 bias, for which LiteRT has another kernel than for the usual int64."""
    source, bias = inputs[0], inputs[2] if len(inputs) > 2 else None
    return source is not None and source.dtype is DType.S16 and bias is not None and bias.dtype is DType.S32


@dataclass(frozen=True)
class Conv2d(Op):
    """Convolution of x (N, H, W, C) with w (O, KH, KW, C / groups) and an optional bias (O,)."""

    name: ClassVar[str] = "conv2d"
    weight_input: ClassVar[int | None] = 1
    bias_input: ClassVar[int | None] = 2

    stride: Pair = (1, 1)
    padding: Padding = "valid"
    dilation: Pair = (1, 1)
    activation: Activation = Activation.NONE
    single_product: bool = False  # see convolution_multipliers

    def _window(self, x: Shape, w: Shape) -> Window:
        if x[3] % w[3] != 0 or w[0] % (x[3] // w[3]) != 0:
            raise GraphError(f"weights of shape {list(w)} do not divide the channels of an input of shape {list(x)}")
        sizes = pair_of(x[1:3]), pair_of(w[1:3])
        return slide(*sizes, stride=self.stride, padding=self.padding, dilation=self.dilation)

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        x = shape_of_rank(required(inputs, 0, "input"), 4, "input")
        w = shape_of_rank(required(inputs, 1, "weights"), 4, "weights")
        return [(x[0], *self._window(x, w).output, w[0])]

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        x, w = np.asarray(inputs[0]), np.asarray(inputs[1])
        y = convolve(x, w.astype(x.dtype), self._window(x.shape, w.shape))
        if len(inputs) > 2 and inputs[2] is not None:
            y = y + inputs[2].astype(x.dtype)
        return [self.activation.apply(y)]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        (shape,) = self.infer_shape(inputs)
        x = required(inputs, 0, "input")
        layer = read_layer(inputs, channels=shape[3], axis=0)
        mode = convolution_mode(x, rounding)
        if rounding is Rounding.TFLITE and _has_narrow_bias(inputs):
            mode = Mode.DOUBLE
        return fold_convolution(
            x,
            outputs[0],
            layer,
            reals=convolution_multipliers(x, layer, outputs[0], single=self.single_product),
            shape=x.shape,
            window=self._window(x.shape, layer.weights.shape),
            activation=self.activation,
            mode=mode,
        )

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        size, kernel, stride, dilation, padding = random_window(rng)
        groups = int(rng.choice([1, 1, 1, 2, 3]))
        depth, count = int(rng.integers(1, 20)), groups * int(rng.integers(1, 40 // groups))
        op = cls(stride, padding, dilation, random_activation(rng))
        return random_layer(op, rng, x=(int(rng.integers(1, 3)), *size, depth * groups), w=(count, *kernel, depth))

# SPDX-License-Identifier: Apache-2.0
"""Convolution of int16 activations with int8 weights ("16x8"): the step of every such layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import Mode, requant, requant_wide, wrap32
from edgeq.ops.base import Shape, Step, constant, ints
from edgeq.ops.convolution import Window, convolve, pair_of
from edgeq.ops.linear import PATCHES, Pair


@dataclass(frozen=True)
class Conv2dS16Step(Step):
    """Convolution of int16 pixels with int8 weights in 64-bit accumulators, 32-bit ones in mode DOUBLE.

    Zero points are 0.
    """

    name: ClassVar[str] = "conv2d_s16"
    code: ClassVar[int] = 6

    groups: int
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
    bias: np.ndarray = constant(DType.S64)  # (O,)
    multipliers: np.ndarray = constant(DType.S32)  # (O,)
    shifts: np.ndarray = constant(DType.S8)  # (O,)

    @property
    def depth(self) -> int:
        """Products per output element."""
        return self.kernel[0] * self.kernel[1] * self.input[3] // self.groups

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        image = inputs[0].reshape(self.input).astype(np.float64)
        weights = self.weights.reshape(self.output[3], *self.kernel, -1).astype(np.float64)
        window = Window(self.kernel, self.stride, self.dilation, self.padding, pair_of(self.output[1:3]))
        sums = convolve(image, weights, window).astype(np.int64) + self.bias
        if self.mode == Mode.EXACT:
            scaled = requant_wide(sums, self.multipliers, self.shifts, self.mode)
        else:
            kept = wrap32(sums) if self.mode == Mode.DOUBLE else sums
            scaled = requant(kept, self.multipliers, self.shifts, self.mode)
        return [np.clip(scaled, self.act_min, self.act_max).astype(np.int16)]

    def scratch_bytes(self) -> int:
        return 2 * PATCHES * self.depth

    def macs(self) -> int:
        return int(np.prod(self.output, dtype=np.int64)) * self.depth

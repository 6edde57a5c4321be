# SPDX-License-Identifier: Apache-2.0
"""FULLY_CONNECTED: a 1x1 convolution over rows, with a rounding of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import GraphError
from edgeq.ir.fixed_point import Mode
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Activation, Case, Fold, Op, Rounding, Shape
from edgeq.ops.batch_matmul import fold_product
from edgeq.ops.conv2d import convolution_mode, fold_convolution
from edgeq.ops.conv2d_s16 import Conv2dS16Step
from edgeq.ops.convolution import Window
from edgeq.ops.exact_wide import prove_wide
from edgeq.ops.folding import f32, quant_of, required
from edgeq.ops.linear import bias_codes, random_activation, random_layer, read_layer, real_multipliers, shape_of_rank


@dataclass(frozen=True)
class FullyConnected(Op):
    """Product of x (..., K) with w (O, K), and an optional bias (O,).

    x is flattened to rows of K; keep_dims keeps all its axes but the last.
    """

    name: ClassVar[str] = "fully_connected"
    weight_input: ClassVar[int | None] = 1
    bias_input: ClassVar[int | None] = 2

    activation: Activation = Activation.NONE
    keep_dims: bool = False

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        x = required(inputs, 0, "input")
        count, depth = shape_of_rank(required(inputs, 1, "weights"), 2, "weights")
        if x.elements % depth != 0 or (self.keep_dims and x.shape[-1:] != (depth,)):
            raise GraphError(f"an input of shape {list(x.shape)} has no rows of {depth}")
        return [(*x.shape[:-1], count) if self.keep_dims else (x.elements // depth, count)]

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        x, w = np.asarray(inputs[0]), np.asarray(inputs[1])
        rows = x if self.keep_dims else x.reshape(-1, w.shape[1])
        y = rows @ w.T.astype(x.dtype)
        if len(inputs) > 2 and inputs[2] is not None:
            y = y + inputs[2].astype(x.dtype)
        return [self.activation.apply(y)]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        """Fold to a convolution, or to a matrix product when the weights are computed at run time.

        LiteRT's reference kernel multiplies by a double and rounds half away from zero, hence mode EXACT; SINGLE where
        it is the same. No 31-bit multiplier equals a double one on all int16 codes of most channels: there
        ``inexact_channels`` names those where one code in some 250,000 differs, by one.
        """
        self.infer_shape(inputs)
        x, w, y = required(inputs, 0, "input"), required(inputs, 1, "weights"), outputs[0]
        count, depth = w.shape
        rows = x.elements // depth
        mode = Mode.EXACT if rounding is Rounding.TFLITE else convolution_mode(x, rounding)
        if w.data is None:
            scales = np.array([quant_of(w, "weights").scale])
            return fold_product(
                x,
                w,
                y,
                sizes=(rows, count, depth),
                transposed=(False, True),
                real=float(self._reals(x, scales, y, rounding)[0]),
                bias=bias_codes(inputs, count),
                activation=self.activation,
                mode=mode,
            )
        layer = read_layer(inputs, channels=count, axis=0)
        window = Window((1, 1), (1, 1), (1, 1), (0, 0), (1, 1))
        reals = self._reals(x, layer.scales, y, rounding)
        fold = fold_convolution(
            x,
            y,
            layer.arranged(layer.weights.reshape(count, 1, 1, depth)),
            shape=(rows, 1, 1, depth),
            window=window,
            activation=self.activation,
            mode=mode,
            reals=reals,
        )
        if mode is Mode.EXACT and isinstance(fold.step, Conv2dS16Step):
            return Fold(prove_wide(fold.step, reals)[0])
        return fold

    def inexact_channels(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> list[int]:
        """Return the channels whose int16 codes LiteRT, which multiplies by doubles, may give otherwise."""
        step = self.fold(inputs, outputs, rounding=Rounding.TFLITE).step
        if not isinstance(step, Conv2dS16Step):
            return []
        scales = np.broadcast_to(quant_of(required(inputs, 1, "weights")).scales, step.output[3:])
        return prove_wide(step, self._reals(required(inputs, 0, "input"), scales, outputs[0], Rounding.TFLITE))[1]

    @staticmethod
    def _reals(x: Tensor, scales: np.ndarray, y: Tensor, rounding: Rounding) -> np.ndarray:
        """Return the multipliers; TensorFlow Lite Micro rounds a per-tensor product of scales to float32."""
        if rounding is Rounding.TFLM and len(set(scales.tolist())) == 1:
            return np.full(len(scales), f32(quant_of(x).scale * float(scales[0])) / quant_of(y).scale)
        return real_multipliers(x, scales, y)

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        rows, depth, count = int(rng.integers(1, 5)), int(rng.integers(1, 200)), int(rng.integers(1, 80))
        op = cls(random_activation(rng), bool(rng.integers(2)))
        if rng.random() < 0.3 and depth % 2 == 0 and not op.keep_dims:
            return random_layer(op, rng, x=(rows, 2, depth // 2), w=(count, depth))
        return random_layer(op, rng, x=(rows, 2, depth) if op.keep_dims else (rows, depth), w=(count, depth))

# SPDX-License-Identifier: Apache-2.0
"""Linear layers of dynamic tensors: their sums times scales that are known only while the model runs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from edgeq.errors import GraphError, UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import INT32_MAX, INT32_MIN, Mode, quantize_multiplier, round_away
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import SMALLEST_SCALE, QuantParams
from edgeq.ir.run_time_scale import (
    COLUMNS,
    SMALLEST,
    Scale,
    apply_scale,
    inverse,
    product,
    read_scale,
    real_of_scale,
    scale_of_real,
    shifted,
)
from edgeq.ops.base import Activation, Case, Fold, Op, Rounding, Shape, Step, constant, ints
from edgeq.ops.conv2d import Conv2d, Conv2dStep
from edgeq.ops.convolution import Window, convolve, pair_of
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d, DepthwiseConv2dStep
from edgeq.ops.dynamic_quantize import dynamic_outputs
from edgeq.ops.dynamic_rows import DEVIATIONS, RowRange, quantize_row, reference_rows, scale_shape
from edgeq.ops.folding import quant_of, require_dtype, required
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.linear import PATCHES, Pair

STATIC = 3  # beside the values of RowRange: the result has static codes
_BITS = 29  # of the largest sum in common units
_BIAS_BITS = 20  # of the largest bias code; of bounds, too
_FITTING = 9  # the exponent of a scale that takes 2^20 to less than 2^29


@dataclass(frozen=True)
class DynamicLinearStep(Step):
    """Convolution of dynamic int8 pixels, row r those of images r * N / rows on; the result is dynamic or static."""

    name: ClassVar[str] = "dynamic_linear"
    code: ClassVar[int] = 61

    rows: int
    groups: int
    row_range: int  # 0: symmetric, 1: asymmetric, 2: mean and deviations, 3: static codes
    deviations: int
    element_bytes: int  # of the result's codes
    output_zero: int  # of static codes
    lower: int  # bounds of the result in units of bound_unit; INT32_MIN: none
    upper: int  # INT32_MAX: none
    unit: Scale = ints(2)  # what v = 1 stands for, over the row's scale
    step: Scale = ints(2)  # dynamic: unit / codes in the range, and / row's elements; static: 1 / the result's scale
    bias_unit: Scale = ints(2)  # what a bias code of 1 stands for, over unit
    bound_unit: Scale = ints(2)  # the same of lower and upper
    input: Shape = ints(4)
    output: Shape = ints(4)
    kernel: Pair = ints(2)
    stride: Pair = ints(2)
    dilation: Pair = ints(2)
    padding: Pair = ints(2)  # at the top and at the left
    weights: np.ndarray = constant(DType.S8)  # (O, KH, KW, C / groups)
    sums: np.ndarray = constant(DType.S32)  # (O,) of an output channel's weights
    bias: np.ndarray = constant(DType.S32)  # (O,)
    multipliers: np.ndarray = constant(DType.S32)  # (O,) sums to the common unit
    shifts: np.ndarray = constant(DType.S8)  # (O,)

    @property
    def depth(self) -> int:
        """Products per output element."""
        return self.kernel[0] * self.kernel[1] * self.input[3] // self.groups

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        found = [read_scale(row) for row in np.asarray(inputs[1]).reshape(self.rows, COLUMNS)]
        zeros = np.repeat([zero for _, zero in found], self.input[0] // self.rows).reshape(-1, 1, 1, 1)
        image = np.asarray(inputs[0]).reshape(self.input).astype(np.float64) - zeros
        weights = self.weights.reshape(self.output[3], *self.kernel, -1).astype(np.float64)
        window = Window(self.kernel, self.stride, self.dilation, self.padding, pair_of(self.output[1:3]))
        sums = convolve(image, weights, window).astype(np.int64).reshape(self.rows, -1, self.output[3])
        results = [self._row(row, scale) for row, (scale, _) in zip(sums, found, strict=True)]
        if self.row_range == STATIC:
            return [np.stack([codes for codes, _ in results])]
        return [np.stack([codes for codes, _ in results]), np.array([scale for _, scale in results], np.int32)]

    def _row(self, sums: np.ndarray, kept: Scale) -> tuple[np.ndarray, tuple[int, ...]]:
        """Return the codes of one row, from its sums (pixels, O), and the row of its scale if it has one."""
        bias_unit = product(inverse(kept), self.bias_unit)
        # where a bias would not fit, the row's unit is coarser
        coarser = max(0, bias_unit[1] - _FITTING)
        bias = apply_scale(self.bias, bias_unit[0], bias_unit[1] - coarser)
        values = apply_scale(sums, self.multipliers, self.shifts.astype(np.int64) - coarser) + bias
        bound_unit = product(inverse(kept), self.bound_unit)
        if self.lower != INT32_MIN:
            values = np.maximum(values, apply_scale(self.lower, bound_unit[0], bound_unit[1] - coarser))
        if self.upper != INT32_MAX:
            values = np.minimum(values, apply_scale(self.upper, bound_unit[0], bound_unit[1] - coarser))
        source = shifted(kept, coarser)
        if self.row_range == STATIC:
            scale = product(product(source, self.unit), self.step)
            dtype = DType.S8 if self.element_bytes == 1 else DType.S16
            codes = np.clip(apply_scale(values, *scale) + self.output_zero, *dtype.limits)
            return codes.astype(dtype.numpy), ()
        return quantize_row(
            values.reshape(-1),
            row_range=RowRange(self.row_range),
            deviations=self.deviations,
            source=source,
            kept=kept,
            step=self.step,
        )

    def scratch_bytes(self) -> int:
        """Return room for a row's sums, or for those of some pixels, for its biases and for some gathered windows."""
        channels = self.output[3]
        pixels = PATCHES if self.row_range == STATIC else math.prod(self.output[:3]) // self.rows
        return 4 * channels * (1 + pixels) + PATCHES * self.depth

    def macs(self) -> int:
        return math.prod(self.output) * self.depth


@dataclass(frozen=True)
class DynamicLinear(Op):
    """A linear layer of codes x, its weights, an optional bias in codes of one scale, and the scales of x.

    Rows of the result are those of x: dynamic codes and scales if it has a ``row_range``, else static codes.
    ``source_range`` is that of x. Rows of several pixels are whole images, unless the layer is pointwise.
    """

    name: ClassVar[str] = "dynamic_linear"
    weight_input: ClassVar[int | None] = 1
    bias_input: ClassVar[int | None] = 2

    layer: Conv2d | DepthwiseConv2d | FullyConnected = dataclasses.field(default_factory=FullyConnected)
    rows: int = 1
    source_range: RowRange = RowRange.ASYMMETRIC
    row_range: RowRange | None = None

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        scales = required(inputs, 3, "scales")
        if scales.shape != scale_shape(self.rows):
            raise GraphError(f"scales {scales.name!r} have shape {list(scales.shape)}, {self.rows} rows of 3 expected")
        (shape,) = self.layer.infer_shape(inputs[:3])
        return [shape] if self.row_range is None else [shape, scale_shape(self.rows)]

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        codes, scales = np.asarray(inputs[0], np.float64), np.asarray(inputs[3]).reshape(-1, COLUMNS)
        reals = np.array([real_of_scale((int(m), int(e))) for m, e, _ in scales]).reshape(-1, 1)
        centred = codes.reshape(self.rows, -1) - scales[:, 2:].astype(np.float64)
        (y,) = self.layer.reference([(centred * reals).reshape(codes.shape), *inputs[1:3]])
        if self.row_range is None:
            return [y]
        return reference_rows(y, self.rows, self.row_range, DEVIATIONS, kept=reals.reshape(-1))

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        self.infer_shape(inputs)
        require_dtype(required(inputs, 0, "input"), DType.S8)
        plain = _plain_step(self.layer, inputs)
        if plain.input[0] % self.rows:
            raise GraphError(f"{plain.input[0]} images or pixels do not divide into {self.rows} rows")
        scales = np.broadcast_to(quant_of(required(inputs, 1, "weights")).scales, (plain.output[3],))
        weights = plain.weights.reshape(plain.output[3], -1).astype(np.int64)
        largest, reach = float(scales.max()), int(np.abs(weights).sum(axis=1).max())
        bits = _BITS - (reach * self.source_range.peak).bit_length()
        split = [quantize_multiplier(float(scale) / largest * 2.0**bits, mode=Mode.SINGLE) for scale in scales]
        unit = largest * 2.0**-bits
        bias, bias_unit = _folded_bias(inputs, plain.output[3], unit)
        lower, upper, bound_unit = _folded_bounds(self.layer.activation, unit)
        return Fold(
            DynamicLinearStep(
                rows=self.rows,
                **{field: getattr(plain, field) for field in _GEOMETRY},
                **self._result_fields(outputs, unit, math.prod(plain.output) // self.rows),
                lower=lower,
                upper=upper,
                unit=scale_of_real(unit),
                bias_unit=bias_unit,
                bound_unit=bound_unit,
                sums=weights.sum(axis=1).astype(np.int32),
                bias=bias,
                multipliers=np.array([m for m, _ in split], np.int32),
                shifts=np.array([shift for _, shift in split], np.int8),
            ),
            (0, 3),
        )

    def _result_fields(self, outputs: Sequence[Tensor], unit: float, row: int) -> dict[str, Any]:
        """Return what the step knows of its result."""
        dynamic = {"deviations": DEVIATIONS, "element_bytes": 1, "output_zero": 0}
        if self.row_range is not None:
            require_dtype(outputs[0], DType.S8)
            return {**dynamic, "row_range": int(self.row_range), "step": self.row_range.step_of(unit, row)}
        quant = quant_of(outputs[0], "output")
        return {
            "row_range": STATIC,
            "deviations": 0,
            "element_bytes": require_dtype(outputs[0], DType.S8, DType.S16).bytes,
            "output_zero": quant.zero_point,
            "step": scale_of_real(1 / quant.scale),
        }

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        drawn = (Conv2d, DepthwiseConv2d, FullyConnected)[rng.integers(3)].sample(rng)
        layer, x, w = drawn.op, drawn.inputs[0], drawn.inputs[1]
        assert isinstance(layer, Conv2d | DepthwiseConv2d | FullyConnected)
        assert x is not None
        assert w is not None
        quant = QuantParams.per_channel(2.0 ** rng.uniform(-9, -5, size=w.shape[layer.weight_axis]), layer.weight_axis)
        kernel = Tensor("w", w.shape, DType.S8, quant, rng.integers(-127, 128, size=w.shape).astype(np.int8))
        tensors: list[Tensor | None] = [Tensor("x", x.shape, DType.S8), kernel, None]
        images = _plain_step(layer, tensors).input[0]
        rows = int(rng.choice([count for count in range(1, images + 1) if images % count == 0]))
        source, found = (RowRange(int(value)) for value in rng.integers(len(RowRange), size=2))
        row_range = None if rng.random() < 0.4 else found
        op = cls(layer, rows, source, row_range)
        exponents = rng.integers(-12, 4, size=rows)
        zeros = np.zeros(rows) if source is RowRange.SYMMETRIC else rng.integers(-128, 128, size=rows)
        pairs = np.stack([rng.integers(2**30, 2**31, size=rows), exponents, zeros], axis=1).astype(np.int32)
        if rng.random() < 0.7:
            beta = float(max(quant.scales)) * 2.0 ** rng.uniform(-20, 0)
            codes = rng.integers(-(2**_BIAS_BITS), 2**_BIAS_BITS + 1, size=drawn.outputs[0].shape[-1]).astype(np.int32)
            tensors[2] = Tensor("b", codes.shape, DType.S32, QuantParams.of(beta), codes)
        tensors.append(Tensor("x/scales", scale_shape(rows), DType.S32, data=pairs))
        shape = op.infer_shape(tensors)[0]
        if row_range is not None:
            return Case(op, tuple(tensors), dynamic_outputs(shape, rows))
        wide, weights_peak = bool(rng.integers(2)), max(quant.scales) * 64 * math.sqrt(kernel.elements / shape[-1])
        scale = 2.0 ** int(exponents.max()) * weights_peak / (256 if wide else 1)
        target = QuantParams.of(scale, 0 if wide else int(rng.integers(-128, 128)))
        return Case(op, tuple(tensors), (Tensor("y", shape, DType.S16 if wide else DType.S8, target),))


_GEOMETRY = ("groups", "input", "output", "kernel", "stride", "dilation", "padding", "weights")


def bias_tensor(name: str, bias: np.ndarray) -> Tensor | None:
    """Return a real bias (O,) as a tensor of int32 codes with one scale; None where it is all but zero."""
    scale = float(np.float32(np.abs(bias).max(initial=0) / 2**_BIAS_BITS))
    if scale < SMALLEST_SCALE:
        return None
    codes = round_away(bias.astype(np.float64) / scale).astype(np.int32)
    return Tensor(name, codes.shape, DType.S32, QuantParams.of(scale), codes)


def _plain_step(layer: Op, inputs: Sequence[Tensor | None]) -> Conv2dStep:
    """Return the convolution that a layer is, its rows taken for images where no window has several pixels."""
    x, w = required(inputs, 0, "input"), required(inputs, 1, "weights")
    quant = quant_of(w, "weights")
    require_dtype(w, DType.S8)
    if any(quant.zero_points):
        raise UnsupportedError(f"weights {w.name!r} have a zero point, 0 expected with run-time scales")
    (shape,) = layer.infer_shape(inputs[:3])
    source = dataclasses.replace(x, quant=QuantParams.of(1.0))
    target = Tensor("y", shape, DType.S8, QuantParams.of(2 * max(quant.scales)))
    folded = layer.fold([source, w, None], [target], rounding=Rounding.NATIVE)
    step = folded.step if isinstance(folded, Fold) else None
    if isinstance(step, DepthwiseConv2dStep):
        weights = step.weights.reshape(*step.kernel, 1, -1).transpose(3, 0, 1, 2)
        shared = {field.name: getattr(step, field.name) for field in dataclasses.fields(step)}
        step = Conv2dStep(**{**shared, "groups": step.input[3], "weights": np.ascontiguousarray(weights)})
    assert isinstance(step, Conv2dStep)
    if step.is_pointwise and step.input[:3] == step.output[:3]:
        pixels = math.prod(step.input[:3])
        read, made = (pixels, 1, 1, step.input[3]), (pixels, 1, 1, step.output[3])
        return dataclasses.replace(step, input=read, output=made, stride=(1, 1))
    return step


def _folded_bias(inputs: Sequence[Tensor | None], channels: int, unit: float) -> tuple[np.ndarray, Scale]:
    bias = inputs[2]
    if bias is None or bias.data is None:
        return np.zeros(channels, np.int32), SMALLEST
    require_dtype(bias, DType.S32)
    return bias.data.reshape(-1), scale_of_real(quant_of(bias, "bias").scale / unit)


def _folded_bounds(activation: Activation, unit: float) -> tuple[int, int, Scale]:
    """Return the codes of an activation's bounds and their unit."""
    low, high = activation.value
    peak = max(abs(low or 0.0), abs(high or 0.0))
    codes = [
        none if bound is None else int(round_away(bound / (peak or 1.0) * 2**_BIAS_BITS))
        for bound, none in ((low, INT32_MIN), (high, INT32_MAX))
    ]
    return codes[0], codes[1], scale_of_real(peak / 2**_BIAS_BITS / unit) if peak else SMALLEST

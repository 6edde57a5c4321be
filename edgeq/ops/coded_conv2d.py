# SPDX-License-Identifier: Apache-2.0
"""Convolution of int8 activations with low-bit weights: the step of every layer whose weights have a coding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import InvalidValueError, UnsupportedError
from edgeq.ir.coding import CodeKind, Coding, pack_codes, packed_row_bytes, unpack_codes
from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import INT32_MAX, Mode, requant, requant_wide
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Fold, Shape, Step, constant, ints
from edgeq.ops.coded_weights import require_representable
from edgeq.ops.convolution import Window, convolve, pair_of
from edgeq.ops.folding import quant_of, shifts_alone
from edgeq.ops.linear import PATCHES, Layer, Pair, require_depth, split_multipliers
from edgeq.ops.order import convolution_distance, is_pointwise

WIDE_SUM = 2**47  # 64-bit accumulators stay below it
MAX_WIDE_SHIFT = 14  # which leaves the product of a wide sum and its multiplier its two parts


@dataclass(frozen=True)
class CodedConv2dStep(Step):
    """Convolution of int8 pixels with packed low-bit weights, in int32 accumulators, or in 64-bit ones if ``wide``.

    Rows of weights are those of edgeq/ir/coding.py: ``kind``, ``bits``, ``mantissa_bits`` and ``group`` are a Coding's,
    ``tables`` is how many tables ``levels`` has. Empty constants: levels without tables, the groups' where group is 0
    or no zero points are, and of the two biases the one of the other width.
    """

    name: ClassVar[str] = "coded_conv2d"
    code: ClassVar[int] = 50
    shares: ClassVar[bool] = True

    groups: int
    kind: int
    bits: int
    mantissa_bits: int
    tables: int
    group: int
    wide: int
    input_zero: int
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
    codes: np.ndarray = constant(DType.U8)  # (O, bytes), rows of packed codes
    levels: np.ndarray = constant(DType.S16)  # (tables, 2^bits)
    group_scales: np.ndarray = constant(DType.U8)  # (O, groups of a row)
    group_zeros: np.ndarray = constant(DType.U8)  # (O, groups of a row)
    bias: np.ndarray = constant(DType.S32)  # (O,), the input's zero point folded in
    wide_bias: np.ndarray = constant(DType.S64)  # (O,)
    multipliers: np.ndarray = constant(DType.S32)  # (O,)
    shifts: np.ndarray = constant(DType.S8)  # (O,)

    @property
    def depth(self) -> int:
        """Products per output element."""
        return self.kernel[0] * self.kernel[1] * self.input[3] // self.groups

    @property
    def coding(self) -> Coding:
        """What the codes mean."""
        rows = self.output[3]
        return Coding(
            CodeKind(self.kind),
            self.bits,
            self.levels.reshape(self.tables, -1) if self.tables else None,
            self.mantissa_bits,
            self.group,
            self.group_scales.reshape(rows, -1) if self.group else None,
            self.group_zeros.reshape(rows, -1) if self.group_zeros.size else None,
        )

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        rows = self.output[3]
        packed = self.codes.reshape(rows, packed_row_bytes(self.bits, self.depth))
        weights = self.coding.integers(unpack_codes(packed, self.bits, self.depth)).astype(np.float64)
        image = inputs[0].reshape(self.input).astype(np.float64)
        window = Window(self.kernel, self.stride, self.dilation, self.padding, pair_of(self.output[1:3]))
        # sums are below 2^47 but for channels whose multiplier is 0
        sums = convolve(image, weights.reshape(rows, *self.kernel, -1), window, fill=self.input_zero).astype(np.int64)
        if self.wide:
            scaled = requant_wide(sums + self.wide_bias, self.multipliers, self.shifts, self.mode)
        else:
            scaled = requant(sums + self.bias, self.multipliers, self.shifts, self.mode)
        return [np.clip(scaled + self.output_zero, self.act_min, self.act_max).astype(np.int8)]

    def overlap_distance(self) -> int | None:
        return convolution_distance(self)

    def scratch_bytes(self) -> int:
        return 0 if is_pointwise(self) else PATCHES * self.depth

    def macs(self) -> int:
        return int(np.prod(self.output, dtype=np.int64)) * self.depth


def fold_coded(
    source: Tensor,
    target: Tensor,
    layer: Layer,
    coding: Coding,
    *,
    reals: np.ndarray,
    shape: Shape,
    window: Window,
    bounds: Pair,
    mode: Mode,
) -> Fold:
    """Fold a convolution with low-bit weights: a layer (O, KH, KW, C / groups) of codes, its multipliers reals (O,).

    ``bounds`` are the smallest and largest output code. Raises UnsupportedError for int16 activations and for other
    roundings than the native one, whose mode is SINGLE, InvalidValueError where sums leave 64-bit accumulators.
    """
    if source.dtype is not DType.S8:
        raise UnsupportedError(
            f"low-bit weights with {source.dtype.numpy} activations, int8 expected",
            hint="give this layer int8 weights or int8 activations",
        )
    if mode is not Mode.SINGLE:
        raise UnsupportedError(
            "low-bit weights are a format of edgeq's own, which other libraries' roundings do not know",
            hint="use the native rounding",
        )
    rows = len(reals)
    codes = layer.weights.reshape(rows, -1)
    require_depth(codes.shape[1])
    require_representable(coding)
    _check_layer(layer, codes, coding)
    integers = coding.integers(codes)  # (O, K)
    multipliers, shifts = split_multipliers(reals, mode)
    live = multipliers != 0  # a channel whose multiplier is 0 gives the zero point whatever its sum
    quant_in, quant_out = quant_of(source, "input"), quant_of(target, "output")
    bias = np.where(live, layer.bias - quant_in.zero_point * integers.sum(axis=1), 0)
    peaks = np.where(live, np.abs(bias) + 128 * np.abs(integers).sum(axis=1), 0)
    wide = bool(np.any(np.ldexp(peaks.astype(np.float64), np.maximum(shifts, 0)) > INT32_MAX))
    if wide:
        _prove_wide(peaks, shifts)
    tables = 0 if coding.levels is None else len(coding.levels)
    step = CodedConv2dStep(
        groups=shape[3] // layer.weights.shape[3],
        kind=int(coding.kind),
        bits=coding.bits,
        mantissa_bits=coding.mantissa_bits,
        tables=tables,
        group=coding.group,
        wide=int(wide),
        input_zero=quant_in.zero_point,
        output_zero=quant_out.zero_point,
        act_min=bounds[0],
        act_max=bounds[1],
        mode=int(mode),
        input=shape,
        output=(shape[0], *window.output, rows),
        kernel=window.kernel,
        stride=window.stride,
        dilation=window.dilation,
        padding=window.before,
        codes=pack_codes(codes, coding.bits),
        levels=_or_empty(coding.levels, np.int16),
        group_scales=_or_empty(coding.group_scales, np.uint8),
        group_zeros=_or_empty(coding.group_zeros, np.uint8),
        bias=_or_empty(None if wide else bias, np.int32),
        wide_bias=_or_empty(bias if wide else None, np.int64),
        multipliers=multipliers,
        shifts=shifts,
    )
    return Fold(step if wide else shifts_alone(step))


def _check_layer(layer: Layer, codes: np.ndarray, coding: Coding) -> None:
    """Raise InvalidValueError where a coding and the weights (O, K) that it belongs to contradict each other."""
    rows, depth = codes.shape
    if layer.weights_zero != 0:
        raise InvalidValueError(f"low-bit weights have zero point {layer.weights_zero}, 0 expected")
    if codes.max() >> coding.bits != 0:
        raise InvalidValueError(
            f"low-bit weights hold the code {int(codes.max())}, which has more than {coding.bits} bits"
        )
    if coding.levels is not None and len(coding.levels) not in (1, rows):
        raise InvalidValueError(f"low-bit weights have {len(coding.levels)} tables, 1 or {rows} expected")
    groups = (rows, -(-depth // coding.group)) if coding.group else None
    for name, values in (("scales", coding.group_scales), ("zero points", coding.group_zeros)):
        if values is not None and (values.shape != groups or values.dtype != np.uint8):
            raise InvalidValueError(
                f"{name} of groups are {values.dtype} {list(values.shape)}, uint8 {list(groups or ())} expected"
            )


def _prove_wide(peaks: np.ndarray, shifts: np.ndarray) -> None:
    """Raise InvalidValueError, naming the channel, where a sum or a multiplier is too large for 64-bit accumulators."""
    worst = int(np.argmax(peaks))
    if peaks[worst] >= WIDE_SUM:
        raise InvalidValueError(
            f"the accumulator of output channel {worst} can reach {int(peaks[worst])}, 2^47 is its limit",
            hint="use a coding with smaller integers",
        )
    if np.any(shifts > MAX_WIDE_SHIFT):
        raise InvalidValueError(
            f"output channel {int(np.argmax(shifts))} has a multiplier of 2^{MAX_WIDE_SHIFT} or more, too large for "
            "64-bit accumulators",
            hint="check the scales of the weights and the output",
        )


def _or_empty(values: np.ndarray | None, dtype: type[np.generic]) -> np.ndarray:
    return np.zeros(0, dtype) if values is None else values.astype(dtype)

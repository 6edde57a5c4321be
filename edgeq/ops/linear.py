# SPDX-License-Identifier: Apache-2.0
"""What operators built on matrix products share: folding scales, zero points and bias into per-channel integers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeq.errors import GraphError, InvalidValueError, UnsupportedError
from edgeq.ir.coding import Coding
from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import Mode, requant, round_away
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Activation, Case, Op, Shape
from edgeq.ops.coded_weights import has_coding, random_coded
from edgeq.ops.folding import constant_of, f32, multiplier, prove_accumulator, quant_of, require_dtype, required

Pair = tuple[int, int]

MAX_DEPTH = 65536  # products per output: int32 sums of x * (w - zero) cannot overflow below it
MAX_WIDE_DEPTH = 2**22  # the same for 64-bit accumulators, which stay below 2^47
MAX_WIDE_BIAS = 2**46
PATCHES = 4  # image windows that the C operators gather into scratch for one matrix product


@dataclass(frozen=True)
class Layer:
    """The constants of a linear layer as the model stores them."""

    weights: np.ndarray  # int8 codes, output channels along the first axis once arranged; uint8 with a coding
    scales: np.ndarray  # (O,) float64
    weights_zero: int
    bias: np.ndarray  # (O,) int64
    coding: Coding | None = None  # of low-bit weights

    def arranged(self, weights: np.ndarray) -> Layer:
        """Return the layer with its weights in another order or shape."""
        return dataclasses.replace(self, weights=weights)


@dataclass(frozen=True)
class Channels:
    """A folded linear layer: y[o] = requant(bias[o] + sum_k x[k] * (weights[o, k] - weights_zero))."""

    weights: np.ndarray  # (O, ...) int8
    bias: np.ndarray  # (O,) int32, or int64 for 16-bit activations; the input's zero point is folded in
    multipliers: np.ndarray  # (O,) int32
    shifts: np.ndarray  # (O,) int8
    weights_zero: int = 0


def read_layer(inputs: Sequence[Tensor | None], *, channels: int, axis: int) -> Layer:
    """Read constant weights (input 1), int8 or low-bit ones, and the optional bias (input 2) of a layer.

    Raises UnsupportedError for other dtypes, scales along another axis, or a zero point per channel.
    """
    tensor = required(inputs, 1, "weights")
    require_dtype(tensor, DType.U8 if has_coding(tensor) else DType.S8)
    data = constant_of(tensor, "weights").reshape(tensor.shape)
    quant = quant_of(tensor, "weights")
    count = len(quant.scales)
    if count > 1 and (quant.axis != axis or count != channels):
        raise UnsupportedError(
            f"weights {tensor.name!r} have {count} scales along axis {quant.axis}, "
            f"one or {channels} along axis {axis} expected"
        )
    if count > 1 and any(quant.zero_points):
        raise UnsupportedError(f"weights {tensor.name!r} have a zero point per channel, 0 expected")
    zero = quant.zero_points[0]
    if not -128 <= zero <= 127:
        raise InvalidValueError(f"weights {tensor.name!r} have zero point {zero}, outside [-128, 127]")
    scales = np.broadcast_to(np.asarray(quant.scales, np.float64), (channels,))
    return Layer(data, scales, zero, bias_codes(inputs, channels), tensor.coding)


def bias_codes(inputs: Sequence[Tensor | None], channels: int) -> np.ndarray:
    """Return the constant bias (input 2) as int64 (O,); zeros when it is absent."""
    tensor = inputs[2] if len(inputs) > 2 else None
    if tensor is None:
        return np.zeros(channels, np.int64)
    require_dtype(tensor, DType.S32, DType.S64)
    if tensor.elements != channels:
        raise GraphError(f"bias {tensor.name!r} has {tensor.elements} entries, {channels} output channels expected")
    return constant_of(tensor, "bias").reshape(-1).astype(np.int64)


def real_multipliers(source: Tensor, scales: np.ndarray, target: Tensor) -> np.ndarray:
    """Return s_x * s_w / s_y per channel (O,), in double precision."""
    return quant_of(source, "input").scale * scales / quant_of(target, "output").scale


def convolution_multipliers(source: Tensor, layer: Layer, target: Tensor, *, single: bool) -> np.ndarray:
    """Return the multipliers (O,) of a convolution.

    ``single`` rounds s_x * s_w to float32, as LiteRT does for legacy uint8 models, which have one scale of weights.
    """
    if not single:
        return real_multipliers(source, layer.scales, target)
    product = f32(quant_of(source, "input").scale * float(layer.scales[0]))
    return np.full(len(layer.scales), product / quant_of(target, "output").scale)


def fold_channels(layer: Layer, reals: np.ndarray, *, input_zero: int, mode: Mode) -> Channels:
    """Fold a layer for int8 activations; reals are its multipliers (O,).

    A channel whose multiplier underflows to zero gives the output's zero point whatever its sum, so its bias is
    dropped. Raises InvalidValueError when an int32 accumulator could overflow.
    """
    weights = layer.weights.reshape(len(reals), -1).astype(np.int64) - layer.weights_zero
    require_depth(weights.shape[1])
    multipliers, shifts = split_multipliers(reals, mode)
    live = multipliers != 0
    bias = np.where(live, layer.bias - input_zero * weights.sum(axis=1), 0)
    prove_accumulator(weights[live], bias[live], input_peak=128, shifts=shifts[live], mode=mode)
    return Channels(layer.weights, bias.astype(np.int32), multipliers, shifts, layer.weights_zero)


def fold_wide_channels(layer: Layer, reals: np.ndarray, *, source: Tensor, target: Tensor, mode: Mode) -> Channels:
    """Fold a layer for int16 activations, whose zero points are 0, with 64-bit accumulators.

    Raises InvalidValueError for a zero point, or a bias or multiplier beyond the accumulator.
    """
    zeros = (quant_of(source).zero_point, layer.weights_zero, quant_of(target).zero_point)
    if any(zeros):
        raise InvalidValueError(f"zero points {zeros} of input, weights and output, 0 expected with int16 activations")
    if layer.weights[0].size > MAX_WIDE_DEPTH:
        raise UnsupportedError(f"{layer.weights[0].size} products per output, at most {MAX_WIDE_DEPTH} expected")
    if np.any(reals >= 2.0**14):
        raise InvalidValueError(f"multiplier {reals.max():.6g} is too large for int16 activations")
    multipliers, shifts = split_multipliers(reals, mode)
    bias = np.where(multipliers != 0, layer.bias, 0)
    if np.any(np.abs(bias) > MAX_WIDE_BIAS):
        raise InvalidValueError(f"bias {int(np.abs(bias).max())} is larger than {MAX_WIDE_BIAS}")
    return Channels(layer.weights, bias, multipliers, shifts)


def require_depth(depth: int) -> None:
    """Raise UnsupportedError for more products per output than kernels for int8 activations add up."""
    if depth > MAX_DEPTH:
        raise UnsupportedError(f"{depth} products per output, at most {MAX_DEPTH} expected")


def split_multipliers(reals: np.ndarray, mode: Mode) -> tuple[np.ndarray, np.ndarray]:
    """Return real multipliers (O,) as int32 and int8 arrays (O,) of m and shift."""
    pairs = [multiplier(float(real), mode) for real in reals]
    return np.array([m for m, _ in pairs], np.int32), np.array([shift for _, shift in pairs], np.int8)


def exact_multiplier(real: float, split: tuple[int, int], *, peak: int, zero: int, bounds: Pair) -> int:
    """Return the multiplier that makes mode EXACT equal round_away(acc * real) in float64 wherever |acc| <= peak.

    split is the nearest (m, shift). A requantization is monotone, so comparing both around each of their output steps
    compares them everywhere. Where 31 bits are too coarse, a neighbour of m may serve; InvalidValueError if not.
    """
    nearest, shift = split
    if nearest == 0:
        return 0
    steps = np.arange(bounds[0] - zero, bounds[1] - zero + 2, dtype=np.float64) - 0.5
    near = np.floor(np.clip(steps / real, -peak, peak)).astype(np.int64)
    sums = np.unique(np.clip(near[:, None] + np.arange(-2, 4), -peak, peak))
    expected = np.clip(round_away(sums * real) + zero, *bounds)
    for delta in (0, 1, -1, 2, -2, 3, -3, 4, -4):
        found = requant(sums, nearest + delta, shift, Mode.EXACT)
        if nearest + delta < 2**31 and np.array_equal(np.clip(found + zero, *bounds), expected):
            return nearest + delta
    raise InvalidValueError(
        f"multiplier {real:.9g} has no 31-bit form that rounds as float64 does",
        hint="use the native rounding",
    )


def prove_exact(channels: Channels, reals: np.ndarray, *, zero: int, bounds: Pair) -> tuple[Channels, Mode]:
    """Apply exact_multiplier to every channel, over the accumulators that its weights and bias allow.

    Returns with them mode SINGLE, which is cheaper everywhere, where it gives the same for all those accumulators.
    """
    weights = channels.weights.reshape(len(reals), -1).astype(np.int64) - channels.weights_zero
    peaks = np.abs(channels.bias.astype(np.int64)) + 128 * np.abs(weights).sum(axis=1)
    multipliers = np.array(
        [
            exact_multiplier(float(real), (int(m), int(shift)), peak=int(peak), zero=zero, bounds=bounds)
            for real, m, shift, peak in zip(reals, channels.multipliers, channels.shifts, peaks, strict=True)
        ],
        np.int32,
    )
    mode = Mode.EXACT if np.any(meets_ties(multipliers, channels.shifts, peaks)) else Mode.SINGLE
    return dataclasses.replace(channels, multipliers=multipliers), mode


def meets_ties(multipliers: np.ndarray, shifts: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """Return per channel whether x * m * 2^(shift - 31) lies halfway between integers for an x with |x| <= peak.

    It does for odd multiples of 2^e, e = 30 - shift - (trailing zeros of m), so for none when 2^e > peak or e < 0.
    """
    m = multipliers.astype(np.int64)
    trailing = np.log2(np.where(m != 0, m & -m, 1))
    exponents = 30 - shifts.astype(np.int64) - trailing
    return np.asarray((m != 0) & (exponents >= 0) & (2.0**exponents <= peaks))


def shape_of_rank(tensor: Tensor, rank: int, what: str) -> Shape:
    """Return the tensor's shape, which must have this rank."""
    if len(tensor.shape) != rank:
        raise GraphError(f"{what} {tensor.name!r} has shape {list(tensor.shape)}, rank {rank} expected")
    return tensor.shape


def random_layer(op: Op, rng: np.random.Generator, *, x: Shape, w: Shape) -> Case:
    """Draw tensors for a layer with input shape x and weight shape w: zero points, scales per tensor or channel,
    int8 or int16 activations, int8 or low-bit weights, with or without bias."""
    wide = op.name != "transpose_conv" and rng.random() < 0.2
    dtype = DType.S16 if wide else DType.S8
    axis, count = op.weight_axis, w[op.weight_axis]
    depth = int(np.prod(w)) / count
    scales = 2.0 ** rng.uniform(-9, -5, size=count if rng.random() < 0.7 else 1)
    weights_zero = int(rng.integers(-128, 128)) if len(scales) == 1 and not wide and rng.random() < 0.3 else 0
    per_tensor = QuantParams.of(scales[0], weights_zero)
    quant_w = per_tensor if len(scales) == 1 else QuantParams.per_channel(scales, axis)
    scale_x = 2.0 ** rng.uniform(-8, 0) / (256 if wide else 1)
    scale_y = scale_x * float(np.max(scales)) * 64 * np.sqrt(depth) * 2.0 ** rng.uniform(-1, 1)
    quant_x = QuantParams.of(scale_x, 0 if wide else int(rng.integers(-128, 128)))
    quant_y = QuantParams.of(scale_y, 0 if wide else int(rng.integers(-128, 128)))
    tensors: list[Tensor | None] = [
        Tensor("x", x, dtype, quant_x),
        Tensor("w", w, DType.S8, quant_w, rng.integers(-127, 128, size=w).astype(np.int8)),
    ]
    if rng.random() < 0.7:
        data = rng.integers(-4000, 4001, size=count).astype(np.int64 if wide else np.int32)
        quant_b = QuantParams.per_channel(scale_x * np.broadcast_to(scales, (count,)), 0)
        tensors.append(Tensor("b", (count,), DType.of_numpy(data.dtype), quant_b, data))
    weights, bias = tensors[1], tensors[2] if len(tensors) > 2 else None
    if weights is not None and not wide and weights_zero == 0 and op.name != "transpose_conv" and rng.random() < 0.3:
        coded = random_coded(rng, weights, bias, axis=axis, input_scale=quant_x.scale)
        tensors[1:] = coded if bias is not None else coded[:1]
    (shape,) = op.infer_shape(tensors)
    return Case(op, tuple(tensors), (Tensor("y", shape, dtype, quant_y),))


def random_activation(rng: np.random.Generator) -> Activation:
    """Draw a fused activation."""
    return list(Activation)[int(rng.integers(len(Activation)))]

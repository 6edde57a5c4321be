# SPDX-License-Identifier: Apache-2.0
"""From real numbers to int8 and int32 codes: parameters of a range, weights, biases and other constants."""

from __future__ import annotations

import math
import warnings

import numpy as np

from edgeq.errors import InvalidValueError
from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import INT32_MAX, round_away
from edgeq.ir.qparams import QuantParams
from edgeq.quantize.pot import scale_of_range

RANGE_BITS = 16
NO_SCALE = 1e-30  # tensors and channels whose scale would be smaller count as all-zero
_WEIGHT_MAX = 127


def round_range(value: float) -> float:
    """Round to 16 significant bits, so that the last bits of float sums, which differ between hosts, do not show."""
    fraction, exponent = math.frexp(value)
    return math.ldexp(float(round_away(fraction * 2**RANGE_BITS)), exponent - RANGE_BITS)


def params_of_range(
    low: float, high: float, *, name: str, dtype: DType = DType.S8, scales: str = "asymmetric"
) -> QuantParams:
    """Return parameters that represent [low, high], widened to hold zero.

    ``scales`` "asymmetric" uses every code. "symmetric" has zero point 0, or -128 where nothing is negative, as int16
    always has 0. With "pot" the zero point is 0 and the scale the smallest power of two that reaches both ends, but for
    one step. A range of zeros only gets scale 1. Raises InvalidValueError for a range that is not finite.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if not math.isfinite(high - low):
        raise InvalidValueError(f"tensor {name!r}: the range [{low:g}, {high:g}] is not finite")
    bottom, top = dtype.limits
    if dtype is DType.S16 or scales == "pot" or (scales == "symmetric" and low < 0):
        low, high, bottom = -max(-low, high), max(-low, high), -top
    if high - low < NO_SCALE * (top - bottom):
        if high != low:
            warnings.warn(f"tensor {name!r}: the range [{low:g}, {high:g}] is taken as zero", stacklevel=2)
        return QuantParams.of(1.0)
    if scales == "pot":
        return QuantParams.of(scale_of_range(low, high, bits=top.bit_length() + 1))
    scale = float(np.float32((high - low) / (top - bottom)))
    zero = 0 if bottom == -top else int(np.clip(round_away(bottom - low / scale), bottom, top))
    return QuantParams.of(scale, zero)


def quantize(values: np.ndarray, params: QuantParams, dtype: DType = DType.S8) -> np.ndarray:
    """Return the nearest codes, ties away from zero, clamped to the dtype; per-tensor parameters."""
    codes = round_away(values.astype(np.float64) / params.scale) + params.zero_point
    return np.asarray(np.clip(codes, *dtype.limits), dtype.numpy)


def quantize_weights(
    weights: np.ndarray, axis: int, *, name: str, least: np.ndarray | None = None
) -> tuple[np.ndarray, QuantParams]:
    """Quantize to [-127, 127] with one scale per slice along ``axis``; an all-zero slice gets the largest scale.

    ``least`` (C,) are scales that no slice may go below, see ``least_scales``.
    """
    along = [1] * weights.ndim
    along[axis] = weights.shape[axis]
    others = tuple(other for other in range(weights.ndim) if other != axis)
    peaks = np.abs(weights.astype(np.float64)).max(axis=others, initial=0)  # (C,)
    scales = usable_scales(peaks / _WEIGHT_MAX, what=f"weights {name!r}")
    if least is not None:
        scales = np.maximum(scales, least.astype(np.float32))
    codes = np.clip(round_away(weights.astype(np.float64) / scales.reshape(along)), -_WEIGHT_MAX, _WEIGHT_MAX)
    return codes.astype(np.int8), QuantParams.per_channel(scales, axis)


def usable_scales(scales: np.ndarray, *, what: str = "weights") -> np.ndarray:
    """Return scales (C,) >= 0 rounded to float32, with the largest in place of those that are zero; 1 if all are.

    Scales under 1e-30 count as zero; a warning says so.
    """
    empty = scales < NO_SCALE
    if np.any(empty & (scales > 0)):
        channel = int(np.argmax(empty & (scales > 0)))
        warnings.warn(f"{what}: channel {channel}, of scale {scales[channel]:g}, is taken as zero", stacklevel=3)
    rounded = scales.astype(np.float32).astype(np.float64)
    largest = float(rounded.max(initial=0, where=~empty))
    return np.where(empty, largest if largest > 0 else 1.0, rounded)


def least_scales(bias: np.ndarray, input_scale: float) -> np.ndarray:
    """Return the weight scales (C,) below which bias codes would exceed 2^29, a quarter of int32.

    Dead channels, whose weights are next to nothing beside their bias, need them. Coarser weights do no harm there: K
    products change by at most K * 255 / 2 steps of the accumulator, K / 2^22 of the bias.
    """
    return np.asarray(np.abs(bias.astype(np.float64)) / (input_scale * 2.0**29))


def quantize_bias(
    bias: np.ndarray, *, input_scale: float, weights: QuantParams, dtype: DType = DType.S32
) -> tuple[np.ndarray, QuantParams]:
    """Quantize a bias (C,) to int32 or int64 with the scales of the accumulator, input scale times weight scale.

    Raises InvalidValueError for a code beyond int32, or beyond 2^46 for int64, naming the channel.
    """
    most = INT32_MAX if dtype is DType.S32 else 2**46
    scales = input_scale * np.broadcast_to(np.array(weights.scales), bias.shape)  # (C,) float64
    codes = round_away(bias.astype(np.float64) / scales)
    worst = int(np.argmax(np.abs(codes))) if codes.size else 0
    if codes.size and abs(codes[worst]) > most:
        raise InvalidValueError(
            f"bias {float(bias[worst]):g} of output channel {worst} is {codes[worst]:.4g} steps of "
            f"{scales[worst]:.4g}, more than {dtype.numpy} sums hold ({most})",
            hint="the channel's weights are far too small beside its bias; set them to zero",
        )
    return codes.astype(dtype.numpy), QuantParams.per_channel(scales, 0)

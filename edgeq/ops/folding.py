# SPDX-License-Identifier: Apache-2.0
"""What operators share when they fold scales into integers: multipliers, clamp bounds, overflow proofs, geometry."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from edgeq.errors import GraphError, InvalidValueError, UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import INT32_MAX, Mode, quantize_multiplier, round_away
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Activation, Shape, Step

_HALF = 2**30  # the multiplier of powers of two
_Step = TypeVar("_Step", bound=Step)


def required(tensors: Sequence[Tensor | None], position: int, what: str) -> Tensor:
    """Return the tensor at a position, which must be there."""
    tensor = tensors[position] if position < len(tensors) else None
    if tensor is None:
        raise GraphError(f"{what} (input {position}) is missing")
    return tensor


def constant_of(tensor: Tensor, what: str) -> np.ndarray:
    """Return a constant's data; raises UnsupportedError when it is computed at run time."""
    if tensor.data is None:
        raise UnsupportedError(f"{what} {tensor.name!r} is not a constant", hint="freeze it before converting")
    return tensor.data


def quant_of(tensor: Tensor, what: str = "tensor") -> QuantParams:
    """Return a tensor's quantization parameters, which must be there."""
    if tensor.quant is None:
        raise InvalidValueError(f"{what} {tensor.name!r} has no quantization parameters")
    return tensor.quant


def require_dtype(tensor: Tensor, *allowed: DType) -> DType:
    """Return the tensor's dtype; raises UnsupportedError when it is none of those allowed."""
    if tensor.dtype not in allowed:
        names = " or ".join(dtype.numpy.name for dtype in allowed)
        raise UnsupportedError(f"tensor {tensor.name!r} is {tensor.dtype.numpy.name}, {names} expected")
    return tensor.dtype


def require_same_quant(tensors: Sequence[Tensor]) -> None:
    """Raise InvalidValueError unless all tensors share one scale and zero point."""
    first = quant_of(tensors[0])
    for tensor in tensors[1:]:
        quant = quant_of(tensor)
        if quant.scale != first.scale or quant.zero_point != first.zero_point:
            raise InvalidValueError(
                f"tensors {tensors[0].name!r} (scale {first.scale:.9g}, zero point {first.zero_point}) and "
                f"{tensor.name!r} (scale {quant.scale:.9g}, zero point {quant.zero_point}) must share one scale"
            )


def require_quant(target: Tensor, fixed: QuantParams) -> None:
    """Raise InvalidValueError unless the output has the parameters that its operator prescribes."""
    quant = quant_of(target, "output")
    if (quant.scale, quant.zero_point) != (fixed.scale, fixed.zero_point):
        raise InvalidValueError(
            f"output {target.name!r} has scale {quant.scale:.9g} and zero point {quant.zero_point}, "
            f"{fixed.scale:.9g} and {fixed.zero_point} expected"
        )


def f32(value: float) -> float:
    """Round to float32, kept as a double."""
    return float(np.float32(value))


def multiplier(real: float, mode: Mode) -> tuple[int, int]:
    """Split a real multiplier into (m, shift) as fields of a step."""
    if mode is Mode.INT16 and real >= 2.0**14:
        raise InvalidValueError(f"multiplier {real:.6g} is too large for 16-bit requantization")
    return quantize_multiplier(real, mode=mode)


def shifts_alone(step: _Step) -> _Step:
    """Return the step in mode SHIFT if its mode is SINGLE and all its multipliers are powers of two, else as it is.

    The integers stay the same. Multipliers are the fields whose names say so, each with a field for its shift. A zero
    becomes (2^30, -31), which is x / 2^32 and rounds every int32 to zero, too.
    """
    if getattr(step, "mode", None) != Mode.SINGLE:
        return step
    changes: dict[str, object] = {"mode": int(Mode.SHIFT)}
    for name in (field.name for field in dataclasses.fields(step) if "multiplier" in field.name):
        m, shift = getattr(step, name), getattr(step, name.replace("multiplier", "shift"))
        if np.any((np.asarray(m) != 0) & (np.asarray(m) != _HALF)):
            return step
        if isinstance(m, np.ndarray):
            changes[name] = np.full_like(m, _HALF)
            changes[name.replace("multiplier", "shift")] = np.where(m != 0, shift, -31).astype(shift.dtype)
        elif m == 0:
            changes |= {name: _HALF, name.replace("multiplier", "shift"): -31}
    return dataclasses.replace(step, **changes)


def activation_bounds(activation: Activation, quant: QuantParams, dtype: DType) -> tuple[int, int]:
    """Return the smallest and largest output code that a fused activation allows."""
    low, high = dtype.limits
    lower, upper = activation.value

    def code(real: float) -> int:
        return quant.zero_point + int(round_away(np.asarray(np.float32(real) / np.float32(quant.scale))))

    if lower is not None:
        low = max(low, code(lower))
    if upper is not None:
        high = min(high, code(upper))
    return low, high


def prove_accumulator(
    weights: np.ndarray, bias: np.ndarray, *, input_peak: int, shifts: np.ndarray, mode: Mode
) -> None:
    """Prove that no int32 accumulator overflows; weights (O, K) integers, bias (O,) with the zero point folded in.

    Nor may a multiplier above 1 take one out of int32: mode double would wrap, the others would cut off the result.
    input_peak is the largest magnitude of an input code. Raises InvalidValueError naming the channel.
    """
    bounds = np.abs(bias.astype(np.int64)) + input_peak * np.abs(weights.astype(np.int64)).sum(axis=1)
    if mode is not Mode.INT16:
        bounds = bounds << np.maximum(shifts.astype(np.int64), 0)
    worst = int(np.argmax(bounds)) if bounds.size else 0
    if bounds.size and bounds[worst] > INT32_MAX:
        raise InvalidValueError(
            f"the accumulator of output channel {worst} can reach {int(bounds[worst])}, more than int32 holds "
            f"({INT32_MAX})",
            hint="check the scales of the weights and the bias",
        )


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Return (output size, padding before) of SAME padding."""
    out = -(-size // stride)
    total = max(0, (out - 1) * stride + (kernel - 1) * dilation + 1 - size)
    return out, total // 2


def valid_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Return (output size, 0) of VALID padding; the size may come out <= 0."""
    return -(-(size - (kernel - 1) * dilation) // stride), 0


def broadcast_shape(first: Shape, second: Shape) -> Shape:
    """Broadcast two shapes as NumPy does; raises GraphError when they do not go together."""
    try:
        return tuple(int(size) for size in np.broadcast_shapes(first, second))
    except ValueError:
        raise GraphError(f"shapes {list(first)} and {list(second)} do not broadcast") from None

# SPDX-License-Identifier: Apache-2.0
"""Unary functions of an int16 tensor as a 513-entry table with linear interpolation between every 128 codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import round_away
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Fold, Step, constant
from edgeq.ops.folding import quant_of, require_dtype

_INTERVALS = 512


@dataclass(frozen=True)
class LutS16Step(Step):
    """out[i] = table at 256 + in[i] / 128, interpolated linearly and rounded."""

    name: ClassVar[str] = "lut_s16"
    code: ClassVar[int] = 24
    in_place: ClassVar[tuple[int, ...]] = (0,)

    count: int
    table: np.ndarray = constant(DType.S16)  # (513,)

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [interpolate(self.table, np.asarray(inputs[0]).astype(np.int64)).astype(np.int16)]


def interpolate(table: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Look int16 codes up in a table (513,), linearly between every 128 codes; returns int64."""
    entries = table.astype(np.int64)
    index = 256 + codes // 128
    slope = entries[index + 1] - entries[index]
    slope = (slope + 2**15) % 2**16 - 2**15  # held in 16 bits
    return np.asarray(entries[index] + (slope * (codes % 128) + 64) // 128)


def fold_table_s16(source: Tensor, target: Tensor, function: Callable[[np.ndarray], np.ndarray]) -> Fold:
    """Fold a real function into LiteRT's table, evaluated in float32; each entry is moved by half of the error that
    interpolation makes in the middle of its interval."""
    require_dtype(source, DType.S16)
    require_dtype(target, DType.S16)
    quant_in, quant_out = quant_of(source, "input"), quant_of(target, "output")
    return Fold(
        LutS16Step(
            count=source.elements,
            table=interpolation_table(
                function,
                inputs=(quant_in.scale, quant_in.zero_point),
                outputs=(quant_out.scale, quant_out.zero_point),
            ),
        )
    )


def interpolation_table(
    function: Callable[[np.ndarray], np.ndarray],
    *,
    inputs: tuple[float, int],
    outputs: tuple[float, int],
    real: type[np.floating] = np.float32,
) -> np.ndarray:
    """Return the table (513,) of a function between int16 codes with (scale, zero point) at either side.

    ``real`` is the precision that it is worked out in.
    """
    low, high = DType.S16.limits

    def bounds(scale: float, zero_point: int) -> tuple[np.floating, np.floating]:
        return real(scale) * real(low - zero_point), real(scale) * real(high - zero_point)

    input_low, input_high = bounds(*inputs)
    output_low, output_high = bounds(*outputs)
    step = (input_high - input_low) / real(_INTERVALS)
    inverse = real(high - low + 1) / (output_high - output_low)
    starts = input_low + np.arange(_INTERVALS, dtype=real) * step

    def scaled(places: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return np.asarray(np.clip(function(places) * inverse, -(2.0**24), 2.0**24))

    values = round_away(scaled(starts))
    middles = round_away(scaled(starts + step / real(2)))
    ends = scaled(input_low + np.arange(1, _INTERVALS + 1, dtype=real) * step)
    last = round_away(scaled(np.array([input_high], real)))
    interpolated = round_away((ends + values) / real(2))
    corrections = round_away((interpolated - middles) / real(2))
    table: np.ndarray = np.clip(np.concatenate([values - corrections, last]), low, high).astype(np.int16)
    return table

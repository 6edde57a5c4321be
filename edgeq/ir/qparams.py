# SPDX-License-Identifier: Apache-2.0
"""Quantization parameters of a tensor: real = scale * (code - zero_point)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeq.errors import InvalidValueError

SMALLEST_SCALE = 1.17549435e-38  # the smallest normal float32


@dataclass(frozen=True)
class QuantParams:
    """Scales (float32) and zero points (one, or one per channel along ``axis``)."""

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int | None = None

    def __post_init__(self) -> None:
        if not self.scales or len(self.scales) != len(self.zero_points):
            raise InvalidValueError(f"{len(self.scales)} scales with {len(self.zero_points)} zero points")
        if (len(self.scales) > 1) and self.axis is None:
            raise InvalidValueError(f"{len(self.scales)} scales without the axis that they belong to")
        for index, scale in enumerate(self.scales):
            if not np.isfinite(scale) or scale < SMALLEST_SCALE:
                raise InvalidValueError(f"scale {scale!r} at index {index} is not a normal positive float32")

    @classmethod
    def of(cls, scale: float, zero_point: int = 0) -> QuantParams:
        """Make per-tensor parameters; the scale is rounded to float32 first."""
        return cls((float(np.float32(scale)),), (int(zero_point),))

    @classmethod
    def per_channel(cls, scales: np.ndarray, axis: int) -> QuantParams:
        """Make symmetric per-channel parameters from scales (C,), rounded to float32 first."""
        rounded = tuple(float(scale) for scale in np.asarray(scales, np.float32))
        return cls(rounded, (0,) * len(rounded), axis)

    @property
    def scale(self) -> float:
        """The only scale, a float32 value held as a double; raises when there is one per channel."""
        if len(self.scales) != 1:
            raise InvalidValueError(f"one scale per tensor expected, {len(self.scales)} found")
        return self.scales[0]

    @property
    def zero_point(self) -> int:
        if len(self.zero_points) != 1:
            raise InvalidValueError(f"one zero point per tensor expected, {len(self.zero_points)} found")
        return self.zero_points[0]

    @property
    def is_per_channel(self) -> bool:
        return self.axis is not None and len(self.scales) > 1

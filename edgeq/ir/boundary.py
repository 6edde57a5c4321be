# SPDX-License-Identifier: Apache-2.0
"""Real values to codes and back at a model's inputs and outputs, exactly as LiteRT's QUANTIZE and DEQUANTIZE."""

from __future__ import annotations

import numpy as np

from edgeq.errors import InvalidValueError
from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import round_away
from edgeq.ir.qparams import QuantParams


def quantize_real(values: np.ndarray, quant: QuantParams, dtype: DType) -> np.ndarray:
    """Quantize real values: round_away(float32(value / scale)) + zero point, clamped to the range of ``dtype``.

    Returns codes of ``dtype`` in the shape of ``values``. Raises InvalidValueError for NaN and infinities.
    """
    values = np.asarray(values, np.float32)
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        raise InvalidValueError(f"value {values.reshape(-1)[wrong[0]]} at index {int(wrong[0])} is not finite")
    with np.errstate(over="ignore"):
        ratios = values / np.float32(quant.scale)  # may become infinite, and is clamped then
    codes = round_away(ratios.astype(np.float64)) + quant.zero_point
    return np.asarray(np.clip(codes, *dtype.limits)).astype(dtype.numpy)


def dequantize(codes: np.ndarray, quant: QuantParams) -> np.ndarray:
    """Return the real values of codes, scale * (code - zero point), as float32; the shape stays."""
    return np.float32(quant.scale) * (np.asarray(codes, np.int64) - quant.zero_point).astype(np.float32)

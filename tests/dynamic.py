# SPDX-License-Identifier: Apache-2.0
"""Layers with run-time scales: their definition in real numbers, and steps to hold against it."""

from __future__ import annotations

import numpy as np

from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import round_away
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ir.run_time_scale import real_of_scale
from edgeq.ops.base import Fold, Rounding
from edgeq.ops.dynamic_linear import DynamicLinear, bias_tensor
from edgeq.ops.dynamic_quantize import DynamicQuantize, dynamic_outputs
from edgeq.ops.dynamic_rows import RowRange

UNIT = (2**30, 1)  # the scale 1


def rows_in_reals(x, row_range):
    """Quantize each row of x (T, K) in float64, and return what its codes stand for."""
    low, high = np.minimum(x.min(axis=1), 0), np.maximum(x.max(axis=1), 0)
    if row_range is RowRange.SYMMETRIC:
        largest = np.maximum(-low, high)
        scale = np.where(largest > 0, largest / 127, 1)[:, None]
        return scale * np.clip(round_away(x / scale), -127, 127)
    if row_range is RowRange.MEAN_STD:
        mean, std = x.mean(axis=1), x.std(axis=1)
        low = np.minimum(np.maximum(mean - 3 * std, low), 0)
        high = np.maximum(np.minimum(mean + 3 * std, high), 0)
    scale = np.where(high > low, (high - low) / 255, 1)[:, None]
    zero = np.clip(round_away(-128 - low[:, None] / scale), -128, 127)
    return scale * (np.clip(round_away(x / scale + zero), -128, 127) - zero)


def layer_in_reals(x, w, b, row_range, *, relu=True):
    y = rows_in_reals(x, row_range) @ w.T + b
    return np.maximum(y, 0) if relu else y


def decoded(codes, scales):
    """Return what dynamic codes (T, K) stand for."""
    reals = np.array([real_of_scale((int(m), int(e))) for m, e, _ in scales])
    return reals[:, None] * (codes.reshape(len(scales), -1).astype(np.float64) - scales[:, 2:])


def encoded(x, row_range):
    """Quantize rows of int16 codes of scale 1 on the device."""
    source = Tensor("x", x.shape, DType.S16, QuantParams.of(1.0))
    op = DynamicQuantize(len(x), row_range)
    return op.reference_q(
        [x.astype(np.int16)], inputs=[source], outputs=dynamic_outputs(x.shape, len(x)), rounding=Rounding.NATIVE
    )


def weights(count, depth, seed=0):
    """Draw a layer: int8 codes as a tensor, their real values, and a bias."""
    rng = np.random.default_rng([seed, count, depth])
    quant = QuantParams.per_channel(2.0 ** rng.uniform(-9, -5, count), 0)
    codes = np.clip(np.round(rng.standard_normal((count, depth)) * 40), -127, 127).astype(np.int8)
    return (
        Tensor("w", codes.shape, DType.S8, quant, codes),
        codes * np.array(quant.scales)[:, None],
        rng.standard_normal(count),
    )


def fold(layer, x_shape, w, b, *, rows, source=RowRange.SYMMETRIC, result=None, target=None):
    """Fold a dynamic layer whose scales come at run time."""
    op = DynamicLinear(layer, rows, source, result)
    bias = None if b is None else bias_tensor("b", np.asarray(b, np.float64))
    codes, scales = dynamic_outputs(x_shape, rows, "x")
    inputs = [codes, w, bias, scales]
    shape = op.infer_shape(inputs)[0]
    outputs = dynamic_outputs(shape, rows) if result is not None else [Tensor("y", shape, *target)]
    folded = op.fold(inputs, outputs, rounding=Rounding.NATIVE)
    assert isinstance(folded, Fold)
    return folded.step

# SPDX-License-Identifier: Apache-2.0
"""Random cases of convolutions and matrix products. Each function returns the model's outputs."""

from __future__ import annotations

import math

import numpy as np
from conformance.draft import Draft, Draw, Quant, Shape

Pair = tuple[int, int]


def _weights(draft: Draft, shape: Shape, dtype: str, *, axis: int) -> tuple[int, np.ndarray]:
    """Add constant weights; return their number and their scales, one or one for each output channel."""
    draw = draft.draw
    channels = shape[axis]
    if dtype == "uint8":
        scale = draw.scale(-10, -4)
        return draft.constant(draw.codes(shape, dtype), Quant(scale, draw.zero(dtype))), np.array([scale])
    codes = np.maximum(draw.codes(shape, "int8"), -127)
    if draw.chance(0.25):
        scale = draw.scale(-10, -4)
        return draft.constant(codes, Quant(scale)), np.array([scale])
    scales = (draw.scale(-10, -4) * 2.0 ** draw.rng.uniform(-2, 2, channels)).astype(np.float32)
    if draw.chance(0.1):
        scales[draw.integer(0, channels - 1)] *= np.float32(2.0**-8)
    return draft.constant(codes, scale=scales.tolist(), axis=axis), scales.astype(np.float64)


def _bias(draft: Draft, dtype: str, *, products: np.ndarray, channels: int, peak: float) -> int | None:
    """Add a bias whose codes are of the sums' magnitude; None, by chance, for a layer without."""
    draw = draft.draw
    if draw.chance(0.15):
        return None
    spread = draw.one(20000.0, peak, 10.0)
    wide = dtype == "int16" and draw.chance(0.8)
    codes = np.rint(draw.rng.uniform(-spread, spread, channels)).astype(np.int64 if wide else np.int32)
    return draft.constant(codes, scale=products.astype(np.float32).tolist(), axis=0)


def _layer(
    draft: Draft, dtype: str, *, source: Quant, weights: np.ndarray, depth: int, channels: int, shape: Shape
) -> tuple[int | None, int]:
    """Add bias and output of a layer of ``depth`` products an output."""
    products = source.scale * weights
    peak = math.sqrt(depth) * (70 * 70 if dtype != "int16" else 70 * 15000)
    bias = _bias(draft, dtype, products=products, channels=channels, peak=peak)
    ideal = float(np.median(products)) * peak / (60 if dtype != "int16" else 15000)
    return bias, draft.tensor(shape, dtype, draft.draw.near(ideal, dtype))


def _windows(draw: Draw, *, dilated: bool = True) -> tuple[Pair, Pair, Pair, Pair, int, Pair]:
    """Return (size, kernel, stride, dilation, padding, output size): kernels even, odd, or larger than the image."""
    while True:
        size, padding = (draw.integer(1, 16), draw.integer(1, 16)), draw.one(0, 1)
        square = draw.integer(1, 7)
        kernel = draw.one((square, square), (draw.integer(1, 7), draw.integer(1, 7)), (1, 1), (3, 3))
        stride = draw.one((1, 1), (2, 2), (draw.integer(1, 4), draw.integer(1, 4)))
        dilation = (1, 1)
        if dilated and draw.chance(0.35):
            dilation = (draw.integer(1, 3), draw.integer(1, 3))
        span = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
        out = tuple(-(-(n - extra * padding) // s) for n, extra, s in zip(size, span, stride, strict=True))
        if min(out) > 0:
            return size, kernel, stride, dilation, padding, (out[0], out[1])


def _window_options(draw: Draw, stride: Pair, dilation: Pair, padding: int) -> dict[str, int]:
    return {
        "Padding": padding, "StrideH": stride[0], "StrideW": stride[1], "DilationHFactor": dilation[0],
        "DilationWFactor": dilation[1], "FusedActivationFunction": draw.activation(),
    }  # fmt: skip


def _bias_type(draft: Draft, bias: int | None, dtype: str) -> dict[str, int]:
    """The option by which LiteRT tells int32 from int64 biases of int16 layers; int64 is its default."""
    if dtype != "int16" or bias is None:
        return {}
    return {"QuantizedBiasType": 2} if draft.is_narrow(bias) else draft.draw.one({}, {"QuantizedBiasType": 4})


def _with_bias(inputs: list[int], bias: int | None) -> list[int]:
    return inputs if bias is None else [*inputs, bias]


def conv2d(draft: Draft, dtype: str, *, grouped: bool = False) -> list[int]:
    draw = draft.draw
    size, kernel, stride, dilation, padding, out = _windows(draw)
    groups = draw.integer(2, 4) if grouped else 1
    depth, channels = draw.one(draw.channels(), draw.integer(1, 40)), groups * draw.integer(1, max(1, 40 // groups))
    if kernel[0] * kernel[1] * depth * channels > 30000:
        depth = 2
    batch, source = draw.one(1, 2, 3), draw.quant(dtype)
    x = draft.input((batch, *size, depth * groups), dtype, source)
    w, scales = _weights(draft, (channels, *kernel, depth), dtype, axis=0)
    bias, y = _layer(
        draft, dtype, source=source, weights=scales, depth=kernel[0] * kernel[1] * depth, channels=channels,
        shape=(batch, *out, channels),
    )  # fmt: skip
    options = {**_window_options(draw, stride, dilation, padding), **_bias_type(draft, bias, dtype)}
    draft.operator("CONV_2D", _with_bias([x, w], bias), [y], ("Conv2DOptions", options), version=3)
    return [y]


def depthwise_conv2d(draft: Draft, dtype: str) -> list[int]:
    draw = draft.draw
    size, kernel, stride, dilation, padding, out = _windows(draw)
    multiplier, depth = draw.one(1, 1, 2, draw.integer(1, 5)), draw.one(1, draw.channels(), draw.integer(1, 48))
    batch, channels, source = draw.one(1, 2), multiplier * depth, draw.quant(dtype)
    x = draft.input((batch, *size, depth), dtype, source)
    w, scales = _weights(draft, (1, *kernel, channels), dtype, axis=3)
    bias, y = _layer(
        draft, dtype, source=source, weights=scales, depth=kernel[0] * kernel[1], channels=channels,
        shape=(batch, *out, channels),
    )  # fmt: skip
    options = {**_window_options(draw, stride, dilation, padding), "DepthMultiplier": multiplier}
    draft.operator("DEPTHWISE_CONV_2D", _with_bias([x, w], bias), [y], ("DepthwiseConv2DOptions", options), version=3)
    return [y]


def transpose_conv(draft: Draft, dtype: str) -> list[int]:
    draw = draft.draw
    size, source = draw.sizes(2, 1, 8), draw.quant(dtype)
    kernel = draw.one((2, 2), (3, 3), (4, 4), draw.sizes(2, 1, 5))
    stride = draw.one((1, 1), (2, 2), (3, 3), draw.sizes(2, 1, 3))
    padding = draw.one(0, 1)
    if padding == 0:
        out = tuple(n * s - draw.integer(0, s - 1) for n, s in zip(size, stride, strict=True))
    else:
        out = tuple((n - 1) * s + k for n, s, k in zip(size, stride, kernel, strict=True))
        if draw.chance(0.2):
            out = tuple(n + draw.integer(0, s - 1) for n, s in zip(out, stride, strict=True))
    batch, depth, channels = draw.one(1, 2), draw.integer(1, 17), draw.integer(1, 17)
    shape = (batch, *out, channels)
    target = draft.numbers(shape)
    w, scales = _weights(draft, (channels, *kernel, depth), dtype, axis=0)
    x = draft.input((batch, *size, depth), dtype, source)
    bias, y = _layer(
        draft, dtype, source=source, weights=scales, depth=depth * kernel[0] * kernel[1], channels=channels, shape=shape
    )
    options = {
        "Padding": padding, "StrideH": stride[0], "StrideW": stride[1], "FusedActivationFunction": draw.activation(),
        **_bias_type(draft, bias, dtype),
    }  # fmt: skip
    draft.operator(
        "TRANSPOSE_CONV", _with_bias([target, w, x], bias), [y], ("TransposeConvOptions", options), version=3
    )
    return [y]


def fully_connected(draft: Draft, dtype: str) -> list[int]:
    draw = draft.draw
    depth, channels, source = (
        draw.one(draw.integer(1, 40), draw.integer(1, 300)),
        draw.integer(1, 70),
        draw.quant(dtype),
    )
    leading = draw.one((1,), (draw.integer(1, 8),), draw.sizes(2, 1, 4), draw.sizes(3, 1, 3))
    keep = len(leading) > 1 and draw.chance(0.6)
    x = draft.input((*leading, depth), dtype, source)
    w, scales = _weights(draft, (channels, depth), dtype, axis=0)
    shape = (*leading, channels) if keep else (math.prod(leading), channels)
    bias, y = _layer(draft, dtype, source=source, weights=scales, depth=depth, channels=channels, shape=shape)
    options = {
        "FusedActivationFunction": draw.activation(), "KeepNumDims": keep, **_bias_type(draft, bias, dtype),
    }  # fmt: skip
    absent = [] if draw.chance(0.5) else [-1]
    inputs = [x, w, *absent] if bias is None else [x, w, bias]
    draft.operator("FULLY_CONNECTED", inputs, [y], ("FullyConnectedOptions", options), version=5)
    return [y]


def batch_matmul(draft: Draft, dtype: str) -> list[int]:
    draw = draft.draw
    rows, depth, columns = draw.sizes(3, 1, draw.one(12, 60))
    batch = draw.one((), (draw.integer(1, 4),), draw.sizes(2, 1, 3), draw.sizes(3, 1, 3))
    other = draw.one(batch, batch, batch, tuple(1 for _ in batch), batch[1:])
    adjoint = draw.chance(0.5), draw.chance(0.5)
    first = (*batch, depth, rows) if adjoint[0] else (*batch, rows, depth)
    second = (*other, columns, depth) if adjoint[1] else (*other, depth, columns)
    quants = draw.quant(dtype), draw.quant(dtype)
    constant = draw.one(None, None, 0, 1)
    a, b = (
        draft.operand(shape, dtype, quant, constant=float(constant == place))
        for place, (shape, quant) in enumerate(zip((first, second), quants, strict=True))
    )
    ideal = quants[0].scale * quants[1].scale * math.sqrt(depth) * (90 if dtype == "int8" else 10000)
    y = draft.tensor((*batch, rows, columns), dtype, draw.near(ideal, dtype))
    draft.operator("BATCH_MATMUL", [a, b], [y], ("BatchMatMulOptions", {"AdjX": adjoint[0], "AdjY": adjoint[1]}))
    return [y]

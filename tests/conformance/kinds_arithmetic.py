# SPDX-License-Identifier: Apache-2.0
"""Random cases of operators on elements, on rows and on windows. Each function returns the model's outputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from conformance.draft import LIMITS, Draft, Draw, Quant, Shape

UNIT = {"int8": Quant(1 / 256, -128), "uint8": Quant(1 / 256, 0), "int16": Quant(1 / 32768)}  # [0, 1]
SIGNED_UNIT = {"int8": Quant(1 / 128, 0), "uint8": Quant(1 / 128, 128), "int16": Quant(1 / 32768)}  # [-1, 1]


def unary(draft: Draft, dtype: str, *, op: str) -> list[int]:
    """A function of each element."""
    draw = draft.draw
    shape = draw.shape()
    source = draw.quant(dtype, -9, 0) if op in ("HARD_SWISH", "GELU", "ELU", "EXP") else draw.quant(dtype)
    target = draw.near(source.scale, dtype)
    options: tuple[str, dict[str, Any]] | None = None
    if op in ("LOGISTIC", "TANH"):
        target = (UNIT if op == "LOGISTIC" else SIGNED_UNIT)[dtype]
    elif op == "RSQRT":
        target = draw.near(1 / math.sqrt(source.scale * 30) / 128, dtype)
    elif op == "EXP":
        target = draw.quant(dtype, -8, 3)
        if dtype == "int16":
            source = draw.quant(dtype, -9, -2)  # exp(x) must not overflow in LiteRT's table
    elif op == "LEAKY_RELU":
        alpha = draw.one(0.01, 0.2, 0.3, -0.5, 0.0, 1.5, float(draw.rng.uniform(-2, 2)))
        options = ("LeakyReluOptions", {"Alpha": alpha})
    elif op == "GELU":
        options = ("GeluOptions", {"Approximate": draw.chance(0.5)})
    codes = draw.codes(shape, dtype)
    if op == "RSQRT":  # LiteRT refuses negative reals
        codes = np.maximum(codes, np.asarray(source.zero, dtype))
    x, y = draft.feed(codes, source), draft.tensor(shape, dtype, target)
    draft.operator(op, [x], [y], options, version=1 if op in ("GELU", "HARD_SWISH", "ELU", "RELU_N1_TO_1") else 2)
    return [y]


def quantize(draft: Draft, dtype: str, *, target: str | None = None) -> list[int]:
    """Codes of one scale to codes of another."""
    draw = draft.draw
    shape, source, other = draw.shape(), draw.quant(dtype), target or dtype
    ideal = source.scale * {("int8", "int16"): 2.0**-8, ("int16", "int8"): 2.0**8}.get((dtype, other), 1.0)
    x, y = draft.input(shape, dtype, source), draft.tensor(shape, other, draw.near(ideal, other))
    draft.operator("QUANTIZE", [x], [y], version=1 if dtype == other else 2)
    return [y]


def prelu(draft: Draft, dtype: str) -> list[int]:
    draw = draft.draw
    shape = (draw.one(1, 2), *draw.sizes(2), draw.channels())
    alpha_shape = draw.one((1, 1, shape[3]), (1, 1, shape[3]), (1, 1, 1), (1, shape[2], 1), shape[1:], (shape[3],))
    source, alpha = draw.quant(dtype), draw.quant(dtype, -10, -5)
    x = draft.input(shape, dtype, source)
    slope = draft.operand(alpha_shape, dtype, alpha, constant=0.9)
    y = draft.tensor(shape, dtype, draw.near(source.scale, dtype))
    draft.operator("PRELU", [x, slope], [y], version=1)
    return [y]


def _operand_shapes(draw: Draw, most: int) -> tuple[Shape, Shape]:
    """Two shapes that broadcast, the smaller on either side."""
    shape = draw.shape(1, most)
    other = draw.one(
        shape,
        shape,
        shape[-1:],
        (1,) * (len(shape) - 1) + shape[-1:],
        (1,) * len(shape),
        (1,),
        (),
        (1, *shape[1:]),
        tuple(size if draw.chance(0.5) else 1 for size in shape),
        tuple(size if draw.chance(0.5) else 1 for size in shape)[draw.integer(0, len(shape) - 1) :],
    )
    if len(other) == len(shape) and draw.chance(0.2):  # each operand repeats along some axis
        shape = tuple(1 if part != 1 and draw.chance(0.3) else size for size, part in zip(shape, other, strict=True))
    return (other, shape) if draw.chance(0.35) else (shape, other)


_BINARY_OPTIONS = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions"}
_MOST_DIMENSIONS = {"ADD": 6, "MUL": 6, "SUB": 5, "MAXIMUM": 5, "MINIMUM": 5, "SQUARED_DIFFERENCE": 4}


def binary(draft: Draft, dtype: str, *, op: str) -> list[int]:
    """A function of two elements, broadcast."""
    draw = draft.draw
    first, second = _operand_shapes(draw, _MOST_DIMENSIONS[op])
    quants = [draw.quant(dtype), draw.quant(dtype)]
    if op in ("MAXIMUM", "MINIMUM"):
        quants = [quants[0]] * 2
        target = quants[0]
    elif op == "MUL":
        target = draw.near(quants[0].scale * quants[1].scale * (2.0**14 if dtype == "int16" else 90), dtype)
    elif op == "SQUARED_DIFFERENCE":
        target = draw.near(max(quant.scale for quant in quants) ** 2 * 150, dtype)
    else:
        target = draw.near(max(quant.scale for quant in quants), dtype)
    constant = draw.one(None, None, 0, 1)  # which operand the file holds
    numbers = [
        draft.operand(shape, dtype, quant, constant=float(constant == place))
        for place, (shape, quant) in enumerate(zip((first, second), quants, strict=True))
    ]
    if constant is None and first == second and draw.chance(0.1):
        numbers[1] = numbers[0]  # an operand with itself
    y = draft.tensor(np.broadcast_shapes(first, second), dtype, target)
    options = None
    if op in _BINARY_OPTIONS:
        values: dict[str, Any] = {"FusedActivationFunction": draw.activation()}
        if op != "MUL":
            values["PotScaleInt16"] = draw.chance(0.5)
        options = (_BINARY_OPTIONS[op], values)
    draft.operator(op, numbers, [y], options)
    return [y]


def shifted_sum(draft: Draft, dtype: str, *, op: str) -> list[int]:
    """ADD or SUB whose scales are all powers of two, for which LiteRT has a kernel of its own."""
    draw = draft.draw
    shape = draw.shape()
    larger = draw.integer(-14, -5)
    scales = [larger, larger - draw.integer(0, 9)]
    target = larger + draw.one(0, 0, 0, 0, 1, -1)
    if draw.chance(0.5):
        scales.reverse()
    numbers = [draft.input(shape, dtype, Quant(2.0**scale)) for scale in scales]
    y = draft.tensor(shape, dtype, Quant(2.0**target))
    values = {"FusedActivationFunction": draw.activation(), "PotScaleInt16": draw.chance(0.8)}
    draft.operator(op, numbers, [y], (_BINARY_OPTIONS[op], values))
    return [y]


def pool(draft: Draft, dtype: str, *, op: str) -> list[int]:
    draw = draft.draw
    size = draw.sizes(2, 1, 15)
    padding = draw.one(0, 1)
    kernel = tuple(draw.integer(1, most if padding == 1 else most + 2) for most in size)
    if draw.chance(0.1):
        kernel = size
    stride = (draw.integer(1, 3), draw.integer(1, 3))
    out = tuple(-(-(n - (k - 1) * padding) // s) for n, k, s in zip(size, kernel, stride, strict=True))
    shape = (draw.one(1, 2, 3), *size, draw.one(draw.channels(), 33, 70))
    quant = draw.quant(dtype)
    x, y = draft.input(shape, dtype, quant), draft.tensor((shape[0], *out, shape[3]), dtype, quant)
    values = {
        "Padding": padding, "StrideH": stride[0], "StrideW": stride[1], "FilterHeight": kernel[0],
        "FilterWidth": kernel[1], "FusedActivationFunction": draw.activation(),
    }  # fmt: skip
    draft.operator(op, [x], [y], ("Pool2DOptions", values))
    return [y]


def softmax(draft: Draft, dtype: str) -> list[int]:
    draw = draft.draw
    shape = draw.shape(1, 4)
    source = draw.quant(dtype, -12, 1)
    x, y = draft.input(shape, dtype, source), draft.tensor(shape, dtype, UNIT[dtype])
    beta = draw.one(1.0, 1.0, 0.5, 2.0, float(draw.rng.uniform(0.05, 8)))
    draft.operator("SOFTMAX", [x], [y], ("SoftmaxOptions", {"Beta": beta}))
    return [y]


def l2_normalization(draft: Draft, dtype: str) -> list[int]:
    draw = draft.draw
    shape = (*draw.sizes(draw.integer(1, 3), 1, 6), draw.integer(1, 70))
    x, y = draft.input(shape, dtype, draw.quant(dtype)), draft.tensor(shape, dtype, SIGNED_UNIT[dtype])
    draft.operator("L2_NORMALIZATION", [x], [y], ("L2NormOptions", {"FusedActivationFunction": 0}))
    return [y]


def reduction(draft: Draft, dtype: str, *, op: str) -> list[int]:
    """MEAN, SUM and extremes over any axes, written from either end, some of them twice."""
    draw = draft.draw
    shape = draw.shape(1, 4)
    count = draw.integer(1, len(shape))
    axes = sorted(draw.rng.choice(len(shape), count, replace=False).tolist())
    keep = draw.chance(0.5)
    if keep:
        out = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    else:
        out = tuple(size for axis, size in enumerate(shape) if axis not in axes)
    written = [draw.axis(len(shape), axis) for axis in axes]
    if draw.chance(0.1):
        written.append(axes[0])
    source = draw.quant(dtype)
    target = source
    if op in ("MEAN", "SUM") and draw.chance(0.6):
        target = draw.near(
            source.scale * (math.sqrt(math.prod(shape[axis] for axis in axes)) if op == "SUM" else 1), dtype
        )
    x, y = draft.input(shape, dtype, source), draft.tensor(out, dtype, target)
    where = draft.numbers(written[0] if len(written) == 1 and draw.chance(0.3) else written)
    draft.operator(op, [x, where], [y], ("ReducerOptions", {"KeepDims": keep}))
    if op == "SUM" and dtype != "uint8":  # LiteRT's kernel takes signed codes for unsigned ones
        sums = (draft.arrays[0].astype(np.int64) - source.zero).sum(axis=tuple(axes), keepdims=keep)
        draft.expected = [
            np.clip(_rescaled(sums, source.scale / target.scale) + target.zero, *LIMITS[dtype]).astype(dtype)
        ]
    return [y]


def _rescaled(sums: np.ndarray, real: float) -> np.ndarray:
    """Multiply by a real number as gemmlowp does: rounded to 31 bits of product, then to the result."""
    fraction, exponent = math.frexp(real)
    multiplier = math.floor(fraction * 2.0**31 + 0.5)
    high = ((sums << max(exponent, 0)) * multiplier + 2**30) >> 31
    divisor = 2 ** max(-exponent, 0)
    return np.asarray(np.sign(high) * ((np.abs(high) + divisor // 2) // divisor))

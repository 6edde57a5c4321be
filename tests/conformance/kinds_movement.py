# SPDX-License-Identifier: Apache-2.0
"""Random cases of operators that move elements, and of a model's ends. Each function returns the model's outputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from conformance.draft import Draft, Quant, Shape
from conformance.kinds_arithmetic import UNIT


def _single(
    draft: Draft,
    dtype: str,
    op: str,
    *,
    shape: Shape,
    out: Shape,
    constants: list[int] | None = None,
    options: tuple[str, dict[str, Any]] | None = None,
    version: int = 2,
) -> list[int]:
    """One input of shape, one output of shape out, both of the same scale; constants follow the input."""
    quant = draft.draw.quant(dtype)
    x, y = draft.input(shape, dtype, quant), draft.tensor(out, dtype, quant)
    draft.operator(op, [x, *(constants or [])], [y], options, version)
    return [y]


def concatenation(draft: Draft, dtype: str) -> list[int]:
    draw = draft.draw
    shape, count = draw.shape(1, 5), draw.integer(1, 5)
    axis = draw.integer(0, len(shape) - 1)
    sizes = draw.sizes(count, 1, 12)
    target = draw.quant(dtype)
    same = dtype != "uint8" or draw.chance(0.5)  # LiteRT rescales uint8 alone
    parts = [
        draft.operand(
            (*shape[:axis], size, *shape[axis + 1 :]), dtype, target if same else draw.near(target.scale, dtype),
            constant=0.15,
        )
        for size in sizes
    ]  # fmt: skip
    y = draft.tensor((*shape[:axis], sum(sizes), *shape[axis + 1 :]), dtype, target)
    options = {"Axis": draw.axis(len(shape), axis), "FusedActivationFunction": 0}
    draft.operator("CONCATENATION", parts, [y], ("ConcatenationOptions", options))
    return [y]


def pad(draft: Draft, dtype: str, *, valued: bool = False) -> list[int]:
    """PAD with the zero point, or PADV2 with a value."""
    draw = draft.draw
    shape = draw.shape(1, 5)
    amounts = [(draw.integer(0, 3), draw.integer(0, 3)) if draw.chance(0.7) else (0, 0) for _ in shape]
    out = tuple(size + before + after for size, (before, after) in zip(shape, amounts, strict=True))
    quant = draw.quant(dtype)
    x, widths = draft.input(shape, dtype, quant), draft.integers(amounts)
    inputs = [x, widths]
    if valued:
        value_shape: Shape = draw.one((), (1,))
        inputs.append(draft.constant(draw.codes(value_shape, dtype), quant))
    y = draft.tensor(out, dtype, quant)
    draft.operator("PADV2" if valued else "PAD", inputs, [y])
    return [y]


def mirror_pad(draft: Draft, dtype: str) -> list[int]:
    draw = draft.draw
    shape, mode = draw.shape(1, 5), draw.one(0, 1)
    most = [min(3, size - 1 + mode) for size in shape]
    amounts = [(draw.integer(0, n), draw.integer(0, n)) if draw.chance(0.6) else (0, 0) for n in most]
    out = tuple(size + before + after for size, (before, after) in zip(shape, amounts, strict=True))
    options = ("MirrorPadOptions", {"Mode": mode})
    return _single(
        draft,
        dtype,
        "MIRROR_PAD",
        shape=shape,
        out=out,
        constants=[draft.integers(amounts)],
        options=options,
        version=1,
    )


def _factors(draft: Draft, elements: int) -> Shape:
    """Split a number into the sizes of a shape."""
    sizes: list[int] = []
    for _ in range(draft.draw.integer(0, 4)):
        divisors = [n for n in range(1, min(elements, 64) + 1) if elements % n == 0]
        sizes.append(draft.draw.one(*divisors))
        elements //= sizes[-1]
    return (*sizes, elements)


def reshape(draft: Draft, dtype: str) -> list[int]:
    draw = draft.draw
    shape = draw.shape()
    out = _factors(draft, math.prod(shape))
    written = list(out)
    if draw.chance(0.4):
        written[draw.integer(0, len(out) - 1)] = -1
    where = draw.one("input", "options", "both")
    constants = [] if where == "options" else [draft.numbers(written)]
    options = None if where == "input" else ("ReshapeOptions", {"NewShape": written})
    return _single(draft, dtype, "RESHAPE", shape=shape, out=out, constants=constants, options=options, version=1)


def squeeze(draft: Draft, dtype: str) -> list[int]:
    draw = draft.draw
    shape = tuple(size if draw.chance(0.5) else 1 for size in draw.shape(2, 5))
    ones = [axis for axis, size in enumerate(shape) if size == 1]
    chosen = [axis for axis in ones if draw.chance(0.6)] or ones
    out = tuple(size for axis, size in enumerate(shape) if axis not in chosen)
    written = [] if chosen == ones and draw.chance(0.5) else [draw.axis(len(shape), axis) for axis in chosen]
    return _single(
        draft, dtype, "SQUEEZE", shape=shape, out=out, options=("SqueezeOptions", {"SqueezeDims": written}), version=1
    )


def expand_dims(draft: Draft, dtype: str) -> list[int]:
    draw = draft.draw
    shape = draw.shape(1, 5)
    axis = draw.integer(0, len(shape))
    where = draft.integers(draw.one(draw.axis(len(shape) + 1, axis), [axis]))
    out = (*shape[:axis], 1, *shape[axis:])
    return _single(draft, dtype, "EXPAND_DIMS", shape=shape, out=out, constants=[where], version=1)


def transpose(draft: Draft, dtype: str) -> list[int]:
    draw = draft.draw
    shape = draw.shape(1, 6)
    order = draw.rng.permutation(len(shape)).tolist()
    written = [draw.axis(len(shape), axis) for axis in order]
    out = tuple(shape[axis] for axis in order)
    return _single(draft, dtype, "TRANSPOSE", shape=shape, out=out, constants=[draft.numbers(written)])


def slice_(draft: Draft, dtype: str) -> list[int]:
    draw = draft.draw
    shape = draw.shape(1, 5)
    begin = [draw.integer(0, size - 1) for size in shape]
    sizes = [draw.integer(1, size - first) for size, first in zip(shape, begin, strict=True)]
    written = [
        -1 if first + count == size and draw.chance(0.5) else count
        for size, first, count in zip(shape, begin, sizes, strict=True)
    ]
    make = draw.one(draft.numbers, draft.numbers, lambda values: draft.constant(np.asarray(values, np.int64)))
    return _single(draft, dtype, "SLICE", shape=shape, out=tuple(sizes), constants=[make(begin), make(written)])


def strided_slice(draft: Draft, dtype: str) -> list[int]:
    """Ranges with steps of either sign and all masks but those of an ellipsis at once with a new axis."""
    draw = draft.draw
    shape = draw.shape(1, 4)
    masks = {"BeginMask": 0, "EndMask": 0, "ShrinkAxisMask": 0, "EllipsisMask": 0, "NewAxisMask": 0}
    begin: list[int] = []
    end: list[int] = []
    strides: list[int] = []
    out: list[int] = []
    fancy = draw.chance(0.6)
    extra = draw.integer(0, len(shape)) if len(shape) < 4 and draw.chance(0.2) else None
    for axis, size in enumerate(shape):
        if axis == extra:
            masks["NewAxisMask"] |= 1 << len(begin)
            begin.append(draw.integer(-3, 3)), end.append(draw.integer(-3, 3)), strides.append(1)
            out.append(1)
        bit = 1 << len(begin)
        first = draw.integer(0, size - 1)
        if fancy and draw.chance(0.15):
            masks["ShrinkAxisMask"] |= bit
            begin.append(draw.axis(size, first)), end.append(first + 1), strides.append(1)
            continue
        step = draw.one(1, 1, 2, 3, -1, -2) if fancy else draw.one(1, 1, 2)
        last = draw.integer(first + 1, size) if step > 0 else draw.integer(-1, first - 1)
        if fancy and draw.chance(0.2):
            masks["BeginMask"] |= bit
            first = 0 if step > 0 else size - 1
        if fancy and (last == -1 or draw.chance(0.2)):
            masks["EndMask"] |= bit
            last = size if step > 0 else -1
        begin.append(draw.axis(size, first))
        end.append(last - size if fancy and 0 <= last < size and draw.chance(0.3) else max(last, 0))
        if last == -1 and not masks["EndMask"] & bit:
            end[-1] = -size - 1
        strides.append(step)
        out.append(len(range(first, last, step)))
    if fancy and draw.chance(0.1) and not any(masks.values()):
        masks["EllipsisMask"] = 1 << (len(shape) - 1)
        out[-1] = shape[-1]
    if not all(out):
        out = [max(size, 1) for size in out]
    constants = [draft.numbers(begin), draft.numbers(end), draft.numbers(strides)]
    options = ("StridedSliceOptions", masks)
    return _single(draft, dtype, "STRIDED_SLICE", shape=shape, out=tuple(out), constants=constants, options=options)


def split(draft: Draft, dtype: str) -> list[int]:
    draw = draft.draw
    shape, parts = list(draw.shape(1, 4)), draw.integer(1, 5)
    axis = draw.integer(0, len(shape) - 1)
    each = draw.integer(1, 6)
    shape[axis] = each * parts
    quant = draw.quant(dtype)
    where = draft.numbers(draw.one(draw.axis(len(shape), axis), [axis]))
    x = draft.input(shape, dtype, quant)
    out = (*shape[:axis], each, *shape[axis + 1 :])
    outputs = [draft.tensor(out, dtype, quant) for _ in range(parts)]
    draft.operator("SPLIT", [where, x], outputs, ("SplitOptions", {"NumSplits": parts}))
    return outputs


def split_v(draft: Draft, dtype: str) -> list[int]:
    draw = draft.draw
    shape, sizes = list(draw.shape(1, 4)), list(draw.sizes(draw.integer(1, 5), 1, 6))
    axis = draw.integer(0, len(shape) - 1)
    shape[axis] = sum(sizes)
    quant = draw.quant(dtype)
    x = draft.input(shape, dtype, quant)
    outputs = [draft.tensor((*shape[:axis], size, *shape[axis + 1 :]), dtype, quant) for size in sizes]
    written = list(sizes)
    if draw.chance(0.4):
        written[draw.integer(0, len(sizes) - 1)] = -1
    inputs = [x, draft.integers(written), draft.numbers(draw.one(draw.axis(len(shape), axis), [axis]))]
    draft.operator("SPLIT_V", inputs, outputs, ("SplitVOptions", {"NumSplits": len(sizes)}))
    return outputs


def pack(draft: Draft, dtype: str) -> list[int]:
    draw = draft.draw
    shape, count, quant = draw.shape(1, 4), draw.integer(1, 5), draw.quant(dtype)
    axis = draw.integer(0, len(shape))
    parts = [draft.operand(shape, dtype, quant, constant=0.15) for _ in range(count)]
    y = draft.tensor((*shape[:axis], count, *shape[axis:]), dtype, quant)
    options = {"ValuesCount": count, "Axis": draw.axis(len(shape) + 1, axis)}
    draft.operator("PACK", parts, [y], ("PackOptions", options))
    return [y]


def unpack(draft: Draft, dtype: str) -> list[int]:
    draw = draft.draw
    shape, count, quant = draw.shape(1, 4), draw.integer(1, 5), draw.quant(dtype)
    axis = draw.integer(0, len(shape))
    x = draft.input((*shape[:axis], count, *shape[axis:]), dtype, quant)
    outputs = [draft.tensor(shape, dtype, quant) for _ in range(count)]
    options = {"Num": count, "Axis": draw.axis(len(shape) + 1, axis)}
    draft.operator("UNPACK", [x], outputs, ("UnpackOptions", options))
    return outputs


def space_and_depth(draft: Draft, dtype: str, *, op: str, table: str) -> list[int]:
    draw = draft.draw
    block, (rows, columns) = draw.one(2, 2, 3, 4), draw.sizes(2, 1, 6)
    batch, depth = draw.one(1, 2, 3), draw.integer(1, 10)
    wide = (batch, rows * block, columns * block, depth)
    deep = (batch, rows, columns, depth * block * block)
    shape, out = (wide, deep) if op == "SPACE_TO_DEPTH" else (deep, wide)
    return _single(draft, dtype, op, shape=shape, out=out, options=(table, {"BlockSize": block}), version=1)


def resize(draft: Draft, dtype: str, *, op: str, table: str) -> list[int]:
    draw = draft.draw
    shape = (draw.one(1, 2), *draw.sizes(2), draw.integer(1, 17))
    size = draw.one(draw.sizes(2, 1, 24), tuple(2 * n for n in shape[1:3]), shape[1:3])
    align, half = draw.one((False, False), (True, False), (False, True))
    options = (table, {"AlignCorners": align, "HalfPixelCenters": half})
    out = (shape[0], *size, shape[3])
    return _single(draft, dtype, op, shape=shape, out=out, constants=[draft.numbers(size)], options=options)


def gather(draft: Draft, dtype: str) -> list[int]:
    draw = draft.draw
    shape, quant = draw.shape(1, 4), draw.quant(dtype)
    axis = draw.integer(0, len(shape) - 1)
    batch = draw.integer(0, axis) if draw.chance(0.3) else 0
    picked = (*shape[:batch], *draw.one((draw.integer(1, 7),), (), draw.sizes(2, 1, 4)))
    x = draft.input(shape, dtype, quant)
    codes = draw.rng.integers(0, shape[axis], picked).astype(draw.one(np.int32, np.int32, np.int64))
    indices = draft.constant(codes) if draw.chance(0.6) else draft.feed(codes)
    y = draft.tensor((*shape[:axis], *picked[batch:], *shape[axis + 1 :]), dtype, quant)
    options = {"Axis": draw.axis(len(shape), axis), "BatchDims": batch}
    draft.operator("GATHER", [x, indices], [y], ("GatherOptions", options))
    return [y]


def arg_max(draft: Draft, dtype: str) -> list[int]:
    draw = draft.draw
    shape = draw.one(draw.shape(1, 4), (1, draw.integer(1, 60)))
    axis = draw.integer(0, len(shape) - 1)
    wide = draw.chance(0.4)
    x = draft.input(shape, dtype, draw.quant(dtype))
    where = draft.integers(draw.one(draw.axis(len(shape), axis), [axis]))
    y = draft.tensor((*shape[:axis], *shape[axis + 1 :]), "int64" if wide else "int32")
    draft.operator("ARG_MAX", [x, where], [y], ("ArgMaxOptions", {"OutputType": 4 if wide else 2}))
    return [y]


def float_boundary(draft: Draft, dtype: str) -> list[int]:
    """Real values in, QUANTIZE, a layer or none, SOFTMAX or none, DEQUANTIZE or none."""
    draw = draft.draw
    batch, depth, source = draw.one(1, 1, 3), draw.integer(2, 70), draw.quant(dtype, -10, 1)
    spread = source.scale * 100 * 2.0 ** draw.rng.uniform(-1, 2)
    real = draft.feed(draw.rng.normal(0, spread, (batch, depth)).astype(np.float32))
    last, shape, quant = draft.tensor((batch, depth), dtype, source), (batch, depth), source
    draft.operator("QUANTIZE", [real], [last], version=1)
    if draw.chance(0.7):
        channels, scale = draw.integer(2, 20), draw.scale(-10, -4)
        codes = np.maximum(draw.codes((channels, depth), "int8"), -127)
        zero = 128 if dtype == "uint8" else 0
        weights = (codes.astype(np.int16) + 128).astype(np.uint8) if dtype == "uint8" else codes
        bias = draw.rng.integers(-20000, 20000, channels, np.int64 if dtype == "int16" else np.int32)
        shape, quant = (batch, channels), draw.near(source.scale * scale * math.sqrt(depth) * 80, dtype)
        product = Quant(float(np.float32(source.scale * scale)))
        inputs = [last, draft.constant(weights, Quant(scale, zero)), draft.constant(bias, product)]
        last = draft.tensor(shape, dtype, quant)
        draft.operator("FULLY_CONNECTED", inputs, [last], ("FullyConnectedOptions", {}), version=5)
    if quant.scale < 2 and draw.chance(0.7):
        inputs, last = [last], draft.tensor(shape, dtype, UNIT[dtype])
        draft.operator("SOFTMAX", inputs, [last], ("SoftmaxOptions", {"Beta": 1.0}))
    if draw.chance(0.8):
        inputs, last = [last], draft.tensor(shape, "float32")
        draft.operator("DEQUANTIZE", inputs, [last])
    return [last]


def dequantize(draft: Draft, dtype: str) -> list[int]:
    """Codes in, real values out."""
    shape = draft.draw.shape()
    x, y = draft.input(shape, dtype, draft.draw.quant(dtype)), draft.tensor(shape, "float32")
    draft.operator("DEQUANTIZE", [x], [y])
    return [y]

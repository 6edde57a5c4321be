# SPDX-License-Identifier: Apache-2.0
"""Layers with low-bit weights of every format, for tests."""

from __future__ import annotations

import dataclasses

import numpy as np

from edgeq.ir.coding import CodeKind, Coding, shifts_entry
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Case
from edgeq.ops.conv2d import Conv2d

LOG4 = [0, *range(7)]  # exponents of the codes 1 ... 7; 0 stands for zero
NF4 = [-127, -88, -67, -50, -36, -23, -12, 0, 10, 20, 31, 43, 56, 71, 92, 127]
FORMATS = ("int4", "uint4_groups", "nf4_groups", "codebook_rows", "ternary", "log4", "apot4", "fp8")
KIND_OF = dict(
    zip(
        FORMATS,
        (
            CodeKind.TWOS, CodeKind.UNSIGNED, CodeKind.LEVELS, CodeKind.LEVELS, CodeKind.TERNARY, CodeKind.SHIFTS,
            CodeKind.SHIFTS, CodeKind.MINIFLOAT,
        ),
        strict=True,
    )
)  # fmt: skip


def coding(name: str, rng: np.random.Generator, *, rows: int, depth: int, group: int = 64) -> Coding:
    """Make a coding as a method of quantization would choose it, for weights (rows, depth)."""
    kind = KIND_OF[name]
    groups = (rows, -(-depth // group))
    scales = rng.integers(1, 256, groups).astype(np.uint8)
    if name == "uint4_groups":
        return Coding(kind, 4, group=group, group_scales=scales, group_zeros=rng.integers(5, 11, groups, np.uint8))
    if name == "nf4_groups":
        return Coding(kind, 4, np.array([NF4], np.int16), group=group, group_scales=scales)
    if name == "codebook_rows":
        return Coding(kind, 4, rng.integers(-32768, 32768, (rows, 16)).astype(np.int16))
    if name == "log4":
        half = [shifts_entry(()), *(shifts_entry((e,)) for e in range(7))]
        other = [shifts_entry(()), *(shifts_entry((e,), negative=True) for e in range(7))]
        return Coding(kind, 4, np.array([half + other], np.int16))
    if name == "apot4":
        terms = [(), (0,), (1,), (0, 1), (2,), (0, 2), (3,), (0, 3)]
        entries = [shifts_entry(pair, negative=sign) for sign in (False, True) for pair in terms]
        return Coding(kind, 4, np.array([entries], np.int16))
    if name == "fp8":
        return Coding(kind, 8, mantissa_bits=3)
    return Coding(kind, 2 if name == "ternary" else 4)


def coded_layer(
    name: str,
    rng: np.random.Generator,
    *,
    x: tuple[int, int, int, int] = (1, 5, 5, 8),
    w: tuple[int, int, int, int] = (6, 3, 3, 8),
    group: int = 64,
    op: Conv2d | None = None,
) -> Case:
    """Draw a convolution with weights of a format, a bias and zero points; its outputs use the whole range of codes."""
    depth = int(np.prod(w[1:]))
    chosen = coding(name, rng, rows=w[0], depth=depth, group=group)
    codes = rng.integers(0, 3 if name == "ternary" else 1 << chosen.bits, w).astype(np.uint8)
    rms = float(np.sqrt(np.mean(chosen.integers(codes.reshape(w[0], -1)).astype(np.float64) ** 2)))
    scales = 0.01 / rms * 2.0 ** rng.uniform(-1, 1, w[0])
    bias = rng.integers(-1000, 1000, w[0]).astype(np.int32)
    op = op or Conv2d(padding="same")
    tensors = (
        Tensor("x", x, DType.S8, QuantParams.of(0.05, 7)),
        Tensor("w", w, DType.U8, QuantParams.per_channel(scales, 0), codes, chosen),
        Tensor("b", (w[0],), DType.S32, QuantParams.per_channel(0.05 * scales, 0), bias),
    )
    (shape,) = op.infer_shape(tensors)
    return Case(op, tensors, (Tensor("y", shape, DType.S8, QuantParams.of(0.0012 * depth**0.5, -3)),))


def with_weights(case: Case, **changes: object) -> Case:
    """Return a case whose weights differ in some of the tensor's fields."""
    weights = case.inputs[1]
    assert weights is not None
    changed = dataclasses.replace(weights, **changes)  # type: ignore[arg-type]
    return dataclasses.replace(case, inputs=(case.inputs[0], changed, *case.inputs[2:]))

# SPDX-License-Identifier: Apache-2.0
"""Low-bit weights as an operator sees them: which row a weight belongs to, and random ones for tests."""

from __future__ import annotations

import dataclasses

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.ir.coding import CodeKind, Coding, shifts_entry
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams

INT8_RMS = 73.0  # of codes drawn evenly from [-127, 127]
LARGEST_RMS = 2.0**18  # of drawn integers, whose multipliers are then far from 0
LARGEST_MAGNITUDE_BITS = 40  # of an integer that a MINIFLOAT code stands for


def has_coding(tensor: Tensor | None) -> bool:
    """Say whether a tensor holds codes of low-bit weights."""
    return tensor is not None and tensor.coding is not None


def integers_of(tensor: Tensor, *, axis: int) -> np.ndarray:
    """Return the integers (int64) that the codes of low-bit weights stand for, in the tensor's own shape.

    ``axis`` is that of the output channels, whose rows the coding describes.
    """
    assert tensor.coding is not None
    assert tensor.data is not None
    rows = np.moveaxis(tensor.data.reshape(tensor.shape), axis, 0)
    integers = tensor.coding.integers(rows.reshape(len(rows), -1))
    return np.moveaxis(integers.reshape(rows.shape), 0, axis)


def require_representable(coding: Coding) -> None:
    """Raise UnsupportedError for a MINIFLOAT code whose largest integer the device's 64-bit sums have no room for."""
    if coding.kind is not CodeKind.MINIFLOAT:
        return
    magnitude_bits = coding.mantissa_bits + (1 << (coding.bits - 1 - coding.mantissa_bits)) - 1
    if magnitude_bits > LARGEST_MAGNITUDE_BITS:
        raise UnsupportedError(
            f"integers of {coding.bits}-bit floats with {coding.mantissa_bits} bits of mantissa have {magnitude_bits} "
            f"bits, at most {LARGEST_MAGNITUDE_BITS} expected",
            hint="use more bits of mantissa",
        )


def random_coding(rng: np.random.Generator, *, rows: int, depth: int) -> Coding:
    """Draw a coding of any kind for weights (rows, depth), with one table or one per row, with or without groups."""
    kind = CodeKind(int(rng.integers(len(CodeKind))))
    bits = 2 if kind is CodeKind.TERNARY else int(rng.integers(3 if kind is CodeKind.MINIFLOAT else 1, 9))
    mantissa_bits, levels = 0, None
    if kind is CodeKind.MINIFLOAT:
        mantissa_bits = int(rng.integers(max(1, bits - 6), bits - 1))
    if kind in (CodeKind.LEVELS, CodeKind.SHIFTS):
        shape = (rows if rng.random() < 0.4 else 1, 1 << bits)
        largest = int(rng.choice([127, 127, 32767]))
        drawn = rng.integers(-largest - 1, largest + 1, shape)
        levels = (drawn if kind is CodeKind.LEVELS else _random_shifts(rng, shape)).astype(np.int16)
    group = int(rng.integers(1, depth + 3)) if rng.random() < 0.5 else 0
    scales = zeros = None
    if group:
        groups = (rows, -(-depth // group))
        scales = rng.integers(0, 256, groups).astype(np.uint8)
        if kind is CodeKind.UNSIGNED and rng.random() < 0.7:
            zeros = rng.integers(0, 1 << bits, groups).astype(np.uint8)
    return Coding(kind, bits, levels, mantissa_bits, group, scales, zeros)


def _random_shifts(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Draw entries of a SHIFTS table: up to three powers of two, mostly small ones."""
    largest = int(rng.choice([6, 6, 14, 30]))
    entries = np.empty(shape, np.int64)
    for place in np.ndindex(shape):
        exponents = tuple(int(e) for e in rng.integers(0, largest + 1, size=int(rng.integers(0, 4))))
        entries[place] = shifts_entry(exponents, negative=bool(rng.integers(2)))
    return entries


def random_coded(
    rng: np.random.Generator, weights: Tensor, bias: Tensor | None, *, axis: int, input_scale: float
) -> tuple[Tensor, Tensor | None]:
    """Return random codes in place of int8 weights, and the bias in their units; real values stay as large."""
    rows, quant = weights.shape[axis], weights.quant
    assert quant is not None
    while True:
        coding = random_coding(rng, rows=rows, depth=weights.elements // rows)
        codes = rng.integers(0, 1 << coding.bits, weights.shape).astype(np.uint8)
        coded = dataclasses.replace(weights, dtype=DType.U8, data=codes, coding=coding)
        rms = float(np.sqrt(np.mean(integers_of(coded, axis=axis).astype(np.float64) ** 2)))
        if rms <= LARGEST_RMS:
            break
    ratio = max(rms, 1.0) / INT8_RMS
    scales = np.array(quant.scales) / ratio
    chosen = QuantParams.per_channel(scales, axis) if quant.is_per_channel else QuantParams.of(scales[0])
    coded = dataclasses.replace(coded, quant=chosen)
    if bias is None or bias.data is None:
        return coded, bias
    scales_b = np.broadcast_to(input_scale * np.array(chosen.scales), (rows,))
    data = np.clip(np.rint(bias.data * ratio), -(2**31) + 1, 2**31 - 1).astype(np.int32)
    return coded, dataclasses.replace(bias, data=data, quant=QuantParams.per_channel(scales_b, 0))

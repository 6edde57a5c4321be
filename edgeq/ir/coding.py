# SPDX-License-Identifier: Apache-2.0
"""Coding: what the unsigned codes of low-bit weights mean as integers, which is all that a device sees of them.

Rows are output channels: codes (O, K) in the order in which a layer's products are summed, (kh, kw, cin).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgeq.errors import InvalidValueError

NO_TERM = 31  # in an entry of SHIFTS: this power of two is not there
TERM_BITS = 5
TERMS = 3  # powers of two in an entry of SHIFTS
SIGN_BIT = 15  # of an entry of SHIFTS
LARGEST_BITS = 8
GROUP_SCALE_MAX = 255


class CodeKind(enum.IntEnum):
    """How a code becomes an integer; the values are permanent codes of the model file."""

    TWOS = 0  # two's complement
    UNSIGNED = 1  # the code itself; a zero point per group is subtracted
    LEVELS = 2  # an entry of a table of int16
    TERNARY = 3  # the code minus 1; 2 bits
    SHIFTS = 4  # a table entry's sum of up to three powers of two: bits 0-4, 5-9, 10-14 are exponents, bit 15 the sign
    MINIFLOAT = 5  # sign, exponent e, mantissa m of f bits: m for e = 0, (2^f + m) << (e - 1) otherwise


@dataclass(frozen=True, eq=False)
class Coding:
    """The meaning of codes (O, K): ``group_scales[o, g] * (meaning of the code - group_zeros[o, g])``, g = k // group.

    ``levels`` (1 or O, 2^bits) int16 are the tables of LEVELS and SHIFTS, one for all rows or one per row. Without
    ``group`` (0) there is one group without a scale, and no zero points. ``group_scales`` and ``group_zeros`` are
    (O, ceil(K / group)) uint8. Raises InvalidValueError for parts that do not go together.
    """

    kind: CodeKind
    bits: int
    levels: np.ndarray | None = None
    mantissa_bits: int = 0
    group: int = 0
    group_scales: np.ndarray | None = None
    group_zeros: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= LARGEST_BITS or (self.kind is CodeKind.TERNARY and self.bits != 2):
            raise InvalidValueError(f"{self.kind.name} codes of {self.bits} bits")
        tabled = self.kind in (CodeKind.LEVELS, CodeKind.SHIFTS)
        if tabled != (self.levels is not None):
            raise InvalidValueError(f"{self.kind.name} codes {'without' if tabled else 'with'} a table")
        if self.levels is not None and (self.levels.dtype != np.int16 or self.levels.shape[1:] != (1 << self.bits,)):
            raise InvalidValueError(f"a table of {self.levels.dtype} {list(self.levels.shape)} for {self.bits} bits")
        if (self.kind is CodeKind.MINIFLOAT) != (1 <= self.mantissa_bits <= self.bits - 2):
            raise InvalidValueError(f"{self.mantissa_bits} bits of mantissa in {self.kind.name} codes")
        if self.group < 0 or (self.group == 0) != (self.group_scales is None):
            raise InvalidValueError(f"groups of {self.group} inputs {'with' if self.group == 0 else 'without'} scales")
        if self.group_zeros is not None and (self.kind is not CodeKind.UNSIGNED or self.group == 0):
            raise InvalidValueError("zero points of groups go with unsigned codes in groups")

    def meanings(self) -> np.ndarray:
        """Return what every code means before its group's scale and zero point: (1 or O, 2^bits) int64."""
        return self._meanings

    @cached_property
    def _meanings(self) -> np.ndarray:
        codes = np.arange(1 << self.bits, dtype=np.int64)[np.newaxis]
        if self.kind is CodeKind.TWOS:
            return np.where(codes >> (self.bits - 1) != 0, codes - (1 << self.bits), codes)
        if self.kind is CodeKind.UNSIGNED:
            return codes
        if self.kind is CodeKind.TERNARY:
            return np.minimum(codes, 2) - 1
        if self.kind is CodeKind.MINIFLOAT:
            fraction = 1 << self.mantissa_bits
            magnitude = codes & ((1 << (self.bits - 1)) - 1)
            exponent, mantissa = magnitude >> self.mantissa_bits, magnitude & (fraction - 1)
            values = np.where(exponent == 0, mantissa, (fraction + mantissa) << np.maximum(exponent - 1, 0))
            return np.where(codes >> (self.bits - 1) != 0, -values, values)
        assert self.levels is not None
        entries = self.levels.astype(np.int64)
        return entries if self.kind is CodeKind.LEVELS else shifts_meaning(entries)

    def integers(self, codes: np.ndarray) -> np.ndarray:
        """Return the integers (O, K) int64 of codes (O, K)."""
        return self.columns(codes, first=0)

    def columns(self, codes: np.ndarray, *, first: int) -> np.ndarray:
        """Return the integers of codes (O, n) that stand at inputs first ... first + n - 1."""
        meanings = self.meanings()
        rows = np.zeros((1, 1), np.int64) if len(meanings) == 1 else np.arange(len(codes))[:, np.newaxis]
        integers = meanings[rows, codes]
        if self.group == 0:
            return np.asarray(integers)
        groups = (first + np.arange(codes.shape[1])) // self.group
        assert self.group_scales is not None
        if self.group_zeros is not None:
            integers = integers - self.group_zeros[:, groups]
        return np.asarray(integers * self.group_scales[:, groups])


def shifts_meaning(entries: np.ndarray) -> np.ndarray:
    """Return the integers of entries of a SHIFTS table."""
    entries = entries.astype(np.int64)
    terms = [(entries >> (TERM_BITS * term)) & NO_TERM for term in range(TERMS)]
    values = sum(np.where(term == NO_TERM, 0, np.int64(1) << np.minimum(term, NO_TERM - 1)) for term in terms)
    return np.where((entries >> SIGN_BIT) & 1 != 0, -np.asarray(values), values)


def shifts_entry(exponents: tuple[int, ...], *, negative: bool = False) -> int:
    """Return the int16 entry of a SHIFTS table that stands for +-(sum of 2^e); up to three exponents of 0 ... 30."""
    padded = (*exponents, *(NO_TERM,) * (TERMS - len(exponents)))
    entry = sum(exponent << (TERM_BITS * term) for term, exponent in enumerate(padded))
    return entry - (1 << SIGN_BIT) if negative else entry


def pack_codes(codes: np.ndarray, bits: int) -> np.ndarray:
    """Pack codes (O, K) of so many bits, the first in the lowest bits; rows end with zeros, as (O, bytes) uint8."""
    spread = (codes[:, :, np.newaxis].astype(np.uint8) >> np.arange(bits, dtype=np.uint8)) & 1  # (O, K, bits)
    return np.packbits(spread.reshape(len(codes), -1), axis=1, bitorder="little")


def unpack_codes(packed: np.ndarray, bits: int, depth: int) -> np.ndarray:
    """Return the codes (O, depth) uint8 of ``pack_codes``."""
    spread = np.unpackbits(packed.astype(np.uint8), axis=1, bitorder="little")[:, : depth * bits]
    weights = (1 << np.arange(bits)).astype(np.uint8)
    return np.asarray((spread.reshape(len(packed), depth, bits) * weights).sum(axis=2), np.uint8)


def packed_row_bytes(bits: int, depth: int) -> int:
    """Return the bytes of a row of packed codes."""
    return -(-depth * bits // 8)

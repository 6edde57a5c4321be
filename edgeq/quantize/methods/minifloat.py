# SPDX-License-Identifier: Apache-2.0
"""Codings of small floating-point formats, whose values are integers times a power of two."""

from __future__ import annotations

import re

from edgeq.ir.coding import CodeKind, Coding


def split_format(text: str) -> tuple[int, int]:
    """Return the bits of exponent and mantissa of ``e4m3`` and the like; (0, 0) for another text.

    More exponents than 5 bits have would not fit the integers.
    """
    found = re.fullmatch(r"e([1-5])m([1-6])", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def minifloat_coding(exponent_bits: int, mantissa_bits: int) -> Coding:
    """Return the coding of a sign, an exponent and a mantissa of 1 bit or more, no code reserved."""
    return Coding(CodeKind.MINIFLOAT, 1 + exponent_bits + mantissa_bits, mantissa_bits=mantissa_bits)


def reserved_codes(exponent_bits: int, mantissa_bits: int, *, every_mantissa: bool) -> tuple[int, ...]:
    """Return the codes of infinities and NaN: of the top exponent all, as in IEEE 754, or the last of each sign."""
    half = 1 << (exponent_bits + mantissa_bits)
    count = 1 << mantissa_bits if every_mantissa else 1
    return (*range(half - count, half), *range(2 * half - count, 2 * half))

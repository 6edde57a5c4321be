# SPDX-License-Identifier: Apache-2.0
"""Tables of sums of powers of two, by which a device multiplies with shifts and additions alone."""

from __future__ import annotations

import numpy as np

from edgeq.ir.coding import CodeKind, Coding, shifts_entry


def shifts_coding(magnitudes: list[tuple[int, ...]]) -> Coding:
    """Return the coding with a sign in the top bit and below it the index of a magnitude, a sum of 2^exponents.

    ``magnitudes`` are 2^n tuples of exponents, the first of them empty, which is zero.
    """
    entries = [shifts_entry(powers, negative=negative) for negative in (False, True) for powers in magnitudes]
    return Coding(CodeKind.SHIFTS, len(entries).bit_length() - 1, np.array([entries], np.int16))


def powers_coding(bits: int) -> Coding:
    """Return the coding with zero and 2^(bits-1) - 1 powers of two from 1 up, of either sign."""
    return shifts_coding([(), *((exponent,) for exponent in range((1 << (bits - 1)) - 1))])

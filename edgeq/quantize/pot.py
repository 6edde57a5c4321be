# SPDX-License-Identifier: Apache-2.0
"""Power-of-two scales: dynamic fixed point, real = code * 2^-fraction_length, without a zero point.

Source: Gysel et al., "Ristretto", arXiv 1604.03168.
"""

from __future__ import annotations

import numpy as np


def fraction_length(largest: np.ndarray | float, *, bits: int = 8) -> np.ndarray:
    """Return the fraction lengths (int64) of numbers of given largest magnitudes, bits - 1 - ceil(log2(largest)).

    The result has the shape of ``largest``, so one magnitude per channel gives each channel its own. It may be negative
    or exceed ``bits``; of zeros only it is bits - 1. Where the largest is a power of two, the code of its positive
    value saturates, one step below it.
    """
    fractions, exponents = np.frexp(np.asarray(largest, np.float64))
    integer_bits = np.where(fractions == 0.5, exponents - 1, exponents)
    return np.asarray(np.where(fractions == 0, bits - 1, bits - 1 - integer_bits), np.int64)


def scale_of_range(low: float, high: float, *, bits: int = 8) -> float:
    """Return the scale 2^-fraction_length that represents a range, the sign in one of the bits."""
    return float(2.0 ** -fraction_length(max(abs(low), abs(high)), bits=bits))


def powers_of_two(scales: np.ndarray, *, int8: bool) -> np.ndarray:
    """Return the least powers of two that are not below scales >= 0.

    Scales of ``int8`` codes, which end at 127, become those of the fraction lengths of what such codes reach: there the
    largest code may lose one step to a range that ends at a power of two. Half of that, with saturation, would lessen
    the squared error of many rows, yet real models lose by it: what saturates is the same for every input.
    """
    if not int8:
        with np.errstate(divide="ignore"):
            return np.asarray(2.0 ** np.ceil(np.log2(scales)))
    reached = scales * 127 * (1 - 2.0**-23)  # less than float32 scales may have been rounded up
    return np.asarray(2.0 ** -fraction_length(reached).astype(np.float64))

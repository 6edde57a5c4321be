# SPDX-License-Identifier: Apache-2.0
"""What codes of low-bit weights mean, and how they are packed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq.errors import InvalidValueError
from edgeq.ir.coding import CodeKind, Coding, pack_codes, packed_row_bytes, shifts_entry, shifts_meaning, unpack_codes


@given(st.integers(1, 8), st.integers(1, 5), st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_packed_codes_come_back(bits: int, rows: int, depth: int, seed: int):
    codes = np.random.default_rng(seed).integers(0, 1 << bits, size=(rows, depth)).astype(np.uint8)
    packed = pack_codes(codes, bits)
    assert packed.shape == (rows, packed_row_bytes(bits, depth))
    assert np.array_equal(unpack_codes(packed, bits, depth), codes)


def test_four_bit_codes_lie_low_nibble_first():
    assert pack_codes(np.array([[1, 2, 15]], np.uint8), 4).tolist() == [[0x21, 0x0F]]


def test_meanings_of_every_kind():
    assert Coding(CodeKind.TWOS, 3).meanings().tolist() == [[0, 1, 2, 3, -4, -3, -2, -1]]
    assert Coding(CodeKind.TERNARY, 2).meanings().tolist() == [[-1, 0, 1, 1]]
    levels = np.array([[5, -7]], np.int16)
    assert Coding(CodeKind.LEVELS, 1, levels=levels).meanings().tolist() == [[5, -7]]
    # E2M1 in units of a half: 0, .5, 1, 1.5, 2, 3, 4, 6
    half = Coding(CodeKind.MINIFLOAT, 4, mantissa_bits=1).meanings()[0]
    assert half[:8].tolist() == [0, 1, 2, 3, 4, 6, 8, 12]
    assert half[8:].tolist() == [0, -1, -2, -3, -4, -6, -8, -12]


@given(st.lists(st.integers(0, 30), max_size=3), st.booleans())
def test_entries_of_shifts_stand_for_sums_of_powers_of_two(exponents: list[int], negative: bool):
    entry = shifts_entry(tuple(exponents), negative=negative)
    assert -(2**15) <= entry < 2**15
    total = sum(2**e for e in exponents)
    assert shifts_meaning(np.array([entry], np.int16))[0] == (-total if negative else total)


def test_groups_scale_and_shift_their_codes():
    coding = Coding(
        CodeKind.UNSIGNED,
        4,
        group=2,
        group_scales=np.array([[3, 10]], np.uint8),
        group_zeros=np.array([[8, 1]], np.uint8),
    )
    codes = np.array([[0, 15, 2]], np.uint8)
    assert coding.integers(codes).tolist() == [[-24, 21, 10]]
    assert coding.columns(codes[:, 1:], first=1).tolist() == [[21, 10]]


@pytest.mark.parametrize(
    "parts",
    [
        {"kind": CodeKind.TWOS, "bits": 9},
        {"kind": CodeKind.TERNARY, "bits": 3},
        {"kind": CodeKind.LEVELS, "bits": 2},
        {"kind": CodeKind.LEVELS, "bits": 2, "levels": np.zeros((1, 8), np.int16)},
        {"kind": CodeKind.MINIFLOAT, "bits": 4, "mantissa_bits": 3},
        {"kind": CodeKind.TWOS, "bits": 4, "group": 32},
        {"kind": CodeKind.TWOS, "bits": 4, "group_zeros": np.zeros((1, 1), np.uint8)},
    ],
)
def test_parts_that_do_not_go_together_are_refused(parts: dict):
    with pytest.raises(InvalidValueError):
        Coding(**parts)

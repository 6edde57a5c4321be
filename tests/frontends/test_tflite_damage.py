# SPDX-License-Identifier: Apache-2.0
"""Damaged files: whatever happens to the bytes, reading gives a graph or an EdgeqError, soon and in little memory."""

from __future__ import annotations

import contextlib
import time
import tracemalloc

import numpy as np
import pytest
from frontends.tflite_builder import Model, O, T, build
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.errors import BadInputError, EdgeqError
from edgeq.frontends.tflite import read
from edgeq.rewrite.boundary import strip_boundary


def small_model() -> bytes:
    """A file with float ends, a convolution, constants that become attributes, and a signature."""
    rng = np.random.default_rng(7)
    weights = rng.integers(-127, 128, (3, 2, 2, 2)).astype(np.int8)
    tensors = [
        T("x", (1, 4, 4, 2), "float32", signature=(-1, 4, 4, 2)),
        T("xq", (1, 4, 4, 2), scale=0.5, zero=-1),
        T("w", weights.shape, scale=[0.25, 0.5, 1.0], data=weights),
        T("b", (3,), "int32", scale=[0.125, 0.25, 0.5], data=np.array([5, -6, 7], np.int32)),
        T("c", (1, 4, 4, 3), scale=2.0, zero=7),
        T("begin", (4,), "int32", data=np.zeros(4, np.int32)),
        T("end", (4,), "int32", data=np.array([1, 4, 2, 3], np.int32)),
        T("strides", (4,), "int32", data=np.ones(4, np.int32)),
        T("s", (1, 4, 2, 3), scale=2.0, zero=7),
        T("shape", (2,), "int32", data=np.array([1, -1], np.int32)),
        T("r", (1, 24), scale=2.0, zero=7),
        T("y", (1, 24), "float32"),
    ]
    operators = [
        O("QUANTIZE", [0], [1]),
        O("CONV_2D", [1, 2, 3], [4], ("Conv2DOptions", {"StrideH": 1, "StrideW": 1, "FusedActivationFunction": 1})),
        O("STRIDED_SLICE", [4, 5, 6, 7], [8], ("StridedSliceOptions", {"EndMask": 8})),
        O("RESHAPE", [8, 9], [10], ("ReshapeOptions", {"NewShape": [1, -1]})),
        O("DEQUANTIZE", [10], [11]),
    ]
    return build(Model(tensors, operators, [0], [11], signature=({"image": 0}, {"scores": 11})))


FILE = small_model()
INTERESTING = (0, 1, 2, 3, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFC, len(FILE))


def read_damaged(data: bytes) -> None:
    with contextlib.suppress(EdgeqError):
        strip_boundary(read(data, "m"))


def test_the_file_itself_is_read() -> None:
    graph = strip_boundary(read(FILE, "m"))
    assert [node.op.name for node in graph.nodes] == ["conv2d", "strided_slice", "reshape"]


def test_every_truncation_is_refused() -> None:
    for length in range(0, len(FILE), 3):
        with contextlib.suppress(EdgeqError):
            read(FILE[:length], "m")
    with pytest.raises(BadInputError):
        read(FILE[: len(FILE) // 2], "m")


@pytest.mark.parametrize("step", [pytest.param(4, marks=pytest.mark.slow, id="all"), pytest.param(148, id="one in 37")])
def test_any_word_may_be_wrong(step: int) -> None:
    for start in range(0, len(FILE) - 4, step):
        for value in INTERESTING:
            read_damaged(FILE[:start] + value.to_bytes(4, "little") + FILE[start + 4 :])


@settings(max_examples=500, deadline=None)
@given(
    flips=st.lists(st.integers(0, 8 * len(FILE) - 1), min_size=1, max_size=6),
    cut=st.integers(0, 4 * len(FILE)),
)
def test_flipped_bits_and_cuts(flips: list[int], cut: int) -> None:
    data = bytearray(FILE)
    for flip in flips:
        data[flip // 8] ^= 1 << flip % 8
    read_damaged(bytes(data[: max(cut, 0) or None]))


@given(st.binary(max_size=400))
def test_bytes_behind_the_identifier_are_refused(data: bytes) -> None:
    with pytest.raises(EdgeqError):
        read(b"\x10\0\0\0TFL3" + data, "m")


def test_a_file_that_repeats_its_parts_is_refused_soon() -> None:
    """A hundred thousand tensors that share one long name and one large buffer."""
    tensors = [T("x", (1, 4), scale=1.0), T("w", (1000, 1000), scale=1.0, data=np.zeros(1_000_000, np.int8))]
    tensors += [T("t", (1000, 1000), scale=1.0, buffer=1)] * 2000
    data = build(Model(tensors, [O("RELU", [0], [1])], [0], [1]))
    tracemalloc.start()
    began = time.monotonic()
    with pytest.raises(BadInputError, match="are referred to more than"):
        read(data, "m")
    assert time.monotonic() - began < 5
    assert tracemalloc.get_traced_memory()[1] < 8 * len(data)
    tracemalloc.stop()

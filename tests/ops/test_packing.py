# SPDX-License-Identifier: Apache-2.0
"""Packed weights: Python and C make the same bytes, and steps compute the same with them."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from graphs import rounding_for

from edgeq.ops import all_ops
from edgeq.ops.base import Fold, Rounding
from edgeq.ops.conv2d import Conv2dStep
from edgeq.ops.depthwise_conv2d import DepthwiseConv2dStep
from edgeq.ops.packing import (
    LAYOUT_NAMES,
    LAYOUTS,
    depthwise_chains,
    pack_weights,
    packed_bytes,
    reads_layout,
    unpack_weights,
)
from tests.stepcall import call_step, library


def _weights(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    """Small weights with a few large ones, so that every length of chain occurs."""
    weights = rng.normal(0, rng.choice([5, 20, 60]), (n, k)).clip(-128, 127).astype(np.int8)
    weights[rng.random((n, k)) < rng.choice([0, 0.01, 0.3])] = rng.choice([-128, 127])
    return weights


@pytest.mark.parametrize(
    ("board", "read"),
    [
        ("portable", ["portable"]),
        ("c4k16", ["portable", "c4k16"]),
        ("c8k4", ["portable", "c4k16", "c8k4"]),
        ("c2k4", ["portable", "c2k4"]),
    ],
)
def test_a_board_reads_its_layout_and_those_of_slower_kernels(board: str, read: list[str]) -> None:
    assert [name for code, name in LAYOUT_NAMES.items() if reads_layout(board, code)] == read


@pytest.mark.parametrize("layout", LAYOUTS)
def test_python_and_c_pack_the_same_bytes(layout: int) -> None:
    rng = np.random.default_rng(layout)
    for _ in range(60):
        weights = _weights(rng, int(rng.integers(1, 40)), int(rng.integers(1, 200)))
        packed = pack_weights(weights, layout)
        assert packed.nbytes == packed_bytes(layout, *weights.shape)
        in_c = np.full(packed.nbytes, 0x55, np.int8)
        library().eq_pack_weights(
            ctypes.c_void_p(in_c.ctypes.data), ctypes.c_void_p(weights.ctypes.data), layout, *weights.shape
        )
        np.testing.assert_array_equal(in_c, packed)
        np.testing.assert_array_equal(unpack_weights(packed, layout, *weights.shape), weights)


def test_python_and_c_find_the_same_chains() -> None:
    rng = np.random.default_rng(5)
    found = set()
    for _ in range(100):
        weights = _weights(rng, int(rng.integers(1, 30)), int(rng.integers(1, 40)))
        chains = depthwise_chains(weights)
        in_c = np.zeros_like(chains)
        library().eq_find_chains(
            ctypes.c_void_p(in_c.ctypes.data), ctypes.c_void_p(weights.ctypes.data), *weights.shape
        )
        np.testing.assert_array_equal(in_c, chains)
        found |= set(chains.tolist())
    assert len(found) > 5


def test_a_chain_never_exceeds_its_limit_and_could_not_be_longer() -> None:
    rng = np.random.default_rng(6)
    weights = _weights(rng, 12, 8)
    (chain,) = depthwise_chains(weights).tolist()
    runs = np.lib.stride_tricks.sliding_window_view(np.abs(weights.astype(int)), chain, axis=0).sum(axis=-1)
    assert runs.max() <= 255
    longer = np.lib.stride_tricks.sliding_window_view(np.abs(weights.astype(int)), chain + 1, axis=0).sum(axis=-1)
    assert longer.max() > 255


@pytest.mark.parametrize("name", ["conv2d", "depthwise_conv2d", "fully_connected"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_steps_compute_the_same_with_packed_weights_in_any_number_of_parts(name: str, layout: int) -> None:
    rng = np.random.default_rng(layout)
    op = next(op for op in all_ops() if op.name == name)
    packed = 0
    for _ in range(120):
        case = op.sample(rng)
        folded = case.op.fold(case.inputs, case.outputs, rounding=rounding_for(case, Rounding.TFLITE))
        assert isinstance(folded, Fold)
        if not isinstance(folded.step, Conv2dStep | DepthwiseConv2dStep):
            continue  # int16 pixels or low-bit weights
        packed += folded.step.packed(layout) is not folded.step
        source = case.inputs[0]
        assert source is not None
        codes = rng.integers(-128, 128, source.shape, np.int8)
        (expected,) = folded.step.reference_q([codes])
        for parts in (1, int(rng.integers(2, 5))):
            (found,) = call_step(folded.step, [codes], [expected], layout=layout, parts=parts)
            np.testing.assert_array_equal(found, expected, err_msg=f"{parts} parts of {folded.step}")
        restored = folded.step.packed(layout).unpacked(layout)
        assert np.array_equal(restored.weights.reshape(-1), folded.step.weights.reshape(-1))  # type: ignore[attr-defined]
    assert packed > 20


def _picture(rng: np.random.Generator) -> Conv2dStep:
    """A convolution of a picture that is wide enough for windows to be gathered from it; its bytes fill runs of 16."""
    kernel = (int(rng.integers(1, 5)), int(rng.integers(1, 6)))
    stride, dilation = (int(rng.integers(1, 3)), int(rng.integers(1, 4))), (int(rng.integers(1, 3)), 1)
    padding = (int(rng.integers(0, 3)), int(rng.integers(0, 3)))
    height, width, channels = int(rng.integers(8, 14)), 16 * int(rng.integers(1, 10)), int(rng.integers(1, 6))
    reach = [(kernel[i] - 1) * dilation[i] for i in range(2)]
    extra = rng.integers(0, 3, 2)  # windows that reach out at the bottom and at the right
    lines, pixels = (
        (size + padding[i] - reach[i] - 1) // stride[i] + 1 + int(extra[i]) for i, size in enumerate((height, width))
    )
    n = int(rng.integers(1, 20))
    weights = _weights(rng, n, kernel[0] * kernel[1] * channels).reshape(n, *kernel, channels)
    return Conv2dStep(
        groups=1, input_zero=int(rng.integers(-128, 128)), weights_zero=0, output_zero=3, act_min=-128, act_max=127,
        mode=1, input=(1, height, width, channels), output=(1, lines, pixels, n), kernel=kernel, stride=stride,
        dilation=dilation, padding=padding, weights=weights, bias=rng.integers(-9999, 9999, n).astype(np.int32),
        multipliers=np.full(n, 1 << 30, np.int32), shifts=np.full(n, -6, np.int8),
    )  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_windows_of_wide_pictures_are_gathered_whole(layout: int) -> None:
    rng = np.random.default_rng(layout)
    for _ in range(30):
        step = _picture(rng)
        codes = rng.integers(-128, 128, step.input, np.int8)
        (expected,) = step.reference_q([codes])
        (found,) = call_step(step, [codes], [expected], layout=layout)
        np.testing.assert_array_equal(found, expected, err_msg=str(step))

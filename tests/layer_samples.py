# SPDX-License-Identifier: Apache-2.0
"""Layers with samples of what flows through them, and grids of every kind, for tests of error compensation."""

from __future__ import annotations

import numpy as np
import pytest

from edgeq.ir.coding import CodeKind, Coding, shifts_entry
from edgeq.ops.base import Activation
from edgeq.quantize.methods.compensation import LayerSamples, Rounded
from edgeq.quantize.methods.weights import Grid

GRIDS = ["int8", "int4", "groups", "zeros", "log", "codebook", "ternary"]
grids = pytest.mark.parametrize("kind", GRIDS)
# (groups, channels per group, depth): dense, depthwise, grouped, one input, beyond a block of 128
SHAPES = [(1, 8, 24), (16, 1, 9), (2, 3, 10), (1, 4, 1), (1, 6, 150)]


def grid_of(weights: np.ndarray, kind: str = "int4") -> Grid:
    """Make a grid of a kind that reaches as far as the weights do."""
    count, depth = weights.shape
    peaks = np.maximum(np.abs(weights).max(axis=1), 1e-6)
    parts = -(-depth // 4)
    group = {"group": 4, "group_scales": np.tile(np.uint8([255, 130, 60]), (count, parts))[:, :parts]}
    powers = [shifts_entry(())] + [shifts_entry((exponent,)) for exponent in range(7)]
    table = np.int64(powers + [entry - (1 << 15) for entry in powers]).astype(np.int16)
    means = np.stack([np.sort(np.random.default_rng(row).choice(201, 16, replace=False) - 100) for row in range(count)])
    reach, coding = {
        "int8": (127, None),
        "int4": (7, Coding(CodeKind.TWOS, 4)),
        "groups": (7 * 255, Coding(CodeKind.TWOS, 4, **group)),
        "zeros": (7 * 255, Coding(CodeKind.UNSIGNED, 4, **group, group_zeros=np.full((count, parts), 8, np.uint8))),
        "log": (64, Coding(CodeKind.SHIFTS, 4, levels=table[np.newaxis])),
        "codebook": (100, Coding(CodeKind.LEVELS, 4, levels=means.astype(np.int16))),
        "ternary": (1.5, Coding(CodeKind.TERNARY, 2)),
    }[kind]
    return Grid(np.float32(peaks / reach).astype(np.float64), coding)


def random_layer(
    seed: int,
    shape: tuple[int, int, int] = (1, 16, 32),
    *,
    activation: Activation = Activation.RELU,
    noise: float = 0.02,
    rows: int = 400,
) -> LayerSamples:
    """Draw a layer whose inputs are correlated and not negative, and differ a little in the quantized model."""
    rng = np.random.default_rng(seed)
    groups, channels, depth = shape
    mix = rng.standard_normal((groups, depth, depth)) * rng.random((groups, 1, depth)) + np.eye(depth)
    exact = np.maximum(rng.standard_normal((groups, rows, depth)) @ mix, 0)
    inputs = np.round((exact + noise * rng.standard_normal(exact.shape)) * 64) / 64
    weights = rng.standard_normal((groups * channels, depth)) / np.sqrt(depth)
    bias = 0.1 * rng.standard_normal(groups * channels)
    return LayerSamples("conv", weights, bias, activation, np.float32(exact), np.float32(inputs))


def nearest(layer: LayerSamples, kind: str = "int4") -> Rounded:
    grid = grid_of(layer.weights, kind)
    return Rounded(grid, grid.nearest(layer.weights), layer.bias)

# SPDX-License-Identifier: Apache-2.0
"""Weight formats on a normal distribution: the errors that theory and the papers give, each within 1 %."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from weight_grids import fit, rounded

from edgeq.quantize.methods.blocks import blocks
from edgeq.quantize.methods.ternary import mean_level, twn_level
from edgeq.quantize.methods.weights import Grid

NORMAL = np.random.default_rng(7).standard_normal(2_097_152)
ASCENDING = np.sort(NORMAL)[np.newaxis]  # the order is all the same to formats without groups
QUANTILES = np.array([[NormalDist().inv_cdf((place + 0.5) / 16384) for place in range(16384)]])


def error(grid: Grid, weights: np.ndarray) -> float:
    return float(np.mean((rounded(grid, weights) - weights) ** 2))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("int:2,exponent=2", 0.190174),
        ("int:3,exponent=2", 0.046860),
        ("int:4,exponent=2", 0.0128894),
        ("int:5,exponent=2", 0.00369322),
        ("int:6,exponent=2", 0.00106929),
        ("int:8,exponent=2", 8.831e-5),
        ("int8:clip=mse,exponent=2", 8.831e-5),
        ("codebook:1,start=optimum", 0.36338),
        ("codebook:2,start=optimum", 0.117482),
        ("codebook:3,start=optimum", 0.0345478),
        ("codebook:4,start=optimum", 0.00950101),
        ("codebook:4,start=linear,iterations=300", 0.00950101),
        ("codebook:5,start=optimum,wide=true", 0.00250467),
        ("codebook:6,start=optimum,wide=true", 0.00064424),
        ("binary", 0.36338),
        ("ternary:optimum", 0.190174),
        ("ternary:twn", 0.191625),
        ("ternary:absmean", 0.263382),
        ("pot:3", 0.04758),
        ("pot:4", 0.03779),
        ("pot:5", 0.03777),
        ("apot:3", 0.04756),
        ("apot:4", 0.01210),
        ("apot:5", 0.00600),
    ],
)
def test_error_of_a_channel(text, expected):
    assert error(fit(text, QUANTILES), ASCENDING) == pytest.approx(expected, rel=0.01)


def test_error_of_fp8_with_four_at_its_largest_value():
    grid = fit("fp8:e4m3", np.array([[4.0, 1.0]]))
    assert error(grid, ASCENDING) == pytest.approx(7.065e-4, rel=0.01)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nf4:wide=true,group=", (0.00762, 0.00846, 0.00914)),
        ("nf4:group=", (0.00766, 0.00850, 0.00917)),
        ("fp4:group=", (0.01022, 0.01117, 0.01186)),
        ("int:clip=minmax,group=", (0.00941, 0.01159, 0.01376)),
        ("int:clip=minmax,asymmetric=true,group=", (0.00652, 0.00830, 0.01011)),
    ],
)
def test_error_of_groups(text, expected):
    rows = NORMAL.reshape(16, -1)
    found = [error(fit(f"{text}{group}", rows), rows) for group in (32, 64, 128)]
    assert found == pytest.approx(expected, rel=0.01)


def test_ternary_levels_and_zeros():
    cut = blocks(QUANTILES)
    assert twn_level(cut)[0] == pytest.approx(1.18416, rel=1e-3)
    assert np.mean(np.abs(QUANTILES) <= 0.7 * mean_level(cut)) == pytest.approx(0.4235, abs=1e-3)
    assert fit("ternary:optimum", QUANTILES).scales[0] == pytest.approx(1.224, abs=2e-3)
    grid = fit("ternary:absmean", QUANTILES)
    assert np.mean(grid.nearest(QUANTILES) == 1) == pytest.approx(0.3101, abs=1e-3)


def test_nf4_is_better_than_symmetric_int4_in_groups_and_asymmetric_int4_is_as_good():
    rows = NORMAL[: 1 << 18].reshape(16, -1)
    nf4, symmetric, asymmetric = (
        error(fit(text, rows), rows)
        for text in ("nf4:64", "int:4,64,clip=minmax", "int:4,64,clip=minmax,asymmetric=true")
    )
    assert 10 * np.log10(symmetric / nf4) > 1.2
    assert abs(10 * np.log10(asymmetric / nf4)) < 0.2


@pytest.mark.parametrize("start", ["linear", "quantile", "kmeans++", "optimum"])
@pytest.mark.parametrize("laplace", [False, True])
def test_codebook_is_better_than_uniform_levels(start, laplace):
    row = np.random.default_rng(5).laplace(size=(1, 4096)) if laplace else QUANTILES[:, ::4]
    best = error(fit(f"codebook:4,start={start}", row), row)
    assert best < error(fit("int:4,exponent=2", row), row)


def test_integer_group_scales_cost_less_than_a_thousandth():
    rows = NORMAL[: 1 << 18].reshape(256, -1)
    grid = fit("int:4,64,clip=minmax", rows)
    peaks = np.abs(rows.reshape(256, -1, 64)).max(axis=2, keepdims=True)
    exact = np.rint(rows.reshape(256, -1, 64) / peaks * 7) / 7 * peaks
    assert error(grid, rows) == pytest.approx(np.mean((exact.reshape(rows.shape) - rows) ** 2), rel=1e-3)

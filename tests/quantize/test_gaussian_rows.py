# SPDX-License-Identifier: Apache-2.0
"""What calibration methods must reach on N(0, 1): the error of the quantizer that they choose, integrated exactly."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from gaussian import mse_of_levels

from edgeq.quantize.affine import params_of_range
from edgeq.quantize.methods.aciq import Aciq, gauss_clip, laplace_clip
from edgeq.quantize.methods.base import Method
from edgeq.quantize.methods.best import Best
from edgeq.quantize.methods.histogram import Histogram
from edgeq.quantize.methods.kl import Kl
from edgeq.quantize.methods.levels import levels_of_range, with_zero
from edgeq.quantize.methods.mean_std import MeanStd
from edgeq.quantize.methods.minmax import MinMax
from edgeq.quantize.methods.mse import Mse
from edgeq.quantize.methods.percentile import Percentile

SAMPLE = np.random.default_rng(7).standard_normal(2_000_000).astype(np.float32)
POSITIVE = np.maximum(SAMPLE, 0)


def counted(values: np.ndarray) -> Histogram:
    seen = Histogram()
    seen.add(values)
    return seen


SEEN, SEEN_POSITIVE = counted(SAMPLE), counted(POSITIVE)


def mse_of_range(low: float, high: float, *, bits: int, symmetric: bool = False) -> float:
    ends = with_zero(np.float64(low), np.float64(high), symmetric=symmetric)
    levels = levels_of_range(*ends, bits=bits, symmetric=symmetric)
    return mse_of_levels(levels.scale * np.arange(levels.bottom, levels.top + 1))


def range_of(method: Method, values: np.ndarray) -> tuple[float, float]:
    observer = method.observer("x")
    observer.update(values)
    return observer.range()


@pytest.mark.parametrize(
    ("bits", "clip", "tolerance", "error"),
    [
        (2, 1.224, 0.05, 0.190174),
        (3, 1.952, 0.05, 0.046860),
        (4, 2.474, 0.05, 0.0128894),
        (5, 2.899, 0.05, 0.00369322),
        (6, 3.270, 0.05, 0.00106929),
        (8, 3.920, 0.15, 8.831e-5),
    ],
)
def test_mse_finds_the_optimal_symmetric_clip(bits, clip, tolerance, error):
    low, high = Mse(bits=bits, symmetric=True).choose(SEEN)
    assert high == -low
    assert high == pytest.approx(clip, abs=tolerance)
    assert mse_of_range(low, high, bits=bits, symmetric=True) == pytest.approx(error, rel=0.01)


@pytest.mark.parametrize(
    ("bits", "k", "error"),
    [(8, 2, 0.01156), (8, 3, 4.5326e-4), (8, 4, 8.821e-5), (8, 5, 1.2820e-4), (8, 6, 1.8455e-4),
     (4, 2, 0.0180), (4, 3, 0.01381), (4, 4, 0.02371)],
)  # fmt: skip
def test_mean_std_has_the_analytic_error(bits, k, error):
    inner = NormalDist()
    values = [inner.inv_cdf((index + 0.5) / 100_000) for index in range(100_000)]
    low, high = range_of(MeanStd(k), np.float32([*values, -7, 7]))  # the range is cut to what was seen
    assert (low, high) == pytest.approx((-k, k), rel=0.01)
    assert mse_of_range(low, high, bits=bits) == pytest.approx(error, rel=0.01)
    if bits == 8:
        params = params_of_range(low, high, name="x")
        levels = params.scale * (np.arange(-128, 128) - params.zero_point)
        assert mse_of_levels(levels) == pytest.approx(error, rel=0.01)


UNIFORM = {5: 0.00349521, 6: 0.00104005, 8: 8.769e-5}  # Max (1960); with fewer bits a level at zero costs over 1 %


@pytest.mark.parametrize("bits", UNIFORM)
def test_aciq_is_the_best_uniform_quantizer_of_a_gaussian(bits):
    low, high = Aciq(bits).choose(SEEN)
    assert (low, high) == pytest.approx((-gauss_clip(bits), gauss_clip(bits)), rel=2e-3)
    assert mse_of_range(low, high, bits=bits) == pytest.approx(UNIFORM[bits], rel=0.01)


def test_mse_with_both_ends_free_is_the_best_uniform_quantizer_and_with_one_factor_is_not():
    found = mse_of_range(*Mse(joint=True).choose(SEEN), bits=8)
    assert found == pytest.approx(UNIFORM[8], rel=0.01)
    assert found < mse_of_range(*Mse().choose(SEEN), bits=8)


def test_mse_of_the_positive_half_uses_unsigned_levels():
    low, high = Mse().choose(SEEN_POSITIVE)
    assert low == 0
    levels = high / 255 * np.arange(-255, 256)  # nine bits symmetric
    assert mse_of_levels(levels) < 1.01 * min(
        mse_of_levels(clip / 255 * np.arange(-255, 256)) for clip in np.arange(3.5, 5, 0.02)
    )


@pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (-3, 0), (0, 0.7), (-0.41, 0.4), (-4, 4), (0, 0)])
def test_levels_of_a_range_are_those_of_execution(low, high):
    levels, params = levels_of_range(low, high, bits=8, symmetric=False), params_of_range(low, high, name="x")
    assert float(levels.scale) == pytest.approx(params.scale, rel=1e-6)
    assert (levels.bottom, levels.top) == (-128 - params.zero_point, 127 - params.zero_point) or low == high
    levels = levels_of_range(-3.0, 3.0, bits=4, symmetric=True)
    assert (levels.bottom * levels.scale, levels.top * levels.scale, levels.top) == pytest.approx((-3, 3, 7))


def test_aciq_clips_are_those_of_the_paper():
    assert [gauss_clip(bits) for bits in (2, 3, 4, 8)] == pytest.approx([1.71, 2.15, 2.55, 3.92], abs=0.01)
    assert [laplace_clip(bits) for bits in (2, 3, 4, 8)] == pytest.approx([2.83, 3.89, 5.03, 9.89], abs=0.01)


def test_aciq_tells_a_laplace_from_a_gauss_distribution():
    laplace = np.random.default_rng(3).laplace(scale=0.5, size=500_000)
    for bits in (2, 4):
        low, high = range_of(Aciq(bits), laplace + 3)
        assert (low, high) == pytest.approx((3 - laplace_clip(bits) / 2, 3 + laplace_clip(bits) / 2), rel=0.01)
        assert Aciq(bits).choose(SEEN)[1] == pytest.approx(gauss_clip(bits), rel=0.01)


def test_aciq_of_what_a_relu_left_is_the_clip_of_one_bit_more():
    for bits in (2, 4):
        low, high = Aciq(bits).choose(SEEN_POSITIVE)
        assert low == 0
        assert high == pytest.approx(gauss_clip(bits + 1), rel=0.01)


def test_aciq_never_goes_beyond_what_was_seen_and_symmetric_lies_about_zero():
    low, high = range_of(Aciq(symmetric=True), np.float32([-1, 2, 0.5]))
    assert (low, high) == (-2, 2)
    assert range_of(Aciq(), np.linspace(-0.5, 0.25, 1001)) == (-0.5, 0.25)
    assert Aciq(4, symmetric=True).choose(SEEN) == pytest.approx((-gauss_clip(4), gauss_clip(4)), rel=0.01)


def test_kl_threshold_of_a_gaussian_and_of_its_positive_half():
    low, high = Kl().choose(SEEN)
    assert high == -low
    assert high == pytest.approx(3.88, abs=0.3)
    assert range_of(Kl(), SAMPLE[:100_000])[1] == pytest.approx(3.88, abs=0.3)
    for unsigned in (False, True):
        low, high = Kl(unsigned=unsigned).choose(SEEN_POSITIVE)
        assert low == 0
        assert high == pytest.approx(3.75, abs=0.3)
    assert Kl(symmetric=True).choose(SEEN_POSITIVE) == pytest.approx((-3.75, 3.75), abs=0.3)


@pytest.mark.parametrize("zeros", [0.1, 0.45, 0.6])
def test_kl_disregards_how_many_zeros_a_relu_left(zeros):
    positive = np.abs(SAMPLE[:500_000])
    many = np.append(positive, np.zeros(int(len(positive) * zeros / (1 - zeros)), np.float32))
    assert range_of(Kl(), many) == pytest.approx(range_of(Kl(), positive), abs=0.05)


def test_kl_gives_unsigned_storage_twice_the_levels():
    observed = np.maximum(np.random.default_rng(6).laplace(size=200_000), 0)
    seen = counted(observed.astype(np.float32))
    for bits in (4, 8):
        assert Kl(bits, unsigned=True).choose(seen)[1] > 1.02 * Kl(bits).choose(seen)[1]
        assert Kl(bits, unsigned=True).choose(SEEN) == Kl(bits).choose(SEEN)


def test_kl_cuts_the_outliers_that_minmax_keeps():
    rng = np.random.default_rng(3)
    values = rng.laplace(size=1_000_000)
    values[:100] *= 100
    absmax = np.abs(values).max()
    assert range_of(Kl(), values)[1] < 0.1 * absmax
    assert max(np.abs(range_of(MinMax(), values))) == pytest.approx(absmax)


def test_best_takes_the_full_range_of_uniform_data_and_clips_rare_outliers():
    assert range_of(Best(), np.linspace(-1, 1, 100_001)) == (-1, 1)
    assert range_of(Best(), np.concatenate([SAMPLE, np.float32([60, -60])]))[1] < 10
    assert range_of(Best(), np.concatenate([SAMPLE, np.full(200, 60, np.float32)]))[1] == 60
    assert range_of(Best(symmetric=True), np.linspace(0.5, 1, 100_001)) == (-1, 1)


def test_best_has_the_largest_cosine_of_its_candidates():
    values = np.random.default_rng(5).standard_t(4, 200_000).astype(np.float32)
    for symmetric in (False, True):
        tried = [Best(symmetric=symmetric), MinMax(), Percentile(symmetric=symmetric), Kl()]
        ends = [with_zero(*np.float64(range_of(method, values)), symmetric=symmetric) for method in tried]
        levels = [levels_of_range(*each, bits=8, symmetric=symmetric) for each in ends]
        found = [each.nearest(values.astype(np.float64)) for each in levels]
        cosines = [np.dot(each, values) / np.linalg.norm(each) / np.linalg.norm(values) for each in found]
        assert cosines[0] == max(cosines)
        assert min(cosines) < cosines[0]

# SPDX-License-Identifier: Apache-2.0
"""Calibration methods: the figures each must reach, and what they all share."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.errors import BadInputError, InvalidValueError, UsageError
from edgeq.quantize.methods import methods, parse, spell
from edgeq.quantize.methods.base import Method, Observer
from edgeq.quantize.methods.ema import Ema
from edgeq.quantize.methods.histogram import CAPACITY, Histogram
from edgeq.quantize.methods.kl import Kl, expand
from edgeq.quantize.methods.mean_std import MeanStd
from edgeq.quantize.methods.minmax import MinMax
from edgeq.quantize.methods.mse import Mse, quantization_error
from edgeq.quantize.methods.percentile import Percentile

NORMAL = np.random.default_rng(7).standard_normal(1_000_000).astype(np.float32)
EVERY = [method() for method in methods(Method).values()]
names = pytest.mark.parametrize("method", EVERY, ids=lambda method: method.name)


def range_of(method: Method, *batches: np.ndarray) -> tuple[float, float]:
    observer = method.observer("x")
    for batch in batches:
        observer.update(batch)
    return observer.range()


def affine_mse(values: np.ndarray, low: float, high: float, bits: int = 8) -> float:
    scale = (high - low) / (2**bits - 1)
    codes = np.clip(np.round((values.astype(np.float64) - low) / scale), 0, 2**bits - 1)
    return float(np.mean((codes * scale + low - values) ** 2))


def test_folder_registers_the_six_methods():
    assert list(methods(Method)) == ["ema", "kl", "mean_std", "minmax", "mse", "percentile"]


def test_minmax_is_exact():
    assert range_of(MinMax(), np.array([3.5, -1]), np.array([[-2.25]])) == (-2.25, 3.5)


def test_ema_of_equal_batches_is_their_range_and_of_two_kinds_is_the_closed_form():
    assert range_of(Ema(), *[np.array([-1.0, 2.0])] * 5) == pytest.approx((-1, 2))
    high = range_of(Ema(0.25), np.array([0.0, 1.0]), *[np.array([0.0, 5.0])] * 6)[1]
    assert high == pytest.approx(5 - 4 * 0.75**6, rel=1e-12)


@pytest.mark.parametrize("percent", [99.0, 99.9, 99.99])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_percentile_is_within_one_bin_of_numpy(percent, seed):
    rng = np.random.default_rng(seed)
    values = rng.standard_t(3, 90_000).astype(np.float32)
    low, high = range_of(Percentile(percent), *np.array_split(values, 7))
    bin_width = float(values.max() - values.min()) / (CAPACITY / 2)
    assert low == pytest.approx(np.quantile(values, 1 - percent / 100), abs=bin_width)
    assert high == pytest.approx(np.quantile(values, percent / 100), abs=bin_width)


def test_percentile_of_a_non_negative_tensor_starts_at_zero():
    assert range_of(Percentile(), np.abs(NORMAL[:1000]) + 1)[0] == 0


@pytest.mark.parametrize(("bits", "clip", "tolerance"), [(8, 3.92, 0.15), (4, 2.47, 0.05), (2, 1.22, 0.05)])
def test_mse_finds_the_optimal_clip_of_a_gaussian(bits, clip, tolerance):
    low, high = range_of(Mse(bits=bits, symmetric=True), NORMAL)
    assert high == -low
    assert high == pytest.approx(clip, abs=tolerance)


def test_mse_is_as_good_as_the_best_factor_by_measured_error():
    values = np.concatenate([NORMAL[:50_000], np.float32([9, -7])])
    low, high = float(values.min()), float(values.max())
    tried = [affine_mse(values, low * factor, high * factor) for factor in 1 - np.arange(80) / 100]
    assert affine_mse(values, *range_of(Mse(), values)) < 1.02 * min(tried)
    assert min(tried) < 0.9 * tried[0]


def test_mse_error_agrees_with_quantizing_the_values():
    seen = Histogram()
    seen.add(NORMAL)
    scale = 0.03
    exact = np.sum(np.abs(NORMAL - scale * np.clip(np.round(NORMAL / scale), -100, 90)).astype(np.float64) ** 2.4)
    jumps = -np.diff(seen.counts / seen.width, prepend=0, append=0)
    found = quantization_error(seen.edges(), jumps, scale=scale, levels=(-100, 90), exponent=2.4)
    assert found == pytest.approx(exact, rel=2e-3)


def test_mean_std_of_a_gaussian_reaches_the_analytic_error():
    quantiles = (np.arange(200_000) + 0.5) / 200_000
    values = np.array([NormalDist().inv_cdf(quantile) for quantile in quantiles], np.float32)
    low, high = range_of(MeanStd(), values)
    assert (low, high) == pytest.approx((-3, 3), rel=0.01)
    assert affine_mse(values, low, high) == pytest.approx(4.5326e-4, rel=0.01)


def test_kl_threshold_of_a_gaussian_and_of_its_positive_half():
    assert range_of(Kl(step=4), NORMAL)[1] == pytest.approx(3.88, abs=0.3)
    low, high = range_of(Kl(step=4), np.maximum(NORMAL, 0))
    assert low == 0
    assert high == pytest.approx(3.75, abs=0.3)


def test_kl_cuts_the_outliers_that_minmax_keeps():
    rng = np.random.default_rng(3)
    values = rng.laplace(size=1_000_000)
    values[:100] *= 100
    absmax = np.abs(values).max()
    assert range_of(Kl(step=8), values)[1] < 0.1 * absmax
    assert max(np.abs(range_of(MinMax(), values))) == pytest.approx(absmax)


def test_kl_expands_the_published_example():
    counts = np.array([1, 0, 2, 3, 5, 3, 1, 7], float)
    assert expand(counts, 2).tolist() == [2, 0, 2, 2, 4, 4, 4, 4]


def test_kl_of_few_values_is_minmax():
    assert range_of(Kl(), np.array([-1.0, 0.5, 3.0])) == (-1, 3)


@names
def test_non_finite_batch_is_rejected_whole(method):
    observer = method.observer("conv1/out")
    observer.update(NORMAL[:500])
    before = observer.range()
    for bad in (np.nan, np.inf, -np.inf):
        batch = np.full((2, 3), 9.0, np.float32)
        batch[1, 1] = bad
        with pytest.raises(InvalidValueError, match=r"'conv1/out'.*index 4"):
            observer.update(batch)
    assert observer.range() == before


@names
def test_empty_batch_is_ignored_and_nothing_seen_is_an_error(method):
    observer = method.observer("x")
    observer.update(np.zeros((0, 4)))
    with pytest.raises(BadInputError, match="no calibration data"):
        observer.range()


@names
def test_merged_observers_equal_one_that_saw_all(method):
    batches = np.array_split(NORMAL[:30_000] * np.repeat([1, 8, 0.5], 10_000), 6)
    whole, first, second, empty = (method.observer("x") for _ in range(4))
    for position, batch in enumerate(batches):
        whole.update(batch)
        (first if position < 2 else second).update(batch)
    first.merge(empty)
    first.merge(second)
    empty.merge(first)
    assert first.range() == pytest.approx(whole.range(), rel=1e-12)
    assert empty.range() == first.range()
    assert first.seen == whole.seen


@names
def test_merging_leaves_the_other_observer_alone(method):
    first, second = method.observer("x"), method.observer("y")
    second.update(NORMAL[:1000])
    before = second.range()
    first.merge(second)
    first.update(NORMAL[:1000] * 100)
    assert second.range() == before


@names
@pytest.mark.parametrize("factor", [0.125, 3.7, 1000.0])
def test_scaling_the_data_scales_the_range(method, factor):
    data = NORMAL[:20_000]
    expected = np.multiply(range_of(method, data), factor)
    span = float(data.max() - data.min()) * factor
    assert range_of(method, data * np.float32(factor)) == pytest.approx(tuple(expected), abs=0.03 * span)


@names
def test_constant_and_all_zero_tensors_have_a_range(method):
    low, high = range_of(method, np.full(300, 5, np.float32))
    assert low <= 5 <= high
    assert range_of(method, np.zeros(300, np.float32)) == (0, 0)


def size_in_memory(observer: Observer) -> int:
    values = list(vars(observer).values())
    values += [part for value in values if isinstance(value, Histogram) for part in vars(value).values()]
    return sum(value.nbytes for value in values if isinstance(value, np.ndarray))


@names
def test_memory_does_not_grow_with_the_data(method):
    observer = method.observer("x")
    for power in range(-20, 20):
        observer.update(NORMAL[:2000] * np.float32(3.0**power))
        assert size_in_memory(observer) <= 8 * CAPACITY + 64


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=8), min_size=1, max_size=6),
    st.randoms(),
)
def test_histogram_depends_on_neither_order_nor_grouping(batches, random):
    def counted(groups):
        seen = Histogram()
        for group in groups:
            seen.add(np.array(group, np.float32))
        return seen

    first = counted(batches)
    flat = [[value] for batch in batches for value in batch]
    random.shuffle(flat)
    second = counted(flat)
    merged = Histogram()
    for group in flat:
        merged.merge(counted([group]))
    for other in (second, merged):
        assert (first.low, first.high, first.width, first.first) == (other.low, other.high, other.width, other.first)
        assert np.array_equal(first.counts, other.counts)
    assert len(first.counts) <= CAPACITY
    assert first.counts.sum() == len(flat)


def test_parse_reads_names_and_options_and_spell_writes_them():
    assert parse("minmax", Method) == MinMax()
    assert parse("percentile:99.9", Method) == Percentile(99.9)
    assert parse("mse:candidates=40,symmetric=true", Method) == Mse(candidates=40, symmetric=True)
    for method in [*EVERY, Mse(bits=4, symmetric=True)]:
        assert parse(spell(method), Method) == method


REFUSED = (
    "maximum minmax:1 percentile:high percentile:10 percentile:nan mse:bits=x mse:80,2,8,true,1 mse:bits=8,bits=8 "
    "kl:step=0 percentile:a=3"
)


@pytest.mark.parametrize("text", REFUSED.split())
def test_parse_refuses_what_it_does_not_know(text):
    with pytest.raises(UsageError):
        parse(text, Method)

# SPDX-License-Identifier: Apache-2.0
"""Calibration methods: the figures each must reach, and what they all share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.errors import BadInputError, InvalidValueError, UsageError
from edgeq.quantize.methods import methods, parse, spell
from edgeq.quantize.methods.avg_minmax import AvgMinMax
from edgeq.quantize.methods.base import Method, Observer
from edgeq.quantize.methods.ema import Ema
from edgeq.quantize.methods.histogram import CAPACITY, Histogram
from edgeq.quantize.methods.kl import SMOOTHING, Kl, divergences, merge_levels
from edgeq.quantize.methods.levels import Levels
from edgeq.quantize.methods.minmax import MinMax
from edgeq.quantize.methods.mse import Density, Mse
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


def test_folder_registers_the_methods():
    assert set(methods(Method)) >= {
        "aciq", "avg_minmax", "best", "ema", "kl", "mean_std", "minmax", "mse", "percentile", "ristretto",
    }  # fmt: skip


def test_minmax_is_exact():
    assert range_of(MinMax(), np.array([3.5, -1]), np.array([[-2.25]])) == (-2.25, 3.5)
    assert range_of(MinMax(symmetric=True), np.array([1.5, 0.5]), np.array([[2.25]])) == (-2.25, 2.25)


def test_ema_of_equal_batches_is_their_range_and_of_two_kinds_is_the_closed_form():
    assert range_of(Ema(), *[np.array([-1.0, 2.0])] * 5) == pytest.approx((-1, 2))
    high = range_of(Ema(0.25), np.array([0.0, 1.0]), *[np.array([0.0, 5.0])] * 6)[1]
    assert high == pytest.approx(5 - 4 * 0.75**6, rel=1e-12)


def test_avg_minmax_is_the_mean_of_each_samples_range():
    observer = AvgMinMax().observer("x")
    observer.update(np.array([[[-1.0, 2]], [[-3, 5]]]))
    observer.update(np.array([[[-5.0, -4]]]))
    assert observer.range() == (-3, 1)
    assert range_of(AvgMinMax(), np.array([1.0, 2, 9])) == (1, 9)


@pytest.mark.parametrize("percent", [99.0, 99.9, 99.99])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_percentile_is_within_one_bin_of_numpy(percent, seed):
    rng = np.random.default_rng(seed)
    values = rng.standard_t(3, 90_000).astype(np.float32)
    low, high = range_of(Percentile(percent), *np.array_split(values, 7))
    bin_width = float(values.max() - values.min()) / (CAPACITY / 2)
    assert low == pytest.approx(np.quantile(values, 1 - percent / 100), abs=bin_width)
    assert high == pytest.approx(np.quantile(values, percent / 100), abs=bin_width)


def test_symmetric_percentile_is_that_of_the_magnitudes():
    values = np.random.default_rng(4).standard_t(3, 90_000).astype(np.float32) + 1
    low, high = range_of(Percentile(99.9, symmetric=True), *np.array_split(values, 3))
    assert low == -high
    assert high == pytest.approx(np.quantile(np.abs(values), 0.999), abs=float(np.abs(values).max()) / 4096)


def test_percentile_of_a_non_negative_tensor_starts_at_zero():
    assert range_of(Percentile(), np.abs(NORMAL[:1000]) + 1)[0] == 0


def test_mse_is_as_good_as_the_best_factor_by_measured_error():
    values = np.concatenate([NORMAL[:50_000], np.float32([9, -7])])
    low, high = float(values.min()), float(values.max())
    tried = [affine_mse(values, low * factor, high * factor) for factor in 1 - np.arange(80) / 100]
    assert affine_mse(values, *range_of(Mse(), values)) < 1.02 * min(tried)
    assert min(tried) < 0.9 * tried[0]


def test_mse_widens_ranges_that_are_narrower_than_asked():
    narrow = np.linspace(-0.001, 0.002, 50)
    low, high = range_of(Mse(least_width=0.01), narrow)
    assert -0.0011 < low < 0
    assert high == low + 0.01
    rows = Mse(least_width=0.01).ranges(np.array([narrow, narrow * 1000]))
    assert rows[1][0] == rows[0][0] + 0.01
    assert rows[1][1] < 2.01


def test_mse_error_agrees_with_quantizing_the_values():
    seen = Histogram()
    seen.add(NORMAL)
    levels = Levels(np.float64(0.03), np.float64(-100), np.float64(90))
    exact = np.sum(np.abs(NORMAL - levels.nearest(NORMAL.astype(np.float64))) ** 2.4)
    assert Density.of(seen).error(levels, 2.4) == pytest.approx(exact, rel=2e-3)


def test_kl_merges_the_published_example():
    counts = np.array([1, 0, 2, 3, 5, 3, 1, 7], float)
    sums, occupied = merge_levels(counts, np.array([8]), 2)
    assert sums.tolist() == [[6, 16]]
    spread = np.where(counts > 0, np.repeat(sums / occupied, 4), 0)
    assert spread.tolist() == [2, 0, 2, 2, 4, 4, 4, 4]


def literal_divergence(counts: np.ndarray, kept: int, levels: int) -> float:
    p = counts[:kept].copy()
    p[-1] += counts[kept:].sum()
    q = np.zeros(kept)
    for level in range(levels):
        part = slice(level * kept // levels, (level + 1) * kept // levels)
        filled = counts[part] > 0
        q[part][filled] = counts[part].sum() / max(1, np.count_nonzero(filled))
    if not q.any():
        return float("inf")
    p, q = p / p.sum(), q / q.sum()
    holes = (p > 0) & (q == 0)
    q = np.where(holes, SMOOTHING, q * (1 - SMOOTHING * np.count_nonzero(holes)))
    return float(np.sum(p[p > 0] * np.log(p[p > 0] / q[p > 0])))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from([0, 0, 1, 2, 7, 30, 1000]), min_size=8, max_size=40), st.integers(2, 8))
def test_kl_divergences_are_those_of_the_distributions_written_out(counts, levels):
    counts = np.array([*counts, 3], float)
    kept = np.arange(levels, len(counts) + 1)
    expected = [literal_divergence(counts, int(each), levels) for each in kept]
    assert divergences(counts, kept, levels) == pytest.approx(np.array(expected), rel=1e-9, abs=1e-12)


def test_kl_of_few_values_is_minmax():
    assert range_of(Kl(), np.array([-1.0, 0.5, 3.0])) == (-1, 3)
    crowded = np.repeat(np.linspace(0, 3.5, 101), 400)
    assert range_of(Kl(), np.append(crowded, 4)) == (0, 4)
    assert range_of(Kl(bits=4), np.append(crowded, 4))[1] < 3.8


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


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=400), st.integers(-20, 20))
def test_powers_of_two_scale_every_range_exactly(values, power):
    for method in EVERY:
        low, high = range_of(method, np.array(values, np.float32) * np.float32(2.0**20))
        expected = (low * 2.0**power, high * 2.0**power)
        assert range_of(method, np.array(values, np.float32) * np.float32(2.0 ** (20 + power))) == expected


@names
@pytest.mark.parametrize("factor", [3.7, 1000.0])
def test_scaling_the_data_scales_the_range(method, factor):
    data = NORMAL[:20_000]
    expected = np.multiply(range_of(method, data), factor)
    low, high = range_of(method, data * np.float32(factor))
    if method.name == "ristretto":  # powers of two only
        assert high / range_of(method, data)[1] in (2.0 ** np.floor(np.log2(factor)), 2.0 ** np.ceil(np.log2(factor)))
    else:
        assert (low, high) == pytest.approx(tuple(expected), abs=0.01 * factor * float(data.max() - data.min()))


@names
def test_order_of_batches_matters_to_the_moving_average_alone(method):
    batches = [NORMAL[:4000] * scale for scale in (1, 3, 0.5, 2)]
    forwards, backwards = range_of(method, *batches), range_of(method, *batches[::-1])
    assert (forwards == pytest.approx(backwards, rel=1e-12)) == (method.name != "ema")


@given(st.lists(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=5), min_size=2, max_size=6))
def test_another_batch_never_shrinks_minmax(batches):
    observer = MinMax().observer("x")
    before = (np.inf, -np.inf)
    for batch in batches:
        observer.update(np.float32(batch))
        low, high = observer.range()
        assert low <= before[0]
        assert high >= before[1]
        before = (low, high)


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
    assert parse("kl:bits=4,unsigned=true", Method) == Kl(bits=4, unsigned=True)
    assert parse("mse:candidates=40,symmetric=true", Method) == Mse(candidates=40, symmetric=True)
    for method in [*EVERY, Mse(bits=4, symmetric=True)]:
        assert parse(spell(method), Method) == method


REFUSED = (
    "maximum minmax:1 minmax:true,1 percentile:high percentile:10 percentile:nan mse:bits=x mse:80,2,8,true,false,0,1 "
    "mse:bits=8,bits=8 mse:symmetric=true,joint=true mse:least_width=-1 mse:least_width=inf percentile:a=3 "
    "kl:bits=12 kl:unsigned=true,symmetric=true aciq:16 best:1 ristretto:17 avg_minmax:1"
)


@pytest.mark.parametrize("text", REFUSED.split())
def test_parse_refuses_what_it_does_not_know(text):
    with pytest.raises(UsageError):
        parse(text, Method)

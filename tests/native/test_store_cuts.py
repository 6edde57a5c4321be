# SPDX-License-Identifier: Apache-2.0
"""Power lost at any instant leaves the old or the new model, whole; so does flash that decays."""

from __future__ import annotations

import ctypes
import itertools

import pytest
from store_sim import DONE, HALF, NOTHING, PAGES, RANDOM, UNITS, Count, Sim, sample

OLD = sample(1)
NEW = sample(2, n_bytes=544)
STARTS = range(4)  # never used, with one model, with two, with one and one that was given up
POINTS = 10_000  # of a geometry, in every run
TRIPLES = 10**6  # of all geometries, in a long run
GEOMETRIES = list(itertools.product(PAGES, UNITS))


def _cuts(sim: Sim, start: int, *, stride: int = 0, every_mode: bool = False) -> Count:
    count = Count()
    sim.lib.sim_power_cuts(
        ctypes.byref(count), start, ctypes.byref(OLD.c), ctypes.byref(NEW.c), stride, ctypes.c_bool(every_mode)
    )
    return count


@pytest.mark.parametrize(("page", "unit"), GEOMETRIES)
def test_one_or_two_cuts_leave_the_old_or_the_new_model(page: int, unit: int) -> None:
    sim = Sim(page=page, unit=unit, room=1024)
    once = [_cuts(sim, start) for start in STARTS]
    singles = sum(count.points for count in once)
    operations = singles // len(STARTS) // 4
    stride = max(1, singles * operations // max(1, POINTS - singles))
    twice = [_cuts(sim, start, stride=stride) for start in STARTS]
    for count in (*once, *twice):
        assert count.bad == 0, count.first_bad
        assert count.kept > operations  # cuts fell before the new model was committed
        assert count.taken >= 8  # and after, while it was on trial and when it was confirmed
        assert count.kept + count.taken == 4 * operations
    assert sum(count.points for count in twice) > 0.7 * POINTS
    assert sim.violation is None


@pytest.mark.parametrize(("page", "unit"), GEOMETRIES)
def test_three_cuts_at_random_leave_a_model_whole(page: int, unit: int) -> None:
    _triples(page, unit, 100)


@pytest.mark.slow
@pytest.mark.parametrize(("page", "unit"), GEOMETRIES)
def test_a_million_times_three_cuts_leave_a_model_whole(page: int, unit: int) -> None:
    _triples(page, unit, TRIPLES // len(GEOMETRIES) // len(STARTS) + 1)


def _triples(page: int, unit: int, triples: int) -> None:
    sim = Sim(page=page, unit=unit, room=1024)
    for start in STARTS:
        count = Count()
        sim.lib.sim_triple_cuts(
            ctypes.byref(count), start, ctypes.byref(OLD.c), ctypes.byref(NEW.c), ctypes.c_uint64(triples)
        )
        assert (count.points, count.bad) == (triples, 0), count.first_bad


@pytest.mark.slow
@pytest.mark.parametrize(("page", "unit", "stride"), [(256, 32, 1), (1024, 32, 1), (256, 8, 1), (256, 4, 3)])
@pytest.mark.parametrize("start", STARTS)
def test_all_pairs_of_cuts_leave_the_old_or_the_new_model(page: int, unit: int, stride: int, start: int) -> None:
    count = _cuts(Sim(page=page, unit=unit, room=1024), start, stride=stride, every_mode=True)
    assert count.bad == 0, count.first_bad


def _rot(bursts: int, *, page: int = 256, unit: int = 4) -> Count:
    sim = Sim(page=page, unit=unit, room=1024)
    count = Count()
    sim.lib.sim_bit_rot(ctypes.byref(count), ctypes.byref(OLD.c), ctypes.byref(NEW.c), ctypes.c_uint64(bursts))
    assert count.bad == 0, count.first_bad
    return count


@pytest.mark.parametrize(("page", "unit"), [(256, 4), (256, 32), (1024, 1)])
def test_any_bit_that_falls_leaves_a_model(page: int, unit: int) -> None:
    count = _rot(0, page=page, unit=unit)
    assert count.points == count.kept + count.taken > 16_000
    assert count.kept >= 8 * (len(NEW.model) + 256)  # where the newer one is hit the older one runs


def test_bursts_leave_a_model_or_none_but_never_other_bytes() -> None:
    count = _rot(100_000)
    assert count.kept > 20_000
    assert count.taken > 20_000


@pytest.mark.parametrize("mode", [NOTHING, HALF, RANDOM, DONE])
@pytest.mark.parametrize("unit", UNITS)
def test_a_trial_ends_however_its_starts_are_cut(unit: int, mode: int) -> None:
    sim = Sim(unit=unit)
    sim.push(OLD)
    assert sim.send(NEW) == "EQ_OK"
    found = []
    for start in range(6):
        if start % 2 == 1:
            sim.cut_after(0, mode)
        found.append(sim.running() if sim.restart() in (0, 1) else None)
    trials = [model == NEW.model for model in found]
    assert found[-1] == OLD.model
    assert 2 <= sum(trials) <= 3
    assert sim.violation is None


@pytest.mark.parametrize("mode", [NOTHING, HALF, RANDOM, DONE])
@pytest.mark.parametrize("unit", UNITS)
def test_a_confirmation_that_was_cut_can_be_repeated(unit: int, mode: int) -> None:
    sim = Sim(unit=unit)
    sim.push(OLD)
    assert sim.send(NEW) == "EQ_OK"
    assert sim.restart() == 1
    sim.cut_after(0, mode)
    assert sim.confirm() == "cut"
    assert sim.restart() == 1
    assert sim.confirm() == "EQ_OK"
    assert [sim.restart() for _ in range(5)] == [1] * 5
    assert sim.violation is None


@pytest.mark.parametrize("mode", [NOTHING, HALF, RANDOM, DONE])
@pytest.mark.parametrize("unit", UNITS)
def test_giving_a_model_up_can_be_repeated_when_it_was_cut(unit: int, mode: int) -> None:
    sim = Sim(unit=unit)
    sim.push(OLD)
    sim.push(NEW)
    sim.cut_after(0, mode)
    assert sim.revert() == "cut"
    if sim.restart() == 1:
        assert sim.revert() == "EQ_OK"
    assert sim.restart() == 0
    assert sim.running() == OLD.model
    assert sim.violation is None

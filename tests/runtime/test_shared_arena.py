# SPDX-License-Identifier: Apache-2.0
"""Models that share an arena, and models that take another one's place in a running process."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pytest
from small_models import small_model

import edgeq
from edgeq.api import Model
from edgeq.errors import UsageError
from edgeq.format.read import read_model

WARM_UP = 250  # swaps after which everything is there that is made once, the allocator's pools included
SWAPS = 1000
KEPT_BYTES = 4 << 20  # what so many swaps may leave behind; every second arena alone has 18 kB


def _model(seed: int, channels: int) -> Model:
    data = small_model(seed=seed, channels=channels)
    return Model(read_model(data), data)


def _picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9, 10, (1, 6, 6, 2)).astype(np.float32)  # (1, H, W, C)


def test_models_that_take_turns_on_one_arena_give_what_they_give_alone() -> None:
    models = [_model(1, 3), _model(2, 16), _model(3, 5)]
    alone = [[model.run([_picture(turn)])[0] for turn in range(4)] for model in models]
    arena = edgeq.Arena(max(model.plan.arena_bytes for model in models))
    for model in models:
        model.arena = arena
    for turn in range(4):
        for model, expected in zip(models, alone, strict=True):
            arena.memory[:] = 0xA5
            np.testing.assert_array_equal(model.run([_picture(turn)])[0], expected[turn])
            assert (arena.memory != 0xA5).any()
    models[0].arena = None
    arena.memory[:] = 0xA5
    np.testing.assert_array_equal(models[0].run([_picture(0)])[0], alone[0][0])
    assert (arena.memory == 0xA5).all()


def test_an_arena_that_is_too_small_is_refused() -> None:
    model = _model(1, 16)
    needed = model.plan.arena_bytes
    with pytest.raises(UsageError, match=f"'small' needs an arena of {needed} bytes, this one has {needed - 1}"):
        model.arena = edgeq.Arena(needed - 1)
    assert model.arena is None
    assert model.run([_picture(0)])
    with pytest.raises(UsageError, match="cannot have -1 bytes"):
        edgeq.Arena(-1)


def _resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("shared", [False, True], ids=["own arenas", "one arena"])
def test_a_model_can_take_another_ones_place_for_ever(shared: bool, tmp_path: Path) -> None:
    paths, expected = [], []
    for seed, channels in ((1, 3), (2, 512)):
        paths.append(tmp_path / f"{seed}.eqm")
        paths[-1].write_bytes(small_model(seed=seed, channels=channels))
        expected.append(edgeq.load(paths[-1]).run([_picture(0)])[0])
    assert edgeq.load(paths[1]).plan.arena_bytes > 18_000
    arena = edgeq.Arena(max(edgeq.load(path).plan.arena_bytes for path in paths))
    before = 0
    for swap in range(WARM_UP + SWAPS):
        if swap == WARM_UP:
            before = _resident_bytes()
        model = edgeq.load(paths[swap % 2])
        if shared:
            model.arena = arena
        np.testing.assert_array_equal(model.run([_picture(0)])[0], expected[swap % 2])
    assert _resident_bytes() - before <= KEPT_BYTES

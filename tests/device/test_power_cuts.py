# SPDX-License-Identifier: Apache-2.0
"""Emulated boards that lose their power amid updates keep a whole model."""

from __future__ import annotations

from pathlib import Path

import pytest
from device.power_cuts import COMMITTED, WRITING, cut_power
from needs import needs_program

from edgeq.board import load_board


@pytest.mark.slow
@pytest.mark.parametrize("board", ["mps2-an386", "microbit"])
def test_a_board_whose_power_is_cut_amid_updates_keeps_a_model(board: str, tmp_path: Path) -> None:
    needs_program("qemu-system-arm")
    count = cut_power(load_board(board), cuts=20, seed=2, folder=tmp_path)
    assert count.bad == []
    assert count.phases.total() == 20
    assert count.phases[WRITING] >= 6
    assert count.phases[COMMITTED] >= 1

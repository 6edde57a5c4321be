# SPDX-License-Identifier: Apache-2.0
"""The store's tests notice every check that is missing and every line that is broken."""

from __future__ import annotations

import sys

import pytest
from store_mutants import BROKEN, main, store_mutants


@pytest.mark.slow
def test_every_mutant_of_the_store_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["store_mutants.py"])
    assert main() == 0


def test_every_line_to_break_still_exists() -> None:
    assert len(list(store_mutants())) >= 90
    assert len(BROKEN) >= 10

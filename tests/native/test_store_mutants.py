# SPDX-License-Identifier: Apache-2.0
"""The store's tests notice every check that is missing and every line that is broken."""

from __future__ import annotations

import sys

import pytest
from store_mutants import BROKEN, EQUIVALENT, main, store_mutants


@pytest.mark.slow
def test_every_mutant_of_the_store_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["store_mutants.py"])
    assert main() == 0


def test_every_line_to_break_and_every_explained_mutant_still_exists() -> None:
    found = list(store_mutants())
    assert len(found) >= 90
    assert len(BROKEN) >= 10
    for file, about, _ in EQUIVALENT:
        assert any(mutant.file == file and about in mutant.about for mutant in found), about

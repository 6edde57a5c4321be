# SPDX-License-Identifier: Apache-2.0
"""The fuzzer notices every check that is missing from the loader."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from mutants import EQUIVALENT, MODEL, main, mutants
from needs import needs_program

from edgeq.paths import native_dir


@pytest.mark.slow
def test_every_mutant_of_the_loader_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_program("clang-19")
    monkeypatch.setattr(sys, "argv", ["mutants.py"])
    assert main() == 0


def test_every_explained_mutant_still_exists() -> None:
    found = list(mutants(Path(native_dir() / MODEL).read_text()))
    assert len(found) >= 80
    assert set(EQUIVALENT) <= {mutant.removed for mutant in found}

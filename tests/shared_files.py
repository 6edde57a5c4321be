# SPDX-License-Identifier: Apache-2.0
"""Optional files that tests use where they are present: a folder named by the environment variable EDGEQ_SHARED."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def shared(relative: str) -> Path:
    """Return a file of the optional folder, or skip saying that the folder is not there.

    Fails when the folder is given but lacks the file, so that a wrong path never passes unnoticed.
    """
    root = os.environ.get("EDGEQ_SHARED")
    if not root:
        pytest.skip("EDGEQ_SHARED is not set: the optional models and cases are absent")
    path = Path(root) / relative
    assert path.exists(), f"EDGEQ_SHARED is set, but has no {relative}"
    return path

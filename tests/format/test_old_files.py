# SPDX-License-Identifier: Apache-2.0
"""Model files of earlier versions keep loading and keep their integers."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from edgeq.api import load
from edgeq.paths import demo_dir

DATA = Path(__file__).resolve().parent.parent / "data"
OUTPUTS = {"digits_int8_v1.eqm": 0x9796A160}  # CRC-32 of the outputs on the first 50 test pictures


@pytest.mark.parametrize("name", sorted(OUTPUTS))
@pytest.mark.parametrize("engine", ["native", "reference"])
def test_old_files_keep_their_integers(name: str, engine: str) -> None:
    model = load(DATA / name)
    crc = 0
    for picture in np.load(demo_dir() / "digits_test.npz", allow_pickle=False)["x"][:50]:
        crc = zlib.crc32(model.run([picture[None]], engine=engine)[0].tobytes(), crc)
    assert crc == OUTPUTS[name]


def test_every_old_file_is_tested() -> None:
    assert {path.name for path in DATA.glob("*.eqm")} == set(OUTPUTS)

# SPDX-License-Identifier: Apache-2.0
"""Folders as edgeq build writes them, with any firmware."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

RP2040, RP2350 = 0xE48BFF56, 0xE48BFF59


def write_build(folder: Path, board: str, files: dict[str, bytes], *, slots: bool = False) -> Path:
    """Write files and the list of them; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = {}
    for name, data in files.items():
        (folder / name).write_bytes(data)
        listed[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    about = {"schema": "edgeq.build/1", "model": "digits", "board": board, "compiler": "any", "slots": slots}
    (folder / "edgeq-build.json").write_text(json.dumps({**about, "files": listed}))
    return folder


def uf2(*, blocks: int = 3, family: int = RP2040) -> bytes:
    """Return a UF2 file of blocks of zeros for the start of flash."""
    return b"".join(
        struct.pack("<8I", 0x0A324655, 0x9E5D5157, 0x2000, 0x10000000 + 256 * i, 256, i, blocks, family)
        + bytes(476)
        + struct.pack("<I", 0x0AB16F30)
        for i in range(blocks)
    )

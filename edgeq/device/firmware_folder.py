# SPDX-License-Identifier: Apache-2.0
"""The folder of a microcontroller's firmware, which edgeq flash puts on the board."""

from __future__ import annotations

from pathlib import Path

from edgeq.board import Board
from edgeq.compile.plan import Plan
from edgeq.device.build import MANIFEST, BuiltFiles, require_replaceable, write_build
from edgeq.device.firmware import build_firmware, build_slots_firmware

_README = """\
# {name} for {title}

Built by edgeq with {compiler}.

    edgeq flash .                    # put it on the board, in the board's own way
    {then}

{holds}
`firmware.elf` has the symbols, `firmware.map` says where everything lies; the other forms of it are for other flashing
programs. `{manifest}` lists every file with its size and SHA-256.
"""
_FIXED = "The firmware holds the model, whose file is `model.eqm`."
_SLOTS = "The firmware has two slots for models and none in them yet; `model.eqm` is the first to bring."


def build_firmware_folder(
    plan: Plan,
    model: bytes,
    board: Board,
    folder: Path,
    *,
    slots: bool = False,
    key: bytes | None = None,
    toolchain: str | None = None,
) -> BuiltFiles:
    """Write a board's firmware into ``folder``, all or nothing, in every form that flashing programs take.

    The model is part of it, or with ``slots`` to be brought over the link, signed where there is a public ``key``.
    Raises what building raises, and StorageError for a folder that is not to be replaced.
    """
    require_replaceable(folder)
    if slots:
        firmware = build_slots_firmware(board, key=key, toolchain=toolchain)
    else:
        firmware = build_firmware(board, plan, model, toolchain=toolchain)
    forms = {"elf": firmware.elf, "bin": firmware.bin, "hex": firmware.hex.encode()}
    if firmware.map is not None:
        forms["map"] = firmware.map.encode()
    if firmware.uf2 is not None:
        forms["uf2"] = firmware.uf2
    contents = {f"firmware.{suffix}": data for suffix, data in forms.items()}
    contents["model.eqm"] = model
    signed = "" if key is None else " --key PRIVATE"
    push = f"edgeq push model.eqm{signed} --port PORT  # bring it over the link"
    about = _README.format(
        name=plan.name,
        title=board.title,
        compiler=firmware.compiler,
        then=push if slots else "edgeq run model.eqm --port PORT  # run the model there",
        holds=_SLOTS if slots else _FIXED,
        manifest=MANIFEST,
    )
    contents["README.md"] = about.encode()
    return write_build(folder, contents, model=plan.name, board=board, compiler=firmware.compiler, slots=slots)

# SPDX-License-Identifier: Apache-2.0
"""Flash through a debug probe with pyocd, as a program of its own."""

from __future__ import annotations

from edgeq.device.flashers import Job, failure, run_program
from edgeq.errors import UsageError

_INSTALL = "pip install 'edgeq[flash]', or pip install pyocd"
_RULES = "on Linux a user needs pyocd's udev rules: https://github.com/pyocd/pyOCD/tree/main/udev"


def flash(job: Job) -> str:
    """Program the chip's flash by sectors and start it."""
    board = job.build.board
    if not board.pyocd_target:
        raise UsageError(f"pyocd has no target for board {board.name}", hint=f"it is flashed with {board.flasher}")
    hints = (
        ("no connected debug probe", f"plug in the board's debug USB connector; {_RULES}"),
        ("enter the number of the debug probe", "several probes are connected: say which with --serial-number"),
        ("more than one debug probe", "give the whole --serial-number"),
        ("not recognized", f"pyocd learns the chip with: pyocd pack install {board.pyocd_target}"),
        ("permission", _RULES),
        ("access denied", _RULES),
        ("locked", f"unlock the chip, which erases it: pyocd erase --mass --target {board.pyocd_target}"),
        ("no ack", "check power and the wires of the debug connector"),
    )
    image = job.build.firmware(".hex")
    which = () if job.serial_number is None else ("--uid", job.serial_number)
    job.tell(f"flashing {image} with pyocd, target {board.pyocd_target}")
    # -v: it says what it programmed, which is the one sign that it did
    arguments = ("load", "-v", "--no-wait", "--no-config", "--target", board.pyocd_target, *which, str(image))
    printed = run_program("pyocd", arguments, install=_INSTALL, hints=hints)
    if "programmed" not in printed:
        raise failure("pyocd", "it ended without saying what it programmed", printed, hints=hints)
    return f"pyocd programmed {board.name}"

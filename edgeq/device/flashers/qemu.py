# SPDX-License-Identifier: Apache-2.0
"""Start a board's emulator with the firmware and keep it running, in the place of a board that is plugged in."""

from __future__ import annotations

import re
import time
from typing import NoReturn

from edgeq.device.emulator import Emulator
from edgeq.device.flashers import Job
from edgeq.errors import UsageError
from edgeq.paths import read_bytes

STORE = "store.bin"  # in the folder of the build: the models that the emulated flash keeps
_LOCAL_URL = re.compile(r"socket://(?:127\.0\.0\.1|localhost):(\d{1,5})")
_LOOK_SECONDS = 0.2


def flash(job: Job) -> NoReturn:
    """Run until the user interrupts; the firmware's serial line is on a TCP port of this machine.

    Raises UsageError for a port that is no TCP port here, DeviceError when the emulator ends by itself.
    """
    board = job.build.board
    if job.serial_number is not None:
        raise UsageError("an emulator has no serial number", hint="leave out --serial-number")
    store = job.build.folder / STORE if board.store is not None else None
    elf, tcp_port = read_bytes(job.build.firmware(".elf")), _tcp_port(job.port)
    with Emulator(board, elf, store=store, tcp_port=tcp_port) as emulator:
        job.tell(f"{board.name}, emulated, is at {emulator.url} until you press Ctrl-C; in another terminal:")
        job.tell(f"  edgeq slots --port {emulator.url}")
        while True:
            emulator.check()
            time.sleep(_LOOK_SECONDS)


def _tcp_port(port: str | None) -> int:
    """Return the number of the TCP port to listen on, 0 for any."""
    found = None if port is None else _LOCAL_URL.fullmatch(port)
    if port is not None and (found is None or not 1 <= int(found[1]) <= 65535):
        raise UsageError(f"an emulator cannot be at {port!r}", hint="give --port socket://127.0.0.1:5555, or none")
    return 0 if found is None else int(found[1])

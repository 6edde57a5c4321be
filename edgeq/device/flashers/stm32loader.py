# SPDX-License-Identifier: Apache-2.0
"""Flash through the serial boot loader in an STM32's ROM with stm32loader.

It is under the GPL and stays a program of its own.
"""

from __future__ import annotations

from edgeq.device.flashers import Job, failure, run_program
from edgeq.device.ports import choose_port, open_port
from edgeq.errors import UsageError

_BOOT = "set BOOT0 to 1 and press reset, which starts the chip's boot loader; afterwards set it back to 0"
_HINTS = (
    ("bootloader", _BOOT),
    ("readout protection", "the chip is protected: stm32loader --unprotect erases it and lifts that"),
    ("verification failed", "check the wires and try again"),
)


def flash(job: Job) -> str:
    """Erase the chip, program it, read it back and start it."""
    board = job.build.board
    if board.port != "stm32":
        raise UsageError(f"board {board.name} has no boot loader of STM32", hint=f"it is flashed with {board.flasher}")
    chosen = choose_port(port=job.port, board=board.name, serial_number=job.serial_number)
    open_port(chosen.url).close()  # whose refusals are clearer than the program's
    image, address = job.build.firmware(".bin"), f"{board.region('flash').origin:#x}"
    job.tell(f"flashing {image} with stm32loader through {chosen.url}, {chosen.why}")
    steps = ("--erase", "--write", "--verify", "--address", address, "--go-address", address)
    arguments = ("--port", chosen.url, "--baud", "115200", "--no-progress", *steps, str(image))
    printed = run_program("stm32loader", arguments, install="pip install stm32loader", hints=_HINTS)
    if "Verification OK" not in printed:
        raise failure("stm32loader", "it ended without verifying", printed, hints=_HINTS)
    return f"stm32loader programmed {board.name} and read it back"

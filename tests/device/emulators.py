# SPDX-License-Identifier: Apache-2.0
"""Microcontroller boards in their emulators, where QEMU and a compiler are installed."""

from __future__ import annotations

from needs import needs_program

from edgeq.board import load_board
from edgeq.device.cross import GCC
from edgeq.device.emulated import EmulatedDevice


def emulated(name: str) -> EmulatedDevice:
    """Return a board's emulator, or skip the test saying what it needs."""
    needs_program("qemu-system-arm")
    needs_program(GCC)
    return EmulatedDevice(load_board(name))

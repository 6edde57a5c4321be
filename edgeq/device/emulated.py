# SPDX-License-Identifier: Apache-2.0
"""A microcontroller board in its emulator, as a Device: firmware is built for each model that is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType

import numpy as np

from edgeq.board import Board
from edgeq.compile.plan import Plan
from edgeq.device.emulator import Emulator
from edgeq.device.firmware import Firmware, build_firmware
from edgeq.device.firmware_source import fixed_image
from edgeq.device.link.device import LinkDevice
from edgeq.device.link.transport import open_transport
from edgeq.errors import DeviceError, UsageError
from edgeq.ir.result import Profile, RunResult


class EmulatedDevice:
    """A board's emulator with firmware that holds one model, from ``load`` on."""

    def __init__(self, board: Board, *, toolchain: str | None = None) -> None:
        """Prepare; nothing is built or started before ``load``. Raises DeviceError where there is no emulator."""
        if not board.emulator_machine:
            raise DeviceError(
                f"there is no emulator for {board.name}",
                hint=f"edgeq build M --board {board.name} -o DIR, edgeq flash DIR, then name the board's --port",
            )
        self._board = board
        self._toolchain = toolchain
        self._emulator: Emulator | None = None
        self._link: LinkDevice | None = None
        self._firmware: Firmware | None = None
        self._image_bytes = 0

    @property
    def isa(self) -> str:
        return self._link.isa if self._link is not None else ""

    def __enter__(self) -> EmulatedDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def load(self, plan: Plan, model: bytes) -> None:
        self.close()
        self._image_bytes = len(fixed_image(model))
        self._firmware = build_firmware(self._board, plan, model, toolchain=self._toolchain)
        self._emulator = Emulator(self._board, self._firmware.elf)
        try:
            self._link = LinkDevice(
                self._board,
                open_transport(self._emulator.url),
                instructions_per_second=self._emulator.instructions_per_second,
            )
            self._link.load(plan, model)
        except BaseException:
            self.close()
            raise

    def run(self, codes: Sequence[np.ndarray], *, crcs: bool = False) -> RunResult:
        return self._loaded.run(codes, crcs=crcs)

    def run_many(self, samples: Sequence[Sequence[np.ndarray]], *, crcs: bool = False) -> list[RunResult]:
        return self._loaded.run_many(samples, crcs=crcs)

    def profile(self, codes: Sequence[np.ndarray], *, inferences: int = 20) -> Profile:
        found = self._loaded.profile(codes, inferences=inferences)
        assert self._firmware is not None
        return replace(found, code_bytes=len(self._firmware.bin) - self._image_bytes)

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
        if self._emulator is not None:
            self._emulator.close()
            self._emulator = None

    @property
    def _loaded(self) -> LinkDevice:
        if self._link is None:
            raise UsageError("no model is loaded on the device", hint="load one first")
        return self._link

# SPDX-License-Identifier: Apache-2.0
"""Device: a board, emulated or real, that runs a model; and how to reach one."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol

import numpy as np

from edgeq.board import Board
from edgeq.compile.plan import Plan
from edgeq.device.build import build_eqrun
from edgeq.device.emulated import EmulatedDevice
from edgeq.device.eqrun import EqrunDevice
from edgeq.device.link.device import LinkDevice
from edgeq.device.link.transport import open_transport
from edgeq.device.machine import LocalMachine, Machine
from edgeq.device.ssh import SshMachine
from edgeq.errors import UsageError
from edgeq.ir.result import Profile, RunResult


class Device(Protocol):
    """A board with at most one model on it; a context manager. Every method raises DeviceError when it fails."""

    @property
    def isa(self) -> str:
        """The kernels that the last run used, e.g. "neon"; empty before one."""

    def load(self, plan: Plan, model: bytes) -> None:
        """Put a model file on the board; ``plan`` is what it was written from."""

    def run(self, codes: Sequence[np.ndarray], *, crcs: bool = False) -> RunResult:
        """Run one inference on codes, in the shapes and dtypes of the plan's inputs."""

    def run_many(self, samples: Sequence[Sequence[np.ndarray]], *, crcs: bool = False) -> list[RunResult]:
        """Run one inference for each sample, with as few exchanges as its memory allows."""

    def profile(self, codes: Sequence[np.ndarray], *, inferences: int = 20) -> Profile:
        """Measure every step: nanoseconds on hardware; in an emulator the instructions of one inference and, where the
        core has a model, its cycles."""

    def close(self) -> None:
        """Let go of the board."""

    def __enter__(self) -> Device:
        """Return the device itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""


def connect(
    board: Board,
    *,
    port: str | None = None,
    ssh: str | None = None,
    toolchain: str | None = None,
    threads: int = 1,
    ssh_options: Sequence[str] = (),
) -> Device:
    """Reach a board: the real one at ``ssh`` ("user@host[:port]"), otherwise its emulator; never this machine instead.

    A microcontroller is reached at ``port``, a serial device or a URL that pyserial opens, instead of by ``ssh``. On
    Linux boards at most ``threads`` (1 to 4) share an inference.

    Raises ToolchainError when the compiler or emulator is missing, DeviceError when the board does not answer or has
    another architecture.
    """
    if board.kind == "firmware":
        if ssh is not None:
            raise UsageError(f"{board.name} has no SSH server", hint="name the serial port that it is at with --port")
        if threads > 1:
            raise UsageError(f"{board.name} runs a model on one core", hint="leave out --threads")
        return EmulatedDevice(board, toolchain=toolchain) if port is None else LinkDevice(board, open_transport(port))
    if port is not None:
        raise UsageError(f"{board.name} is not reached by a serial port", hint="name it with --ssh user@host")
    machine: Machine = LocalMachine(board) if ssh is None else SshMachine(board, ssh, options=ssh_options)
    try:
        return EqrunDevice(board, machine, build_eqrun(board, toolchain=toolchain).read_bytes(), threads=threads)
    except BaseException:
        machine.close()
        raise

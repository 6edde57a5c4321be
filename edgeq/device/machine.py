# SPDX-License-Identifier: Apache-2.0
"""A machine that holds files and runs an executable: this one, as it is or through QEMU."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgeq.board import Board
from edgeq.device.toolchain import build_plugin
from edgeq.errors import DeviceError, ToolchainError

MESSAGE_LINES = 8


@dataclass(frozen=True)
class Ended:
    """How a program ended: its exit code (negative: the signal that killed it) and all it printed."""

    code: int
    stdout: str
    stderr: str

    @property
    def last_lines(self) -> str:
        """The end of what it printed, for a message."""
        lines = [*self.stdout.splitlines(), *self.stderr.splitlines()][-MESSAGE_LINES:]
        return "\n".join(line.rstrip() for line in lines) if lines else "(it printed nothing)"

    @property
    def reason(self) -> str:
        """How it ended, in words."""
        if self.code >= 0:
            return f"exit code {self.code}"
        try:
            return f"killed by {signal.Signals(-self.code).name}"
        except ValueError:
            return f"killed by signal {-self.code}"


class Machine(Protocol):
    """Where eqrun runs. Files are named relative to a folder of their own; ``close`` removes them."""

    @property
    def title(self) -> str:
        """What a message calls it."""

    @property
    def emulated(self) -> bool:
        """True when time measured on it says nothing about the board."""

    def store(self, data: bytes, *, executable: bool = False) -> str:
        """Keep a file under a name that its contents give, and return that name."""

    def write(self, name: str, data: bytes) -> None:
        """Write a file."""

    def read(self, name: str) -> bytes:
        """Read a file. Raises DeviceError when it is missing."""

    def run(self, arguments: Sequence[str], *, seconds: float) -> Ended:
        """Run a stored executable. Raises DeviceError when it cannot start or takes longer."""

    def count(self, arguments: Sequence[str], *, seconds: float) -> tuple[Ended, str]:
        """Run it and return what the instruction counter reported as well; emulated machines only."""

    def close(self) -> None:
        """Remove what ``write`` left; the machine is of no use after."""


def find_emulator(name: str) -> str | None:
    """Return where a QEMU program is, under its own name or with the suffix of static builds."""
    return shutil.which(name) or shutil.which(f"{name}-static")


class LocalMachine:
    """This computer; with a board that names an emulator, always and only through it."""

    def __init__(self, board: Board) -> None:
        """Find the emulator. Raises ToolchainError with the command that installs it."""
        self._board = board
        self._prefix: tuple[str, ...] = ()
        if board.emulator:
            program = find_emulator(board.emulator)
            if program is None:
                raise ToolchainError(
                    f"board {board.name} is emulated by {board.emulator}, which is not installed",
                    hint="apt install qemu-user",
                )
            self._prefix = (program, "-cpu", board.emulator_cpu)
        elif board.kind != "host":
            raise DeviceError(f"board {board.name} has no emulator", hint="give the real one with --ssh user@host")
        self._folder = tempfile.TemporaryDirectory(prefix="edgeq-")
        self._root = Path(self._folder.name)
        self._stored = 0

    @property
    def title(self) -> str:
        return self._board.emulator or "this machine"

    @property
    def emulated(self) -> bool:
        return bool(self._prefix)

    def store(self, data: bytes, *, executable: bool = False) -> str:
        self._stored += 1
        name = f"stored-{self._stored}"
        self.write(name, data)
        if executable:
            (self._root / name).chmod(0o700)
        return name

    def write(self, name: str, data: bytes) -> None:
        (self._root / name).write_bytes(data)

    def read(self, name: str) -> bytes:
        try:
            return (self._root / name).read_bytes()
        except OSError as error:
            raise DeviceError(f"{self.title} left no file {name}: {error.strerror}") from None

    def run(self, arguments: Sequence[str], *, seconds: float) -> Ended:
        return self._run(self._prefix, arguments, seconds)

    def count(self, arguments: Sequence[str], *, seconds: float) -> tuple[Ended, str]:
        plugin = build_plugin(self._prefix[0])
        ended = self._run((*self._prefix, "-plugin", f"{plugin},out=counts"), arguments, seconds)
        return ended, self.read("counts").decode(errors="replace") if (self._root / "counts").exists() else ""

    def close(self) -> None:
        self._folder.cleanup()

    def _run(self, prefix: tuple[str, ...], arguments: Sequence[str], seconds: float) -> Ended:
        command = [*prefix, str(self._root / arguments[0]), *arguments[1:]]
        try:
            done = subprocess.run(
                command, cwd=self._root, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            raise DeviceError(f"{self.title} did not finish within {seconds:.0f} s") from None
        except OSError as error:
            raise DeviceError(f"cannot start {command[0]}: {error.strerror}") from None
        return Ended(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

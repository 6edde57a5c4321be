# SPDX-License-Identifier: Apache-2.0
"""Put firmware on a board: every module of this folder is one way, with a function ``flash(job)``."""

from __future__ import annotations

import importlib
import pkgutil
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeq.device.built import Build
from edgeq.errors import DeviceError, ToolchainError, UsageError

PROGRAM_SECONDS = 300
_MESSAGE_LINES = 8


@dataclass(frozen=True)
class Job:
    """What to flash and where; ``tell`` is given sentences for the user while it lasts."""

    build: Build
    port: str | None = None
    serial_number: str | None = None
    tell: Callable[[str], None] = print


def flasher_names() -> tuple[str, ...]:
    """List the ways there are."""
    return tuple(sorted(info.name for info in pkgutil.iter_modules(__path__)))


def flash(job: Job, *, flasher: str | None = None) -> str:
    """Flash a board in its own way, or the one that is named, and return a sentence that says what was done.

    Raises UsageError for a way that does not exist, ToolchainError when its program is missing, DeviceError when the
    board cannot be reached or refuses.
    """
    name = flasher or job.build.board.flasher
    if name not in flasher_names():
        raise UsageError(f"there is no flasher {name!r}", hint=f"flashers are {', '.join(flasher_names())}")
    done: str = importlib.import_module(f"{__name__}.{name}").flash(job)
    return done


def find_program(name: str) -> str | None:
    """Return where a program is: on PATH, or beside this Python."""
    return shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))


def run_program(name: str, arguments: Sequence[str], *, install: str, hints: Sequence[tuple[str, str]]) -> str:
    """Run a flashing program to its end and return all it printed.

    ``hints`` says, for a text in its output, what the user can do. Raises ToolchainError when it is not installed,
    DeviceError with its last lines when it fails.
    """
    program = find_program(name)
    if program is None:
        raise ToolchainError(f"{name} is not installed", hint=install)
    try:
        done = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PROGRAM_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DeviceError(f"{name} did not finish within {PROGRAM_SECONDS} s") from None
    except OSError as error:
        raise ToolchainError(f"cannot start {program}: {error.strerror}") from None
    printed = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        raise failure(name, f"exit code {done.returncode}", printed, hints=hints)
    return printed


def failure(name: str, reason: str, printed: str, *, hints: Sequence[tuple[str, str]]) -> DeviceError:
    """Return the error for a flashing program that failed, with its last lines and the hint that they call for."""
    lines = [line.rstrip() for line in printed.splitlines() if line.strip()][-_MESSAGE_LINES:]
    said = "\n".join(lines) or "(it printed nothing)"
    hint = next((hint for text, hint in hints if text.lower() in printed.lower()), None)
    return DeviceError(f"{name} failed ({reason}): {said}", hint=hint)

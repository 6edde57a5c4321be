# SPDX-License-Identifier: Apache-2.0
"""Run firmware in QEMU: its serial line on a TCP port of this machine, its flash in a file where that can be."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from edgeq.board import Board
from edgeq.errors import DeviceError, ToolchainError

COUNT_SHIFT = 5  # of -icount: an instruction takes 2^5 ns of the emulated clock, which no host load changes
START_SECONDS = 30
ANSWER_SECONDS = 30
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_ERASED = b"\xff"
_DEBUGGER_BYTES = 1024  # written at once
_DEBUGGER_ANSWER = re.compile(rb"\$[^#]*#..")


class Emulator:
    """A running emulated board; a context manager. ``url`` is what pyserial opens to reach its serial line."""

    def __init__(self, board: Board, elf: bytes, *, store: Path | None = None, tcp_port: int = 0) -> None:
        """Start firmware. ``store`` is a file with what the board's store holds, made erased when it is missing.

        ``tcp_port`` is where its serial line listens, 0 for any that is free.

        Raises ToolchainError when QEMU is missing, DeviceError when it does not start.
        """
        if not board.emulator_machine:
            raise DeviceError(f"there is no emulator for {board.name}", hint="connect the board and name its --port")
        program = shutil.which(board.emulator)
        if program is None:
            raise ToolchainError(f"{board.emulator} is not installed", hint="apt install qemu-system-arm")
        self._board = board
        self._store = store
        self._tcp_port = tcp_port
        self._folder = tempfile.TemporaryDirectory(prefix="edgeq-")
        kernel = Path(self._folder.name) / "firmware.elf"
        kernel.write_bytes(elf)
        self._messages = Path(self._folder.name) / "messages"
        self._debugger = Path(self._folder.name) / "debugger"
        self._unread = b""
        command = [program, "-machine", board.emulator_machine, "-kernel", str(kernel), *self._arguments()]
        with self._messages.open("wb") as messages:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=messages,
                bufsize=0,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        try:
            self._answer("QMP", START_SECONDS)
            self.call("qmp_capabilities")
            found = {device["label"]: device["filename"] for device in self.call("query-chardev")}
            if self._store is not None and self._board.store is not None and self._backed is None:
                kept = self._store.read_bytes() if self._store.exists() else _ERASED * self._board.store.bytes
                _write_memory(self._debugger, self._board.store.origin, kept)
                self.call("cont")
            self.url = f"socket://{found['link'].split('tcp:')[1].split(',')[0]}"
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> Emulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def instructions_per_second(self) -> float:
        """Instructions in what the firmware takes for a second.

        It knows the board's clock; where the emulator's is another, its seconds are of another length.
        """
        hz = self._board.clock_hz
        assert hz is not None
        return 1e9 / (1 << COUNT_SHIFT) * hz / (self._board.emulator_clock_hz or hz)

    def check(self) -> None:
        """Raise DeviceError unless the emulator still runs."""
        if self._process.poll() is not None:
            raise self._failed()

    def call(self, command: str, **arguments: object) -> Any:
        """Call a command of QEMU's machine protocol and return what it returns. Raises DeviceError when it fails."""
        request = json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n"
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(request)
        except OSError:
            raise self._failed() from None
        answer = self._answer("return", ANSWER_SECONDS)
        if "error" in answer:
            raise DeviceError(
                f"{self._board.emulator}: {command} fails: {answer['error'].get('desc', answer['error'])}"
            )
        return answer["return"]

    def reset(self) -> None:
        """Reset the board; its memory stays as it is."""
        self.call("system_reset")

    def cut_power(self) -> None:
        """End at once, between two instructions, keeping what the store's flash holds then."""
        if self._store is not None and self._backed is None:
            region = self._board.store
            assert region is not None
            self.call("stop")
            self.call("memsave", val=region.origin, size=region.bytes, filename=str(self._store))
        self.kill()

    def kill(self) -> None:
        """End at once."""
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._folder.cleanup()

    def close(self) -> None:
        """End, keeping the store; nothing happens when it has ended already."""
        if self._process.poll() is None:
            self.cut_power()
        self._folder.cleanup()

    @property
    def _backed(self) -> tuple[int, int] | None:
        """Origin and size of the memory that QEMU can keep in a file, which holds the store."""
        return next(((r.origin, r.bytes) for r in self._board.memory if r.name == "backed"), None)

    def _arguments(self) -> list[str]:
        arguments = ["-display", "none", "-monitor", "none", "-qmp", "stdio", "-icount", f"shift={COUNT_SHIFT}"]
        line = f"socket,id=link,host=127.0.0.1,port={self._tcp_port},server=on,wait=off"
        arguments += ["-chardev", line, "-serial", "chardev:link"]
        region, backed = self._board.store, self._backed
        if self._store is None or region is None:
            return arguments
        if backed is None:
            return [*arguments, "-S", "-gdb", f"unix:{self._debugger},server=on,wait=off"]
        origin, size = backed
        with self._store.open("ab") as file:
            if file.tell() == 0:
                file.truncate(region.origin - origin)
                file.seek(0, os.SEEK_END)
                file.write(_ERASED * region.bytes)
                file.truncate(size)
        memory = f"memory-backend-file,id=backed,size={size},mem-path={self._store},share=on"
        return [*arguments, "-m", f"{size >> 20}M", "-object", memory, "-machine", "memory-backend=backed"]

    def _answer(self, key: str, seconds: float) -> dict[str, Any]:
        """Return the next message that has this key, or tells of an error; events in between are passed over."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        while True:
            while b"\n" in self._unread:
                line, _, self._unread = self._unread.partition(b"\n")
                message: dict[str, Any] = json.loads(line)
                if key in message or "error" in message:
                    return message
            ready, _, _ = select.select([self._process.stdout], [], [], max(0, deadline - time.monotonic()))
            piece = os.read(self._process.stdout.fileno(), 65536) if ready else b""
            if not piece:
                raise self._failed()
            self._unread += piece

    def _failed(self) -> DeviceError:
        said = self._messages.read_text(errors="replace").strip().splitlines()[-4:] if self._messages.exists() else []
        what = "does not answer" if self._process.poll() is None else f"ended (exit code {self._process.returncode})"
        return DeviceError("\n".join([f"{self._board.emulator} for {self._board.name} {what}", *said]))


def _write_memory(debugger: Path, address: int, data: bytes) -> None:
    """Write memory, flash as well, by the debugger's protocol: what QEMU loads itself it loads again at each reset."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(ANSWER_SECONDS)
        line.connect(str(debugger))
        for start in range(0, len(data), _DEBUGGER_BYTES):
            piece = data[start : start + _DEBUGGER_BYTES]
            packet = f"M{address + start:x},{len(piece):x}:{piece.hex()}".encode()
            line.sendall(b"$" + packet + b"#%02x" % (sum(packet) & 0xFF))
            answer = b""
            while not _DEBUGGER_ANSWER.search(answer) and (more := line.recv(256)):
                answer += more
            if not answer.endswith(b"$OK#9a"):
                raise DeviceError(f"QEMU does not write {len(piece)} bytes at {address + start:#x}: {answer!r}")
            line.sendall(b"+")
        line.sendall(b"$D#44")  # detach, which leaves it stopped or running as it is


_LIBC = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    """Let a process end when the one that started it does, however that ends; Linux alone can."""
    if hasattr(_LIBC, "prctl"):
        _LIBC.prctl(_DIE_WITH_PARENT, signal.SIGKILL)

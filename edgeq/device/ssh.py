# SPDX-License-Identifier: Apache-2.0
"""A Linux board reached over SSH, with the system's own ssh, its keys, its configuration and its known hosts."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeq.board import Board
from edgeq.device.machine import Ended
from edgeq.errors import DeviceError, ToolchainError, UsageError

CONNECT_SECONDS = 20
TRANSFER_SECONDS = 600
FOLDER = "$HOME/.cache/edgeq"
# What `uname -m` answers on a board of each ISA.
KERNEL_NAMES = {"aarch64": ("aarch64",), "armv7": ("armv7l", "armv8l"), "armv6": ("armv6l",)}
_DESTINATION = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@:\s/-][^@:\s/]*)@)?(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[^@:\s/\[\]-][^@:\s/\[\]]*))"
    r"(?::(?P<port>\d{1,5}))?/?"
)


@dataclass(frozen=True)
class Destination:
    """A user, host and port; what is missing is left to ssh's configuration."""

    host: str
    user: str | None = None
    port: int | None = None

    @property
    def arguments(self) -> tuple[str, ...]:
        """What ssh takes."""
        user = () if self.user is None else ("-l", self.user)
        port = () if self.port is None else ("-p", str(self.port))
        return (*user, *port, "--", self.host)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (f"{self.user}@" if self.user else "") + host + (f":{self.port}" if self.port else "")


def parse_destination(text: str) -> Destination:
    """Read "[user@]host[:port]". Raises UsageError for anything else."""
    found = _DESTINATION.fullmatch(text)
    port = None if found is None or found["port"] is None else int(found["port"])
    if found is None or (port is not None and not 1 <= port <= 65535):
        raise UsageError(f"{text!r} is no SSH destination", hint="give user@host or user@host:port")
    return Destination(found["six"] or found["host"], found["user"], port)


class SshMachine:
    """One open connection to a board. What is stored stays in ~/.cache/edgeq there, named by its SHA-256."""

    def __init__(self, board: Board, destination: str, *, options: Sequence[str] = ()) -> None:
        """Connect and compare the machine's architecture with the board's. ``options`` go to ssh first.

        Nothing is asked: keys must be set up and the host known. Raises DeviceError with what ssh said.
        """
        self._destination = parse_destination(destination)
        if shutil.which("ssh") is None:
            raise ToolchainError("ssh is not installed", hint="apt install openssh-client")
        self._local = tempfile.TemporaryDirectory(prefix="edgeq-ssh-")
        self._ssh = ["ssh", *options, "-o", "BatchMode=yes", "-S", str(Path(self._local.name) / "c")]
        self._folder = ""
        try:
            self._connection = self._connect()
        except BaseException:
            self._local.cleanup()
            raise
        try:
            self._folder = self._open_folder(board)
        except BaseException:
            self.close()
            raise

    @property
    def title(self) -> str:
        return str(self._destination)

    @property
    def emulated(self) -> bool:
        return False

    def store(self, data: bytes, *, executable: bool = False) -> str:
        path = f"{FOLDER}/{hashlib.sha256(data).hexdigest()}"
        same_size = f'[ "$(wc -c < "{path}" 2>/dev/null)" -eq {len(data)} ] 2>/dev/null'
        if self._shell(same_size).code != 0:
            self._upload(path, data, mode=0o700 if executable else 0o600)
        return path

    def write(self, name: str, data: bytes) -> None:
        self._upload(f"{self._folder}/{name}", data, mode=0o600)

    def read(self, name: str) -> bytes:
        done = self.script(f'cat "{self._folder}/{name}"', b"", TRANSFER_SECONDS)
        if done.returncode != 0:
            raise DeviceError(f"cannot read {name} on {self.title}: {_text(done.stderr).strip()}")
        return done.stdout

    def run(self, arguments: Sequence[str], *, seconds: float) -> Ended:
        return self._shell(self._in_folder(arguments), seconds=seconds)

    def pipe(self, arguments: Sequence[str]) -> list[str]:
        """Return the command that runs a stored executable there with its standard input and output here."""
        return self._command(self._in_folder(arguments))

    def count(self, arguments: Sequence[str], *, seconds: float) -> tuple[Ended, str]:
        raise DeviceError(f"{self.title} is no emulator; instructions are counted in emulators only")

    def close(self) -> None:
        if self._folder:
            with contextlib.suppress(DeviceError):
                self._shell(f'rm -rf "{self._folder}"')
        self._connection.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._connection.wait(timeout=5)
        self._local.cleanup()

    def _connect(self) -> subprocess.Popen[bytes]:
        """Open the connection that every later call shares, and wait until it stands."""
        messages = Path(self._local.name) / "messages"
        alive = ["-o", f"ConnectTimeout={CONNECT_SECONDS}", "-o", "ServerAliveInterval=15"]
        command = [*self._ssh, "-M", "-N", *alive, *self._destination.arguments]
        with messages.open("wb") as file:
            connection = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
        deadline = time.monotonic() + CONNECT_SECONDS + 5
        socket = Path(self._local.name) / "c"
        while not socket.exists():
            if connection.poll() is not None or time.monotonic() > deadline:
                connection.kill()
                connection.wait()
                raise self._refused(_text(messages.read_bytes()).strip())
            time.sleep(0.02)
        return connection

    def _refused(self, messages: str) -> DeviceError:
        said = "\n".join(messages.splitlines()[-8:]) or f"no answer within {CONNECT_SECONDS} s"
        if "Host key verification failed" in messages:
            hint = f"connect once by hand and compare its key: ssh {' '.join(self._destination.arguments)}"
        elif "Permission denied" in messages:
            hint = "set up a key with ssh-copy-id"
        else:
            hint = None
        return DeviceError(f"cannot connect to {self.title}: {said}", hint=hint)

    def _open_folder(self, board: Board) -> str:
        """Check the architecture and make the folder of this session."""
        script = f'mkdir -p "{FOLDER}" && echo "EDGEQ $(uname -m) $(mktemp -d "{FOLDER}/run.XXXXXX")"'
        ended = self._shell(script)
        answer = next((line.split(" ", 2) for line in ended.stdout.splitlines() if line.startswith("EDGEQ ")), [])
        if ended.code != 0 or len(answer) != 3 or not answer[2].startswith("/"):
            raise DeviceError(f"cannot make a folder on {self.title} ({ended.reason}):\n{ended.last_lines}")
        self._folder = answer[2]
        expected = (platform.machine(),) if board.kind == "host" else KERNEL_NAMES[board.isa]
        if answer[1] not in expected:
            raise DeviceError(
                f"{self.title} is an {answer[1]} machine, board {board.name} is {' or '.join(expected)}",
                hint="name the board that it is",
            )
        return answer[2]

    def _upload(self, path: str, data: bytes, *, mode: int) -> None:
        """Write a file whole or not at all: to a temporary name, its size checked, then renamed."""
        script = (
            f't="$(mktemp "{path}.XXXXXX")" && cat > "$t" && [ "$(wc -c < "$t")" -eq {len(data)} ] '
            f'&& chmod {mode:o} "$t" && mv "$t" "{path}" || {{ rm -f "$t"; exit 1; }}'
        )
        done = self.script(script, data, TRANSFER_SECONDS)
        if done.returncode != 0:
            said = _text(done.stderr).strip() or "the connection broke"
            raise DeviceError(f"cannot write {len(data)} bytes to {path} on {self.title}: {said}")

    def _in_folder(self, arguments: Sequence[str]) -> str:
        words = " ".join([f'"{arguments[0]}"', *(_argument(word) for word in arguments[1:])])
        return f'cd "{self._folder}" && exec {words}'

    def _command(self, script: str) -> list[str]:
        """Return what runs a script with the remote sh, whatever the login shell is."""
        return [*self._ssh, "-o", "ControlMaster=no", *self._destination.arguments, f"sh -c {shlex.quote(script)}"]

    def _shell(self, script: str, *, seconds: float = TRANSFER_SECONDS) -> Ended:
        done = self.script(script, b"", seconds)
        return Ended(done.returncode, _text(done.stdout), _text(done.stderr))

    def script(self, text: str, data: bytes, seconds: float) -> subprocess.CompletedProcess[bytes]:
        """Run a script with the remote sh, whatever the login shell is; ``data`` go to its standard input."""
        try:
            done = subprocess.run(self._command(text), input=data, capture_output=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            raise DeviceError(f"{self.title} did not finish within {seconds:.0f} s") from None
        if done.returncode == 255:
            raise DeviceError(f"the connection to {self.title} broke: {_text(done.stderr).strip()}")
        return done


def _argument(word: str) -> str:
    """Quote a word for sh, but let the stored files' $HOME be expanded."""
    return f'"{word}"' if word.startswith(FOLDER) else shlex.quote(word)


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")

# SPDX-License-Identifier: Apache-2.0
"""Serial ports of this machine: which boards they belong to, which one is meant, and who may open it."""

from __future__ import annotations

import errno
import grp
import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import serial
from serial.tools import list_ports as usb_ports

from edgeq.board import Board, board_names, load_board
from edgeq.errors import DeviceError, UsageError

_SHOWN_CHARACTERS = 60  # of a text that a USB device tells of itself


@dataclass(frozen=True)
class SerialPort:
    """A serial port; what is not known of it is empty. ``boards`` are those whose USB identity it has."""

    device: str  # e.g. "/dev/ttyACM0"
    usb_id: str = ""  # vendor and product in hexadecimal, e.g. "0d28:0204"
    serial_number: str = ""
    product: str = ""
    boards: tuple[str, ...] = ()

    def __str__(self) -> str:
        facts = [self.product, f"USB {self.usb_id}" if self.usb_id else "", self._named_serial()]
        return f"{self.device} ({', '.join(fact for fact in facts if fact) or 'no USB device'})"

    def _named_serial(self) -> str:
        return f"serial number {self.serial_number}" if self.serial_number else ""


@dataclass(frozen=True)
class ChosenPort:
    """The port that a command uses and, for the user, why that one."""

    url: str
    why: str
    board: str = ""  # empty where the port alone does not tell


def list_ports() -> list[SerialPort]:
    """List the serial ports that have hardware behind them, those of known boards first; nothing is opened."""
    known = [load_board(name) for name in board_names()]
    found = [_identified(port, known) for port in _hardware()]
    return sorted(found, key=lambda port: (not port.boards, not port.usb_id, port.device))


def choose_port(*, port: str | None = None, board: str | None = None, serial_number: str | None = None) -> ChosenPort:
    """Return the port that is named, or else the only one that ``board`` and ``serial_number`` leave.

    Without a board, any port of any known board is meant. Raises DeviceError when none or several are left, with all
    candidates; UsageError when ``port`` comes together with ``serial_number``.
    """
    if port is not None:
        if serial_number is not None:
            raise UsageError("--port and --serial-number both say which port is meant: give one of them")
        return ChosenPort(port, "named by --port", board or "")
    ports = list_ports()
    wanted = f"a board {board}" if board is not None else "a known board"
    left = [p for p in ports if (board in p.boards if board is not None else bool(p.boards))]
    if serial_number is not None:
        wanted = f"a USB device with the serial number {serial_number}"
        left = [p for p in ports if p.serial_number == serial_number]
    if not left:
        others = [p for p in ports if p.usb_id]
        raise DeviceError(
            f"no serial port belongs to {wanted}" + (f"; there are {_listed(others)}" if others else ""),
            hint="name the port with --port" if others else "plug the board in, or name a port or URL with --port",
        )
    if len(left) > 1:
        raise DeviceError(
            f"{len(left)} serial ports may belong to {wanted}: {_listed(left)}",
            hint="say which with --port" + (" or --serial-number" if serial_number is None else ""),
        )
    (only,) = left
    known = board or (only.boards[0] if len(only.boards) == 1 else "")
    why = f"the only port of {wanted}: {str(only).removeprefix(only.device).strip(' ()')}"
    return ChosenPort(only.device, why, known)


def open_port(url: str, *, baud: int = 115200) -> serial.SerialBase:
    """Open a port or pyserial URL for this process alone; reads do not wait.

    Raises DeviceError that says what stands in the way: no such port, no permission (whose group), or another process.
    """
    try:
        return serial.serial_for_url(url, baudrate=baud, timeout=0, write_timeout=None, exclusive=True)
    except (ValueError, OSError) as error:  # SerialException is an OSError; a URL of unknown kind a ValueError
        raise _explained(url, error) from None


def holders(device: str) -> list[str]:
    """Name the other processes that have a device open, as far as this user may see: "minicom (process 123)"."""
    target = os.path.realpath(device)
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            if any(os.path.realpath(descriptor) == target for descriptor in (process / "fd").iterdir()):
                found.append(f"{(process / 'comm').read_text().strip()} (process {process.name})")
        except OSError:
            continue  # it ended meanwhile, or belongs to somebody else
    return sorted(found)


def permission_hint(device: str) -> str:
    """Say how this user gets at a device that only its group may open."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    owner = Path(device).stat().st_gid
    try:
        group = grp.getgrgid(owner)
    except KeyError:
        return f"it belongs to the group number {owner}, which has no name here; ask whoever runs this machine"
    if group.gr_gid == 0:
        return f"it belongs to root; sudo chmod a+rw {device} lets everybody use it until it is plugged in again"
    if owner in os.getgroups():
        return f"its group {group.gr_name}, which {user} is in, may not write to it; sudo chmod g+rw {device}"
    if user in group.gr_mem:
        return f"{user} is in its group {group.gr_name}, but this session began before that; log out and in again"
    return (
        f"it belongs to the group {group.gr_name}, which {user} is not in; "
        f"sudo usermod -aG {group.gr_name} {user}, then log out and in again"
    )


def _hardware() -> list[SerialPort]:
    """Ask pyserial; a device that vanishes while it is looked at makes it stumble, and the second look is without."""
    for _ in range(3):
        try:
            return [
                SerialPort(
                    device=info.device,
                    usb_id="" if info.vid is None else f"{info.vid:04x}:{info.pid:04x}",
                    serial_number=_shown(info.serial_number),
                    product=_shown(info.product),
                )
                for info in usb_ports.comports()
            ]
        except (TypeError, OSError):
            continue
    return []


def _identified(port: SerialPort, boards: Sequence[Board]) -> SerialPort:
    """Add the boards that have the port's USB identity."""
    names = tuple(board.name for board in boards if any(_matches(port, identity) for identity in board.usb))
    return replace(port, boards=names)


def _matches(port: SerialPort, identity: str) -> bool:
    """Compare with a board's "vid:pid" or "vid:pid/beginning of the serial number"."""
    usb_id, _, beginning = identity.partition("/")
    return port.usb_id == usb_id and port.serial_number.startswith(beginning)


def _shown(text: str | None) -> str:
    """Return a text that a device tells of itself: printable and not endless."""
    return "".join(c for c in text or "" if c.isprintable())[:_SHOWN_CHARACTERS].strip()


def _listed(ports: Sequence[SerialPort]) -> str:
    return ", ".join(map(str, ports))


def _explained(url: str, error: Exception) -> DeviceError:
    number = getattr(error, "errno", None)
    if number in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        found = _listed(list_ports())
        return DeviceError(
            f"there is no port {url}" + (f"; there are {found}" if found else ""),
            hint="plug the board in, or name another with --port",
        )
    if number == errno.EACCES:
        return DeviceError(f"cannot open {url}: permission denied", hint=permission_hint(url))
    if number in (errno.EBUSY, errno.EWOULDBLOCK):
        who = ", ".join(holders(url)) or "another process"
        return DeviceError(f"{url} is in use by {who}", hint="end that first; one program at a time can use a port")
    if isinstance(error, ValueError):
        return DeviceError(
            f"{url!r} is no port: {error}", hint="give a device such as /dev/ttyACM0 or socket://HOST:PORT"
        )
    if number == errno.EISDIR or "ioctl" in str(error):
        return DeviceError(f"{url} is not a serial port", hint="ports are devices such as /dev/ttyACM0")
    return DeviceError(f"cannot open {url}: {error}")

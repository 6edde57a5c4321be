# SPDX-License-Identifier: Apache-2.0
"""Flash a board that shows up as a USB drive by copying a UF2 file onto it.

Format: https://github.com/microsoft/uf2. The boot loaders of RP2040 and RP2350 restart the board once they have every
block of the file.
"""

from __future__ import annotations

import os
import re
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeq.device.flashers import Job
from edgeq.device.ports import list_ports
from edgeq.errors import BadInputError, DeviceError, StorageError, UsageError
from edgeq.paths import read_bytes

MOUNTS = Path("/proc/mounts")
LABELS = Path("/dev/disk/by-label")
RESTART_SECONDS = 20.0
BLOCK_BYTES = 512
MAGIC = (0x0A324655, 0x9E5D5157)
FAMILY_OFFSET = 28  # of a block
# By the family that a UF2 file names: the Board-ID in INFO_UF2.TXT and the label of the drive
# (RP2040 datasheet 2.8.4.2; RP2350 datasheet 5.5.3).
DRIVES = {0xE48BFF56: ("RPI-RP2", "RPI-RP2"), 0xE48BFF59: ("RP2350", "RP2350")}


@dataclass(frozen=True)
class Volume:
    """A mounted drive of a UF2 boot loader."""

    path: Path
    device: Path  # the block device, which goes when the board restarts
    board_id: str


def find_volumes() -> list[Volume]:
    """List the mounted drives that have a boot loader's INFO_UF2.TXT; only FAT drives are looked at."""
    volumes = []
    for line in _lines(MOUNTS):
        device, path, kind = (*map(_unescaped, line.split(" ")), "", "", "")[:3]
        if kind != "vfat":
            continue
        ids = [text.partition(":")[2].strip() for text in _lines(Path(path, "INFO_UF2.TXT")) if _is_board_id(text)]
        if ids:
            volumes.append(Volume(Path(path), Path(device), ids[0]))
    return volumes


def flash(job: Job) -> str:
    """Copy the file whole and wait until the board has restarted."""
    image = job.build.firmware(".uf2")
    data = read_bytes(image)
    board_id, label = _drive(image, data)
    if job.serial_number is not None:
        raise UsageError("a drive has no serial number to choose it by", hint="plug in only the board that is meant")
    volumes = [volume for volume in find_volumes() if volume.board_id == board_id]
    if not volumes:
        raise _no_volume(job.build.board.name, board_id, label)
    if len(volumes) > 1:
        places = ", ".join(str(volume.path) for volume in volumes)
        raise DeviceError(f"{len(volumes)} drives are a {board_id}: {places}", hint="unplug all but the one meant")
    (volume,) = volumes
    before = {port.device for port in list_ports()}
    job.tell(f"copying {image} ({len(data):,} bytes) to {volume.path}, the only drive that is a {board_id}")
    failed = _copy(data, volume.path / image.name)
    if not _wait(lambda: _is_gone(volume)):
        if failed is not None:
            raise StorageError(f"cannot write {str(volume.path / image.name)!r}: {failed.strerror}")
        raise DeviceError(
            f"the board did not restart within {RESTART_SECONDS:.0f} s: {volume.path} is still there",
            hint="unplug it, hold BOOTSEL while plugging it in, and try again",
        )
    new = sorted({port.device for port in list_ports()} - before)
    return f"{job.build.board.name} took {len(data):,} bytes and restarted" + (f", port {new[0]}" if new else "")


def _drive(image: Path, data: bytes) -> tuple[str, str]:
    """Return the Board-ID and the label of the drive that a UF2 file is for."""
    if len(data) < BLOCK_BYTES or len(data) % BLOCK_BYTES or struct.unpack_from("<II", data) != MAGIC:
        raise BadInputError(f"{str(image)!r} is no UF2 file", hint="build it again")
    (family,) = struct.unpack_from("<I", data, FAMILY_OFFSET)
    if family not in DRIVES:
        raise BadInputError(f"{str(image)!r} is for the UF2 family {family:#010x}, which edgeq does not know")
    return DRIVES[family]


def _copy(data: bytes, target: Path) -> OSError | None:
    """Write a file through to the drive and return what went wrong at the end.

    A board may restart, and its drive go, before the system has written what comes after the last block.
    """
    try:
        with target.open("wb", buffering=0) as file:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None


def _is_gone(volume: Volume) -> bool:
    """Say whether the drive has left: its block device, or its mount."""
    return not volume.device.exists() or all(found.path != volume.path for found in find_volumes())


def _wait(done: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + RESTART_SECONDS
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _no_volume(board: str, board_id: str, label: str) -> DeviceError:
    others = ", ".join(f"{volume.path} ({volume.board_id})" for volume in find_volumes())
    seen = f"; there are {others}" if others else ""
    if (LABELS / label).exists():
        hint = f"it is plugged in but not mounted: udisksctl mount -b {LABELS / label}"
    else:
        hint = "hold BOOTSEL while plugging the board in, and a drive appears"
    return DeviceError(f"no mounted drive is a {board_id}, which {board} is flashed through{seen}", hint=hint)


def _is_board_id(line: str) -> bool:
    return line.lower().startswith("board-id:")


def _lines(path: Path) -> list[str]:
    """Return a file's lines, none where it cannot be read."""
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _unescaped(word: str) -> str:
    r"""Undo what /proc/mounts does to blanks in names: \040."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), word)

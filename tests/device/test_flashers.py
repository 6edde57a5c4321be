# SPDX-License-Identifier: Apache-2.0
"""Firmware reaches a board whole, or the command says what stands in the way; boards and programs here are fakes."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from device.builds import RP2350, uf2, write_build
from device.terminals import serial_port

from edgeq.board import board_names, load_board
from edgeq.device import flashers
from edgeq.device.built import read_build
from edgeq.device.flashers import Job, flash, flasher_names
from edgeq.device.flashers import uf2 as uf2_flasher
from edgeq.errors import BadInputError, DeviceError, StorageError, ToolchainError, UsageError


@dataclass
class Drives:
    """Drives that are mounted as /proc/mounts tells."""

    root: Path

    def mount(self, name: str, board_id: str, *, kind: str = "vfat") -> Path:
        path = self.root / name
        path.mkdir()
        (path / "INFO_UF2.TXT").write_text(f"UF2 Bootloader v3.0\nModel: any\nBoard-ID: {board_id}\n")
        (self.root / f"sd-{name}").touch()
        with (self.root / "mounts").open("a") as mounts:
            device, folder = (str(place).replace(" ", "\\040") for place in (self.root / f"sd-{name}", path))
            mounts.write(f"{device} {folder} {kind} rw,nosuid 0 0\n")
        return path

    def unplug(self, name: str) -> None:
        (self.root / f"sd-{name}").unlink()


@pytest.fixture
def drives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Drives:
    (tmp_path / "mounts").write_text("proc /proc proc rw 0 0\nmalformed\n")
    monkeypatch.setattr(uf2_flasher, "MOUNTS", tmp_path / "mounts")
    monkeypatch.setattr(uf2_flasher, "LABELS", tmp_path / "labels")
    monkeypatch.setattr(uf2_flasher, "RESTART_SECONDS", 0.2)
    monkeypatch.setattr(uf2_flasher, "list_ports", list)
    return Drives(tmp_path)


@pytest.fixture
def restarting(drives: Drives) -> Iterator[Callable[[str, int], None]]:
    """Return a function that makes a drive leave once its folder holds a file of so many bytes."""
    threads: list[threading.Thread] = []

    def watch(name: str, size: int) -> None:
        def wait() -> None:
            for _ in range(200):
                path = drives.root / name / "firmware.uf2"
                if path.exists() and path.stat().st_size == size:
                    drives.unplug(name)
                    return
                time.sleep(0.005)

        threads.append(threading.Thread(target=wait))
        threads[-1].start()

    yield watch
    for thread in threads:
        thread.join()


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Return a function that puts a shell script on PATH; the file that it returns gets the arguments."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setattr(flashers.sys, "executable", str(tmp_path / "nowhere" / "python"))

    def put(name: str, script: str) -> Path:
        path, said = programs / name, tmp_path / f"{name}.arguments"
        path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{said}"\n{script}\n')
        path.chmod(0o755)
        return said

    return put


def _job(folder: Path, board: str, files: dict[str, bytes], **options: str | None) -> Job:
    return Job(read_build(write_build(folder / "build", board, files)), tell=lambda sentence: None, **options)


def test_every_board_is_flashed_in_a_way_that_exists() -> None:
    profiles = [load_board(name) for name in board_names()]
    assert {"uf2", "pyocd", "stm32loader", "qemu"} == set(flasher_names())
    assert [p.name for p in profiles if p.kind == "firmware" and p.flasher not in flasher_names()] == []
    assert [p.name for p in profiles if p.flasher == "pyocd" and not p.pyocd_target] == []


def test_an_unknown_way_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no flasher 'dfu'; flashers are pyocd, qemu, stm32loader, uf2"):
        flash(_job(tmp_path, "pico", {"firmware.uf2": uf2()}), flasher="dfu")


# ------------------------------------------------------------------------------------------------ the folder


def test_a_build_is_read_when_every_file_is_as_it_was_written(tmp_path: Path) -> None:
    build = read_build(write_build(tmp_path, "pico", {"firmware.uf2": b"u", "firmware.bin": b"b", "model.eqm": b"m"}))
    assert (build.board.name, build.model) == ("pico", "digits")
    assert build.files == {".uf2": tmp_path / "firmware.uf2", ".bin": tmp_path / "firmware.bin"}
    with pytest.raises(BadInputError, match=r"has no firmware\.hex, which board pico is flashed with; build it again"):
        build.firmware(".hex")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"there is no folder '.*none'; edgeq build"):
        read_build(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="there is no folder"):
        read_build(tmp_path / "file")


def test_a_folder_that_edgeq_did_not_make_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"has no edgeq-build\.json"):
        read_build(tmp_path)


def test_a_build_for_another_board_is_refused(tmp_path: Path) -> None:
    folder = write_build(tmp_path, "pico", {"firmware.uf2": b"u"})
    with pytest.raises(UsageError, match="was built for pico, not for microbit; build the model for microbit"):
        read_build(folder, board="microbit")
    with pytest.raises(UsageError, match="there is no board 'micro'"):
        read_build(folder, board="micro")
    with pytest.raises(UsageError, match="raspberry-pi-4, which runs programs and is not flashed; edgeq run"):
        read_build(write_build(tmp_path / "pi", "raspberry-pi-4", {}))


def test_a_changed_or_missing_file_is_refused(tmp_path: Path) -> None:
    folder = write_build(tmp_path, "pico", {"firmware.uf2": b"before"})
    (folder / "firmware.uf2").write_bytes(b"beforf")
    with pytest.raises(BadInputError, match=r"firmware\.uf2' is not what edgeq build wrote: its SHA-256 begins with"):
        read_build(folder)
    (folder / "firmware.uf2").unlink()
    with pytest.raises(StorageError, match=r"cannot read '.*firmware\.uf2'"):
        read_build(folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is damaged: JSONDecodeError"),
        ("[]", "is damaged: TypeError"),
        ("{}", "is damaged: KeyError: 'schema'"),
        ('{"schema": "edgeq.build/9", "board": "pico", "model": "m", "files": {}}', "has the schema 'edgeq.build/9'"),
        ('{"schema": "edgeq.build/1", "board": "pico", "model": "m", "files": []}', "is damaged: AttributeError"),
        ('{"schema": "edgeq.build/1", "board": "pico", "model": "m", "files": {"a": 1}}', "is damaged: TypeError"),
        ('{"schema": "edgeq.build/1", "board": "../x", "model": "m", "files": {}}', "there is no board '../x'"),
    ],
)
def test_a_damaged_list_of_files_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "edgeq-build.json").write_text(text)
    with pytest.raises((BadInputError, UsageError), match=said):
        read_build(tmp_path)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b"])
def test_a_listed_file_may_not_lie_outside(tmp_path: Path, name: str) -> None:
    manifest = {"schema": "edgeq.build/1", "board": "pico", "model": "m", "files": {name: {"sha256": ""}}}
    (tmp_path / "edgeq-build.json").write_text(json.dumps(manifest))
    with pytest.raises(BadInputError, match="names a file outside its folder"):
        read_build(tmp_path)


# ------------------------------------------------------------------------------------------------ UF2 drives


def test_a_uf2_file_is_copied_whole_and_the_restart_awaited(
    tmp_path: Path, drives: Drives, restarting: Callable[[str, int], None]
) -> None:
    image = uf2(blocks=40)
    drives.mount("other drive", "SAMD21")
    target = drives.mount("RPI RP2", "RPI-RP2")
    restarting("RPI RP2", len(image))
    assert flash(_job(tmp_path, "pico", {"firmware.uf2": image})) == "pico took 20,480 bytes and restarted"
    assert (target / "firmware.uf2").read_bytes() == image


def test_each_chip_has_a_drive_of_its_own(
    tmp_path: Path, drives: Drives, restarting: Callable[[str, int], None]
) -> None:
    drives.mount("one", "RPI-RP2")
    target = drives.mount("two", "RP2350")
    image = uf2(family=RP2350)
    restarting("two", len(image))
    flash(_job(tmp_path, "pico-2", {"firmware.uf2": image}))
    assert (target / "firmware.uf2").exists()


def test_no_drive_says_how_to_get_one(tmp_path: Path, drives: Drives) -> None:
    job = _job(tmp_path, "pico", {"firmware.uf2": uf2()})
    with pytest.raises(DeviceError, match=r"no mounted drive is a RPI-RP2, which pico is .*through; hold BOOTSEL"):
        flash(job)
    drives.mount("two", "RP2350")
    drives.mount("network", "RPI-RP2", kind="nfs")
    with pytest.raises(DeviceError, match=r"flashed through; there are .*/two \(RP2350\); hold BOOTSEL"):
        flash(job)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "RPI-RP2").touch()
    with pytest.raises(DeviceError, match=r"plugged in but not mounted: udisksctl mount -b .*labels/RPI-RP2"):
        flash(job)


def test_two_drives_of_a_kind_are_an_error(tmp_path: Path, drives: Drives) -> None:
    for name in ("a", "b"):
        drives.mount(name, "RPI-RP2")
    with pytest.raises(DeviceError, match=r"2 drives are a RPI-RP2: .*/a, .*/b; unplug all but the one"):
        flash(_job(tmp_path, "pico", {"firmware.uf2": uf2()}))
    with pytest.raises(UsageError, match="a drive has no serial number"):
        flash(_job(tmp_path, "pico", {"firmware.uf2": uf2()}, serial_number="E66"))


def test_a_board_that_does_not_restart_is_a_failure(tmp_path: Path, drives: Drives) -> None:
    drives.mount("a", "RPI-RP2")
    with pytest.raises(DeviceError, match=r"did not restart within 0 s: .*/a is still there; unplug it, hold BOOTSEL"):
        flash(_job(tmp_path, "pico", {"firmware.uf2": uf2()}))


def test_a_drive_that_cannot_be_written_is_a_failure(tmp_path: Path, drives: Drives) -> None:
    (drives.mount("a", "RPI-RP2") / "firmware.uf2").mkdir()
    with pytest.raises(StorageError, match=r"cannot write '.*/a/firmware\.uf2': Is a directory"):
        flash(_job(tmp_path, "pico", {"firmware.uf2": uf2()}))


def test_a_file_that_is_no_uf2_is_not_copied(tmp_path: Path, drives: Drives) -> None:
    drives.mount("a", "RPI-RP2")
    for image, said in ((b"", "is no UF2"), (bytes(512), "is no UF2"), (uf2()[:-1], "is no UF2"),
                        (uf2(family=0x68ED2B88), "family 0x68ed2b88, which edgeq does not know")):  # fmt: skip
        with pytest.raises(BadInputError, match=said):
            flash(_job(tmp_path, "pico", {"firmware.uf2": image}))


# ------------------------------------------------------------------------------------------------ programs


def test_pyocd_is_told_target_and_probe(tmp_path: Path, program: Callable[[str, str], Path]) -> None:
    said = program("pyocd", 'echo "Erased 4096 bytes (1 sector), programmed 4096 bytes (4 pages)"')
    job = _job(tmp_path, "microbit", {"firmware.hex": b":00000001FF\n"}, serial_number="9900")
    assert flash(job) == "pyocd programmed microbit"
    assert said.read_text().split() == [
        "load", "-v", "--no-wait", "--no-config", "--target", "nrf51", "--uid", "9900",
        str(tmp_path / "build" / "firmware.hex"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("printed", "code", "said"),
    [
        ("No connected debug probes", 1, "exit code 1.*No connected debug probes; plug in the board's debug USB"),
        ("Enter the number of the debug probe or 'q' to quit> ", 1, "several probes are connected: .*--serial-number"),
        ("0000123 C Target type nrf51 not recognized.", 1, "pyocd pack install nrf51"),
        ("Error: [Errno 13] Permission denied", 1, r"udev rules: https://github\.com"),
        ("SWD/JTAG communication failure (No ACK)", 1, "check power and the wires"),
        ("something new", 3, r"pyocd failed \(exit code 3\): something new$"),
        ("", 1, r"exit code 1\): \(it printed nothing\)$"),
        ("", 0, "ended without saying what it programmed"),
        ("", "x", "killed|exit code"),
    ],
)
def test_what_pyocd_says_becomes_an_error_with_a_remedy(
    tmp_path: Path, program: Callable[[str, str], Path], printed: str, code: int | str, said: str
) -> None:
    program("pyocd", f'echo "{printed}"; ' + ("kill -9 $$" if code == "x" else f"exit {code}"))
    with pytest.raises(DeviceError, match=f"(?s){said}"):
        flash(_job(tmp_path, "microbit", {"firmware.hex": b""}))


def test_a_missing_program_is_named_with_its_installation(
    tmp_path: Path, program: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    with pytest.raises(ToolchainError, match="pyocd is not installed; pip install"):
        flash(_job(tmp_path, "microbit", {"firmware.hex": b""}))
    with (
        serial_port() as port,
        pytest.raises(ToolchainError, match="stm32loader is not installed; pip install stm32loader"),
    ):
        flash(_job(tmp_path, "stm32vldiscovery", {"firmware.bin": b""}, port=port))
    shutil.copy("/bin/true", tmp_path / "programs" / "pyocd")
    (tmp_path / "programs" / "pyocd").chmod(0o644)
    with pytest.raises(ToolchainError, match="pyocd is not installed"):
        flash(_job(tmp_path, "microbit", {"firmware.hex": b""}))


def test_a_program_that_hangs_is_ended(
    tmp_path: Path, program: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flashers, "PROGRAM_SECONDS", 0.2)
    program("pyocd", "exec sleep 60")
    with pytest.raises(DeviceError, match=r"pyocd did not finish within 0.2 s"):
        flash(_job(tmp_path, "microbit", {"firmware.hex": b""}))


def test_stm32loader_writes_verifies_and_starts(tmp_path: Path, program: Callable[[str, str], Path]) -> None:
    said = program("stm32loader", "echo Verification OK >&2")
    with serial_port() as port:
        done = flash(_job(tmp_path, "stm32vldiscovery", {"firmware.bin": b"b"}, port=port))
    assert done == "stm32loader programmed stm32vldiscovery and read it back"
    assert said.read_text().split() == [
        "--port", port, "--baud", "115200", "--no-progress", "--erase", "--write", "--verify",
        "--address", "0x8000000", "--go-address", "0x8000000", str(tmp_path / "build" / "firmware.bin"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo Can\\'t init into bootloader.; exit 1", "set BOOT0 to 1 and press reset"),
        ("echo Verification FAILED: at 3; exit 1", "check the wires and try again"),
        ("exit 0", "ended without verifying"),
    ],
)
def test_what_stm32loader_says_becomes_an_error_with_a_remedy(
    tmp_path: Path, program: Callable[[str, str], Path], script: str, said: str
) -> None:
    program("stm32loader", script)
    with serial_port() as port, pytest.raises(DeviceError, match=f"(?s){said}"):
        flash(_job(tmp_path, "stm32vldiscovery", {"firmware.bin": b"b"}, port=port))


def test_boards_are_not_flashed_in_ways_they_do_not_have(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="board microbit has no boot loader of STM32; it is flashed with pyocd"):
        flash(_job(tmp_path, "microbit", {"firmware.bin": b""}), flasher="stm32loader")
    with pytest.raises(UsageError, match="pyocd has no target for board mps2-an386; it is flashed with qemu"):
        flash(_job(tmp_path, "mps2-an386", {"firmware.hex": b""}), flasher="pyocd")


def test_a_port_that_is_not_there_is_told_before_any_program_starts(
    tmp_path: Path, program: Callable[[str, str], Path]
) -> None:
    said = program("stm32loader", "")
    with pytest.raises(DeviceError, match="there is no port /dev/ttyNONE"):
        flash(_job(tmp_path, "stm32vldiscovery", {"firmware.bin": b"b"}, port="/dev/ttyNONE"))
    assert not said.exists()

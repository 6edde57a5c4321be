# SPDX-License-Identifier: Apache-2.0
"""What this machine has of the tools that edgeq can use."""

from __future__ import annotations

import grp
import importlib.metadata
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass

from edgeq.board import board_names, load_board
from edgeq.device.cycle_model import PACKAGE, find_tools
from edgeq.device.flashers import find_program
from edgeq.device.machine import find_emulator
from edgeq.device.ports import list_ports, permission_hint
from edgeq.errors import EdgeqError
from edgeq.runtime.native import require_native

_PACKAGES = (
    ("numpy", "the NumPy twin", True),
    ("tflite", "read .tflite files", True),
    ("ziglang", "cross-compile for Raspberry Pi without root", False),
    ("ai-edge-litert", "compare with LiteRT's reference kernels", False),
)
_PROGRAMS = (
    (("cc", "gcc", "clang"), "compile emitted C for this machine", "apt-get install gcc"),
    (("aarch64-linux-gnu-gcc",), "cross-compile for 64-bit Raspberry Pi", "apt-get install gcc-aarch64-linux-gnu"),
    (("arm-linux-gnueabihf-gcc",), "cross-compile for 32-bit Raspberry Pi", "apt-get install gcc-arm-linux-gnueabihf"),
    (("arm-none-eabi-gcc",), "build firmware for microcontrollers", "apt-get install gcc-arm-none-eabi"),
    (("ssh",), "reach a real board", "apt-get install openssh-client"),
    (("pyocd",), "flash microcontrollers through a debug probe", "pip install pyocd"),
    (("stm32loader",), "flash STM32 through their serial boot loader", "pip install stm32loader"),
)
_EMULATOR_PACKAGES = {"qemu-system-arm": "qemu-system-arm"}  # the others are all in qemu-user
_SERIAL_GROUPS = ("dialout", "uucp")  # who may open serial ports on Debian and on Arch


@dataclass(frozen=True)
class Check:
    """One tool: ``detail`` is its place or version, or what is wrong; ``hint`` how to get it."""

    name: str
    purpose: str
    found: bool
    required: bool
    detail: str
    hint: str


def examine() -> list[Check]:
    """Look for everything that edgeq can use."""
    return [_native(), *_python_packages(), *_programs(), *_emulators(), _cycle_model(), _ports(), _port_access()]


def _native() -> Check:
    try:
        require_native()
    except EdgeqError as error:
        return Check("native runtime", "run models here", False, True, str(error), "pip install . in the checkout")
    return Check("native runtime", "run models here", True, True, "built from these sources", "")


def _python_packages() -> Iterator[Check]:
    for name, purpose, required in _PACKAGES:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            version = ""
        yield Check(name, purpose, bool(version), required, version, "" if version else f"pip install {name}")


def _programs() -> Iterator[Check]:
    for names, purpose, hint in _PROGRAMS:
        place = next((found for found in map(find_program, names) if found), "")
        yield Check(names[0], purpose, bool(place), False, place, "" if place else hint)


def _emulators() -> Iterator[Check]:
    boards: dict[str, list[str]] = {}
    for name in board_names():
        emulator = load_board(name).emulator
        if emulator:
            boards.setdefault(emulator, []).append(name)
    for emulator, names in boards.items():
        place = find_emulator(emulator) or ""
        hint = "" if place else f"apt-get install {_EMULATOR_PACKAGES.get(emulator, 'qemu-user')}"
        yield Check(emulator, f"emulate {', '.join(names)}", bool(place), False, place, hint)


def _cycle_model() -> Check:
    tools = find_tools()
    detail, hint = ("", f"apt-get install {PACKAGE}") if tools is None else (f"{tools.mca}, {tools.version}", "")
    return Check("llvm-mca", "model cycles of the Raspberry Pi cores", tools is not None, False, detail, hint)


def _ports() -> Check:
    found = [str(port) for port in list_ports() if port.usb_id]
    hint = "" if found else "plug a board in; nothing is needed for emulated ones"
    return Check("serial ports", "talk to microcontrollers", bool(found), False, ", ".join(found), hint)


def _port_access() -> Check:
    """Ask for the ports that there are, and where there is none, for the group that will own them."""
    purpose = "open serial ports without being root"
    ports = list_ports()
    denied = [port for port in ports if not os.access(port.device, os.R_OK | os.W_OK)]
    if denied:
        hint = permission_hint(denied[0].device)
        return Check("port access", purpose, False, False, "", f"{denied[0].device}: {hint}")
    if ports or os.geteuid() == 0:
        return Check("port access", purpose, True, False, "this user may open every serial port", "")
    mine = {group.gr_name for group in grp.getgrall() if group.gr_gid in os.getgroups()}
    theirs = [name for name in _SERIAL_GROUPS if name in {group.gr_name for group in grp.getgrall()}]
    if mine.intersection(theirs) or not theirs:
        return Check("port access", purpose, True, False, ", ".join(mine.intersection(theirs)) or "no group needed", "")
    return Check("port access", purpose, False, False, "", f"sudo usermod -aG {theirs[0]} $USER, then log out and in")

# SPDX-License-Identifier: Apache-2.0
"""What this machine has of the tools that edgeq can use."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from edgeq.board import board_names, load_board
from edgeq.device.cycle_model import PACKAGE, find_tools
from edgeq.device.machine import find_emulator
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
    (("ssh",), "reach a real board", "apt-get install openssh-client"),
)


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
    return [_native(), *_python_packages(), *_programs(), *_emulators(), _cycle_model()]


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
        place = next((found for found in map(shutil.which, names) if found), "")
        yield Check(names[0], purpose, bool(place), False, place, "" if place else hint)


def _emulators() -> Iterator[Check]:
    boards: dict[str, list[str]] = {}
    for name in board_names():
        emulator = load_board(name).emulator
        if emulator:
            boards.setdefault(emulator, []).append(name)
    for emulator, names in boards.items():
        place = find_emulator(emulator) or ""
        hint = "" if place else "apt-get install qemu-user"
        yield Check(emulator, f"emulate {', '.join(names)}", bool(place), False, place, hint)


def _cycle_model() -> Check:
    tools = find_tools()
    detail, hint = ("", f"apt-get install {PACKAGE}") if tools is None else (f"{tools.mca}, {tools.version}", "")
    return Check("llvm-mca", "model cycles of the Raspberry Pi cores", tools is not None, False, detail, hint)

# SPDX-License-Identifier: Apache-2.0
"""What edgeq prints when it is called without a command: what is connected, and what to do next."""

from __future__ import annotations


def show_connected() -> None:
    """List serial ports and drives of boards, then commands that suit them; nothing is opened."""
    from edgeq.board import board_names
    from edgeq.device.flashers.uf2 import find_volumes
    from edgeq.device.ports import list_ports

    ports = [port for port in list_ports() if port.usb_id]
    volumes = find_volumes()
    if ports or volumes:
        print("Connected:")
        for port in ports:
            print(f"  {port}: {' or '.join(port.boards) or 'no board that edgeq knows by its USB identity'}")
        for volume in volumes:
            print(f"  {volume.path} (drive {volume.board_id}): a board that waits for firmware")
    else:
        print("No board is connected by USB.")
    print(f"\nBoards: {', '.join(board_names())}.\n")
    for port in ports[:1]:
        board = port.boards[0] if len(port.boards) == 1 else "BOARD"
        _show(f"edgeq slots --port {port.device}", "ask the device what it is and holds")
        _show(f"edgeq build MODEL --board {board} -o DIR", "firmware with a model")
        _show(f"edgeq flash DIR --port {port.device}", "put it on the board")
        _show(f"edgeq run MODEL --port {port.device}", "run it there")
    if volumes and not ports:
        _show("edgeq build MODEL --board BOARD -o DIR", "firmware with a model")
        _show("edgeq flash DIR", "put it on the board")
    _show("edgeq demo", "see it work on a bundled model")
    _show("edgeq analyze MODEL.tflite", "what a model needs, before any data")
    _show("edgeq convert MODEL.tflite -o MODEL.eqm --data SAMPLES.npz")
    _show("edgeq verify MODEL.eqm --board raspberry-pi-4", "on a board's emulator, nothing plugged in")
    _show("edgeq run MODEL.tflite --board mps2-an386", "on an emulated microcontroller: docs/microcontrollers.md")
    _show("edgeq doctor", "which compilers, emulators and ports are here")
    _show("edgeq --help", "every command")


def _show(command: str, what: str = "") -> None:
    print(f"  {command:<48}{what}".rstrip())

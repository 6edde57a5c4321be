# SPDX-License-Identifier: Apache-2.0
"""Firmware as it is linked: every board's, against its memory map."""

from __future__ import annotations

import struct
from functools import cache

import pytest
from cli_calls import INT8
from needs import needs_program

import edgeq
from edgeq.board import Board, board_names, load_board
from edgeq.device.cross import GCC
from edgeq.device.elf import UF2_FAMILIES, load_image, sections, uf2
from edgeq.device.firmware import Firmware, boot_crc, build_firmware, build_slots_firmware
from edgeq.device.firmware_source import fixed_image
from edgeq.errors import ToolchainError, UsageError
from edgeq.format import layout

FIRMWARE = [name for name in board_names() if load_board(name).kind == "firmware"]
BOOT_BYTES = 256


@cache
def built(name: str) -> Firmware:
    needs_program(GCC)
    model = edgeq.convert(INT8, board=name)
    return build_firmware(load_board(name), model.plan, model.data)


def vectors(board: Board, firmware: Firmware) -> tuple[int, ...]:
    """Return the vector table: initial stack pointer, reset, and all system handlers."""
    start = BOOT_BYTES if ".boot" in firmware.sizes else 0
    return struct.unpack_from("<16I", firmware.bin, start)


@pytest.mark.parametrize("name", FIRMWARE)
def test_everything_lies_in_the_memory_it_belongs_to(name: str) -> None:
    board, firmware = load_board(name), built(name)
    flash, ram = board.region("flash"), board.region("ram")
    for address, data in load_image(firmware.elf):
        assert flash.origin <= address
        assert address + len(data) <= flash.end
    assert load_image(firmware.elf)[0][0] == flash.origin
    in_ram = {name for name, section in sections(firmware.elf).items() if ram.origin <= section.address < ram.end}
    assert {".stack", ".bss", ".arena", ".noinit"} <= in_ram <= {".stack", ".data", ".bss", ".arena", ".noinit"}
    assert all(section.address + section.bytes <= ram.end for section in sections(firmware.elf).values())


@pytest.mark.parametrize("name", FIRMWARE)
def test_the_vectors_lead_into_the_code_and_the_stack_ends_where_ram_begins(name: str) -> None:
    board, firmware = load_board(name), built(name)
    found = sections(firmware.elf)
    stack, text = found[".stack"], found[".text"]
    pointer, *handlers = vectors(board, firmware)
    assert (stack.address, stack.bytes) == (board.region("ram").origin, board.stack_bytes)
    assert pointer == stack.address + stack.bytes
    assert pointer % 8 == 0
    assert all(handlers[:7])  # reset to SecureFault
    for handler in filter(None, handlers):
        assert handler & 1
        assert text.address <= handler < text.address + text.bytes


def test_the_second_boot_stage_of_the_rp2040_has_its_checksum() -> None:
    firmware = built("pico")
    assert firmware.sizes[".boot"] == BOOT_BYTES
    code, crc = firmware.bin[:252], int.from_bytes(firmware.bin[252:256], "little")
    assert crc == boot_crc(code)
    # what it ends with: interface, frame format, read command, vectors, VTOR
    constants = struct.pack("<5I", 0x18000000, 0x001F0300, 0x03000218, 0x10000100, 0xE000ED08)
    assert code.rstrip(b"\xff").endswith(constants)
    assert firmware.uf2 == uf2(load_image(firmware.elf), UF2_FAMILIES["rp2040"])


def test_the_rp2350_finds_an_image_definition_in_the_first_four_kilobytes() -> None:
    firmware = built("pico-2")
    block = struct.pack("<5I", 0xFFFFDED3, 0x10210142, 0x000001FF, 0, 0xAB123579)
    assert 0 < firmware.bin.find(block) <= 4096 - len(block)
    assert firmware.uf2 == uf2(load_image(firmware.elf), UF2_FAMILIES["rp2350"])


@pytest.mark.parametrize("name", ["microbit", "mps2-an386"])
def test_the_firmware_has_the_model_once_and_without_its_names(name: str) -> None:
    model = edgeq.convert(INT8, board=name)
    image = fixed_image(model.data)
    assert built(name).bin.count(image) == 1
    assert len(model.data) - len(image) >= layout.HEADER.unpack(model.data, 0)["metadata_size"] > 0
    assert built(name).uf2 is None


def test_the_same_model_gives_the_same_firmware() -> None:
    model = edgeq.convert(INT8, board="mps2-an386")
    again = build_firmware(load_board("mps2-an386"), model.plan, model.data)
    assert (again.elf, again.hex) == (built("mps2-an386").elf, built("mps2-an386").hex)


def test_a_model_in_another_cores_order_is_refused() -> None:
    model = edgeq.convert(INT8, board="raspberry-pi-4")
    with pytest.raises(UsageError, match=r"c4k16, which no kernels of microbit read; convert it for this board"):
        build_firmware(load_board("microbit"), model.plan, model.data)


def test_a_missing_compiler_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model = edgeq.convert(INT8, board="mps2-an386")
    monkeypatch.setattr("edgeq.device.cross.has_zig", lambda: False)
    monkeypatch.setenv("PATH", "/nowhere")
    for toolchain in (None, "gcc"):
        with pytest.raises(ToolchainError, match="arm-none-eabi-gcc is not installed; apt install gcc-arm-none-eabi"):
            build_firmware(load_board("mps2-an386"), model.plan, model.data, toolchain=toolchain)
    with pytest.raises(ToolchainError, match="pip install ziglang"):
        build_firmware(load_board("mps2-an386"), model.plan, model.data, toolchain="zig")


def test_slots_need_a_store() -> None:
    with pytest.raises(UsageError, match="nucleo-f446re has no memory for two models; leave out --slots"):
        build_slots_firmware(load_board("nucleo-f446re"))

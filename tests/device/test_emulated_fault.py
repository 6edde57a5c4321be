# SPDX-License-Identifier: Apache-2.0
"""A step that reads where no memory is: the device tells of it after its reset, and answers as before."""

from __future__ import annotations

import struct

import pytest
from cli_calls import INT8
from needs import needs_program

import edgeq
from edgeq.analysis.compare import random_inputs
from edgeq.board import load_board
from edgeq.compile.plan import Plan
from edgeq.device.cross import GCC
from edgeq.device.emulator import Emulator
from edgeq.device.firmware import build_firmware
from edgeq.device.link.device import LinkDevice
from edgeq.device.link.protocol import Flags
from edgeq.device.link.transport import open_transport
from edgeq.errors import DeviceError
from edgeq.format import layout
from edgeq.ops.base import step_fields

STEP = 5
NO_MEMORY = 0x30000000  # of either board
HARD_FAULT = 3


def _with_wild_weights(plan: Plan, model: bytes) -> bytes:
    """Return a model file whose step STEP has its weights where no memory is; the checks of its build are over."""
    header = layout.HEADER.unpack(model, 0)
    step = layout.STEP.unpack(model, header["steps_offset"] + STEP * layout.STEP.size_bytes)
    at = header["params_offset"] + step["params_offset"]
    for name, count, dtype in step_fields(type(plan.steps[STEP].step)):
        if name == "weights":
            break
        at += 8 if dtype is not None else 4 * count
    offset = struct.unpack_from("<I", model, at)[0]
    return model[:at] + struct.pack("<I", NO_MEMORY + offset) + model[at + 4 :]


@pytest.mark.parametrize("name", ["mps2-an386", "microbit"])
def test_a_step_that_reads_where_no_memory_is_leaves_a_record(name: str) -> None:
    needs_program("qemu-system-arm")
    needs_program(GCC)
    board = load_board(name)
    model = edgeq.convert(INT8, board=name)
    *_, codes = random_inputs(model.plan, count=1, seed=7)
    elf = build_firmware(board, model.plan, _with_wild_weights(model.plan, model.data)).elf
    with Emulator(board, elf) as emulator, LinkDevice(board, open_transport(emulator.url)) as device:
        device.load(model.plan, model.data)
        assert not device.client.device.flags & Flags.FAULT_STORED
        with pytest.raises(DeviceError, match='failed in step 5, conv2d "down/pointwise", writing tensor') as caught:
            device.run(codes)
        assert device.client.hello().flags & Flags.FAULT_STORED
        record = device.client.fault(clear=True)
        assert not device.client.hello().flags & Flags.FAULT_STORED
        assert device.client.fault() is None
    assert record is not None
    assert (record.step, record.tensor, record.exception) == (STEP, model.plan.steps[STEP].outputs[0], HARD_FAULT)
    flash, ram = board.region("flash"), board.region("ram")
    assert flash.origin < record.pc < flash.end
    assert ram.origin < record.sp < ram.origin + board.stack_bytes
    assert any(NO_MEMORY <= register < NO_MEMORY + 2**16 for register in (record.r0, record.r1, record.r2, record.r3))
    if name != "microbit":  # its core keeps no address
        assert f"cause: the address is {record.bfar:#010x}, in no memory of board {name}" in str(caught.value)
        assert NO_MEMORY <= record.bfar < NO_MEMORY + 2**16

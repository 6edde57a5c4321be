# SPDX-License-Identifier: Apache-2.0
"""What a stored fault means: which layer ran, where it went wrong, and why, in words.

Bits of the fault status registers: Armv7-M Architecture Reference Manual B3.2.15 and B3.2.16; STKOF: Armv8-M D1.2.
"""

from __future__ import annotations

import warnings

from edgeq.board import Board, board_names, load_board
from edgeq.compile.plan import Plan
from edgeq.device.link.client import LinkClient
from edgeq.device.link.protocol import FaultRecord, Flags

NO_STEP = 0xFFFFFFFF
_EXCEPTIONS = {2: "NMI", 3: "HardFault", 4: "MemManage", 5: "BusFault", 6: "UsageFault", 7: "SecureFault"}
_ADDRESS_VALID = 1 << 15  # of CFSR: BFAR holds the address
_VECTOR_UNREADABLE = 1 << 1  # of HFSR
# Bits of CFSR and what they say. Bits 0-7 are MemManage's, 8-15 BusFault's, 16-31 UsageFault's.
_CAUSES = (
    (0, "an instruction was fetched from memory that may not be executed"),
    (1, "data was read or written where that is not allowed"),
    (3, "memory protection refused the stack on return from an exception"),
    (4, "memory protection refused the stack on entry to an exception: the stack has overflowed, or points nowhere"),
    (5, "memory protection refused to save the floating-point registers"),
    (8, "an instruction was fetched from an address without memory"),
    (9, "data was read or written at an address without memory, by the instruction at PC"),
    (10, "data was written to an address without memory, by an instruction shortly before PC"),
    (11, "there is no memory where the stack points, on return from an exception"),
    (12, "there is no memory where the stack points, on entry to an exception: the stack has overflowed"),
    (13, "there is no memory where the floating-point registers are saved"),
    (16, "an instruction that this core does not have"),
    (17, "a jump to an address that is not Thumb code: a damaged function pointer or return address"),
    (18, "a damaged return from an exception"),
    (19, "an instruction of a coprocessor that is off or missing, such as the floating-point unit"),
    (20, "the stack pointer went below its limit: the stack has overflowed"),
    (24, "an access that is not aligned, where it must be"),
    (25, "a division by zero"),
)


def stored_fault(client: LinkClient, *, plan: Plan | None = None) -> list[str] | None:
    """Return what ``describe_fault`` says of the fault that a device stored, None when its HELLO tells of none."""
    hello = client.device
    record = client.fault() if hello.flags & Flags.FAULT_STORED else None
    if record is None:
        return None
    return describe_fault(record, plan=plan, board=load_board(hello.board) if hello.board in board_names() else None)


def warn_of_fault(client: LinkClient, *, plan: Plan | None = None) -> None:
    """Warn of a stored fault; the device keeps it until it is told to forget it."""
    lines = stored_fault(client, plan=plan)
    if lines is not None:
        forget = f"(edgeq slots --port {client.line.name} --clear-fault forgets it)"
        warnings.warn("\n  ".join([*lines, forget]), stacklevel=2)


def describe_fault(fault: FaultRecord, *, plan: Plan | None = None, board: Board | None = None) -> list[str]:
    """Return lines that say where a device failed, why, and with which registers.

    ``plan`` gives the layer and tensor their names; ``board`` says in which memory an address lies.
    """
    where = [_layer(fault, plan), f"{_exception(fault.exception)} at PC {fault.pc:#010x}, LR {fault.lr:#010x}"]
    causes = fault_causes(fault.cfsr)
    if fault.hfsr & _VECTOR_UNREADABLE:
        causes.append("the address of the exception's handler could not be read")
    if fault.cfsr & _ADDRESS_VALID:
        causes.append(f"the address is {fault.bfar:#010x}{_place(fault.bfar, board)}")
    if board is not None and not _in_ram(fault.sp, board):
        causes.append(f"the stack pointer is {fault.sp:#010x}{_place(fault.sp, board)}: the stack has overflowed")
    if not causes:
        causes = ["the core keeps no cause" if not fault.cfsr else f"unknown, CFSR is {fault.cfsr:#010x}"]
    names = ("r0", "r1", "r2", "r3", "r12", "sp", "xpsr", "cfsr", "hfsr", "bfar")
    registers = " ".join(f"{name}={getattr(fault, name):08x}" for name in names)
    return [*where, *(f"cause: {cause}" for cause in causes), f"registers: {registers}"]


def fault_causes(cfsr: int) -> list[str]:
    """Return what the bits of a Configurable Fault Status Register say, in words."""
    return [text for bit, text in _CAUSES if cfsr >> bit & 1]


def _layer(fault: FaultRecord, plan: Plan | None) -> str:
    if fault.step == NO_STEP:
        return "the device failed outside of an inference"
    if plan is None or fault.step >= len(plan.steps):
        unknown = "" if plan is None else f", which this model of {len(plan.steps)} does not have"
        return f"the device failed in step {fault.step}{unknown}, tensor {fault.tensor}"
    step = plan.steps[fault.step]
    tensor = plan.values[fault.tensor].name if fault.tensor < len(plan.values) else "?"
    return f'the device failed in step {fault.step}, {step.op} "{step.name}", writing tensor {fault.tensor} "{tensor}"'


def _exception(number: int) -> str:
    if number >= 16:
        return f"interrupt {number - 16} without a handler"
    return _EXCEPTIONS.get(number, f"exception {number}")


def _place(address: int, board: Board | None) -> str:
    if board is None:
        return ""
    inside = [region.name for region in board.memory if region.origin <= address < region.end]
    return f", in {inside[0]}" if inside else f", in no memory of board {board.name}"


def _in_ram(address: int, board: Board) -> bool:
    """Say whether a stack pointer can be right; one past the end is an empty stack."""
    ram = board.region("ram")
    return ram.origin < address <= ram.end

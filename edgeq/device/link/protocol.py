# SPDX-License-Identifier: Apache-2.0
"""Commands, statuses and records of the link. Whatever a device sends is checked here, and its names made printable."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any

from edgeq.device.link.frames import MAX_PAYLOAD
from edgeq.errors import DeviceError

VERSION = 1
NO_SLOT = 255
MAX_SLOTS = 8
MAX_WINDOW = 8


class Command(IntEnum):
    """Permanent codes."""

    HELLO = 1
    STATUS = 2
    BEGIN = 3
    DATA = 4
    CRCS = 5
    COMMIT = 6
    CONFIRM = 7
    REVERT = 8
    INPUT = 9
    RUN = 10
    OUTPUT = 11
    STEPS = 12
    MEMORY = 13
    LOG = 14
    FAULT = 15
    REBOOT = 16
    PORTS = 18


class Status(IntEnum):
    """Permanent codes; native/link/link.h has the same."""

    OK = 0
    UNKNOWN = 1
    MALFORMED = 2
    RANGE = 3
    NO_MODEL = 4
    INPUT = 5
    NO_UPDATE = 6
    INCOMPLETE = 7
    REFUSED = 8
    NO_RESULT = 9


class Flags(IntFlag):
    """What HELLO tells of a device's state."""

    MODEL_READY = 1
    ON_TRIAL = 2
    FAULT_STORED = 4
    WATCHDOG_RESET = 8


class Features(IntFlag):
    """What HELLO tells of a firmware."""

    SLOTS = 1
    SIGNED = 2
    FIXED_MODEL = 4
    TEXT = 8
    COUNTS = 16


class RunFlags(IntFlag):
    """What a run keeps of each step."""

    CRCS = 1
    COUNTS = 2


# By counter unit of HELLO: the unit of a profile.
COUNTER_UNITS = {1: "cycles:dwt", 2: "cycles:timer", 3: "cycles:timer", 4: "ns"}

# What a status means where a device answers with it; of native/include/edgeq/status.h those that it may refuse with.
_MEANINGS = {
    Status.UNKNOWN: "its firmware does not have this command",
    Status.MALFORMED: "it takes the request for malformed",
    Status.RANGE: "the request lies outside what it has",
    Status.NO_MODEL: "it has no model",
    Status.INPUT: "the inputs arrived damaged",
    Status.NO_UPDATE: "it knows of no update",
    Status.INCOMPLETE: "bytes of the update are missing",
    Status.NO_RESULT: "it has not run anything since it started",
}
_REFUSALS = {
    -1: "it is not a model file",
    -2: "its format is of a version that the firmware does not know",
    -3: "the file is shorter or longer than its header says",
    -4: "its header is damaged",
    -5: "a section of the file is wrong",
    -6: "a tensor of the file is wrong",
    -7: "a step of the file is wrong",
    -8: "its steps are in a wrong order",
    -9: "it has a step that the firmware does not have",
    -10: "its weights are in an order that the board's kernels do not read; convert it with --board",
    -11: "an input or output of the file is wrong",
    -12: "its payload is damaged",
    -13: "it needs a larger arena than the firmware has",
    -14: "the firmware placed it at a crooked address",
    -15: "the firmware has no kernels for it",
    -16: "the flash cannot be written, or reads otherwise than written",
    -17: "it is larger than a slot",
    -18: "it was converted for another class of boards",
    -19: "it has more multiply-accumulates than the device allows",
    -20: "it is not signed with the device's key; sign it with --key",
    -21: "it is older than what the device accepts",
    -22: "the model on trial must be confirmed or reverted first",
    -25: "it computes other integers than its file says",
}


@dataclass(frozen=True)
class Hello:
    """Who a device is: native/LINK.md. ``board`` and ``isa`` are printable."""

    min_version: int
    max_version: int
    max_payload: int
    window: int
    active_slot: int
    flags: int
    features: int
    cpuid: int
    kernel_abi: int
    format_hash: int
    board_class: int
    slot_bytes: int
    page_bytes: int
    arena_bytes: int
    model_bytes: int
    model_crc: int
    model_version: int
    counter_hz: int
    counter_unit: int
    firmware_version: tuple[int, int, int]
    board: str
    isa: str


@dataclass(frozen=True)
class StepResult:
    """What a run left of a step; the CRC is 0 unless it was asked for."""

    count: int
    crc: int


@dataclass(frozen=True)
class MemoryUse:
    """What an inference uses: reserved bytes, and how many of them were ever written to."""

    arena_bytes: int
    arena_used: int
    stack_bytes: int
    stack_used: int
    runtime_bytes: int


@dataclass(frozen=True)
class FaultRecord:
    """What a fault handler stored; edgeq/device/fault.py says what it means."""

    exception: int
    step: int
    tensor: int
    pc: int
    lr: int
    xpsr: int
    cfsr: int
    hfsr: int
    bfar: int
    r0: int
    r1: int
    r2: int
    r3: int
    r12: int
    sp: int


class SlotState(IntEnum):
    """What a slot holds; VALID may run, DAMAGED has a header whose model is not right, REVOKED was given up."""

    EMPTY = 0
    VALID = 1
    DAMAGED = 2
    REVOKED = 3


@dataclass(frozen=True)
class Slot:
    """A slot as STATUS tells it."""

    state: SlotState
    active: bool
    confirmed: bool
    signed: bool
    trials_left: int
    sequence: int
    payload_bytes: int
    payload_crc: int
    model_version: int
    board_class: int
    arena_bytes: int


_HELLO = struct.Struct("<BBHBBH12IB3B24s8s")
_SLOT = struct.Struct("<BBBB7I")
_FAULT = struct.Struct("<16I")
_RUN = struct.Struct("<IQII")
_STEP = struct.Struct("<QI")
STEP_BYTES = _STEP.size


def parse_hello(payload: bytes) -> Hello:
    """Read who a device is. Raises DeviceError for a payload that is too short or says what cannot be."""
    values = _unpack(_HELLO, payload, "HELLO")
    low, high, max_payload, window = values[:4]
    if max_payload < _HELLO.size or window < 1:
        raise DeviceError(f"the device claims payloads of {max_payload} bytes and a window of {window} frames")
    names = [_name(field) for field in values[22:24]]
    limits = [min(max_payload, MAX_PAYLOAD), min(window, MAX_WINDOW)]
    fields: list[Any] = [low, high, *limits, *values[4:19], values[19:22], *names]
    return Hello(*fields)


def parse_slots(payload: bytes) -> list[Slot]:
    """Read the answer to STATUS."""
    (count,) = _unpack(struct.Struct("<I"), payload, "STATUS")
    if count > MAX_SLOTS or len(payload) < 4 + count * _SLOT.size:
        raise DeviceError(f"the device tells of {count} slots in {len(payload)} bytes")
    slots = []
    for index in range(count):
        state, flags, trials, _, *rest, _ = _SLOT.unpack_from(payload, 4 + index * _SLOT.size)
        if state not in set(SlotState):
            raise DeviceError(f"the device tells of slot {index} in state {state}, which does not exist")
        slots.append(Slot(SlotState(state), bool(flags & 1), bool(flags & 2), bool(flags & 4), trials, *rest))
    return slots


def parse_memory(payload: bytes) -> MemoryUse:
    """Read the answer to MEMORY."""
    return MemoryUse(*_unpack(struct.Struct("<5I"), payload, "MEMORY"))


def parse_fault(payload: bytes) -> FaultRecord | None:
    """Read the answer to FAULT, None when no fault is stored. Its own CRC was checked when the device started."""
    return None if not payload else FaultRecord(*_unpack(_FAULT, payload, "FAULT")[:-1])


def parse_run(payload: bytes) -> tuple[int, int, int, int]:
    """Read the answer to RUN: run id, count, output CRC, output bytes."""
    run_id, count, crc, size = _unpack(_RUN, payload, "RUN")
    return run_id, count, crc, size


def parse_steps(payload: bytes) -> list[StepResult]:
    """Read the results in an answer to STEPS, after its first number."""
    return [StepResult(*_STEP.unpack_from(payload, at)) for at in range(4, len(payload) - _STEP.size + 1, _STEP.size)]


def parse_ports(payload: bytes) -> tuple[int, int, list[int]]:
    """Read the answer to PORTS: inputs, outputs, and the bytes of those it tells of."""
    inputs, outputs, _ = _unpack(struct.Struct("<3H"), payload, "PORTS")
    count = (len(payload) - 6) // 4
    return inputs, outputs, list(struct.unpack_from(f"<{count}I", payload, 6))


def first_number(payload: bytes) -> int | None:
    """Return the u32 that a reply begins with, None when it is too short."""
    return int.from_bytes(payload[:4], "little") if len(payload) >= 4 else None


def explain(status: int, payload: bytes) -> str:
    """Say in words why a device did not do what it was asked."""
    if status == Status.REFUSED and len(payload) >= 4:
        code = int.from_bytes(payload[:4], "little", signed=True)
        return _REFUSALS.get(code, f"it refuses with status {code}")
    meaning = _MEANINGS.get(Status(status)) if status in set(Status) else None
    return meaning or f"it answers with status {status}"


def printable(text: bytes, *, limit: int = 80) -> str:
    """Return bytes as text on one line, what is not printable ASCII escaped, at most ``limit`` characters."""
    shown = "".join(_ESCAPES.get(byte, chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}") for byte in text)
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."


_ESCAPES = {9: "\\t", 10: "\\n", 13: "\\r", 92: "\\\\"}


def _name(field: bytes) -> str:
    return printable(field.split(b"\x00")[0])


def _unpack(record: struct.Struct, payload: bytes, command: str) -> tuple[Any, ...]:
    if len(payload) < record.size:
        raise DeviceError(f"the device answers {command} with {len(payload)} bytes, {record.size} expected")
    return record.unpack_from(payload)

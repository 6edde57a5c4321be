# SPDX-License-Identifier: Apache-2.0
"""Model the cycles of counted Thumb code of small Cortex-M cores with the timing tables of their reference manuals.

These cores issue one instruction at a time, so that a block takes the sum of its instructions' cycles, and more when it
is left by a taken branch. Memory without wait states is assumed, so figures are a lower estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edgeq.device.counter import Interval


@dataclass(frozen=True)
class Timing:
    """Cycles of instructions; whatever has no field takes one.

    Transfers of n words take n + 1. ``branch``, ``call``, ``exchange`` (of BX and BLX) and ``return_`` (of what loads
    the program counter) are those beyond the instruction's own when it is taken.
    """

    load: int
    store: int  # at an offset in the instruction
    pipelined: bool  # a load or store right behind a load takes one cycle
    multiply_add: int
    long_multiply: int
    long_multiply_add: int
    divide: int
    system: int
    branch: int
    call: int
    exchange: int
    return_: int


# By a board's ``cpu``: tables 3-1 of the TRMs of Cortex-M0 r0p0 (DDI 0432C) and Cortex-M0+ r0p1 (DDI 0484C), both with
# the multiplier of one cycle, Cortex-M3 r2p1 (DDI 0337I) and Cortex-M4 r0p1 (DDI 0439D). The last two give ranges:
# refilling the pipeline takes 1 to 3 cycles, a division 2 to 12, and on the Cortex-M3 SMULL 3 to 5 and SMLAL 4 to 7.
TIMINGS = {
    "cortex-m0": Timing(2, 2, False, 1, 1, 1, 1, system=4, branch=2, call=3, exchange=2, return_=3),
    "cortex-m0plus": Timing(2, 2, False, 1, 1, 1, 1, system=3, branch=1, call=2, exchange=1, return_=2),
    "cortex-m3": Timing(2, 1, True, 2, 4, 5, 7, system=2, branch=2, call=2, exchange=2, return_=2),
    "cortex-m4": Timing(2, 1, True, 1, 1, 1, 7, system=2, branch=2, call=2, exchange=2, return_=2),
}


@dataclass(frozen=True)
class _Form:
    """An encoding of a class of instructions: the bits under ``mask`` are ``value``."""

    mask: int
    value: int
    cycles: Callable[[Timing, int], int]
    taken: Callable[[Timing], int] = lambda _: 0
    is_load: bool = False
    is_store: bool = False  # both of one word at most


def modelled_cycles(interval: Interval, timing: Timing) -> int:
    """Return the cycles of what ran between two markers."""
    straight = sum(times * straight_cycles(code, timing) for code, times in interval.blocks.items())
    return straight + sum(times * taken_cycles(code, timing) for code, times in interval.left.items())


def straight_cycles(code: bytes, timing: Timing) -> int:
    """Return the cycles of a block's instructions when control goes on right behind it."""
    total, behind_load = 0, False
    for instruction in instructions_of(code):
        form = _form_of(instruction)
        if form is None:
            total, behind_load = total + 1, False
            continue
        pipelined = timing.pipelined and behind_load and (form.is_load or form.is_store)
        total += 1 if pipelined else form.cycles(timing, instruction)
        behind_load = form.is_load
    return total


def taken_cycles(code: bytes, timing: Timing) -> int:
    """Return the cycles beyond these that a block takes when its last instruction goes elsewhere."""
    *_, last = instructions_of(code)
    form = _form_of(last)
    return 0 if form is None else form.taken(timing)


def instructions_of(code: bytes) -> Iterator[int]:
    """Split Thumb code: instructions of one halfword, and of two with the first one above (Armv7-M ARM, A5.1)."""
    at = 0
    while at < len(code):
        first = int.from_bytes(code[at : at + 2], "little")
        at += 2
        if first >> 11 in (0b11101, 0b11110, 0b11111):
            yield first << 16 | int.from_bytes(code[at : at + 2], "little")
            at += 2
        else:
            yield first


def _form_of(instruction: int) -> _Form | None:
    forms = _NARROW if instruction < 1 << 16 else _WIDE
    return next((form for form in forms if instruction & form.mask == form.value), None)


def _words(mask: int) -> Callable[[Timing, int], int]:
    """Cycles of a transfer of the registers that an instruction lists under a mask."""
    return lambda _, instruction: 1 + (instruction & mask).bit_count()


def _own(name: str) -> Callable[[Timing, int], int]:
    return lambda timing, _: getattr(timing, name)


def _one(_: Timing, __: int) -> int:
    return 1


def _branch(timing: Timing) -> int:
    return timing.branch


def _call(timing: Timing) -> int:
    return timing.call


def _exchange(timing: Timing) -> int:
    return timing.exchange


def _return(timing: Timing) -> int:
    return timing.return_


_LOAD, _STORE = _own("load"), _own("store")

# Armv7-M Architecture Reference Manual (DDI 0403E), A5.2
_NARROW = (
    _Form(0xFF00, 0x4700, _one, _exchange),  # BX, BLX
    _Form(0xFC87, 0x4487, _one, _branch),  # ADD and MOV to the program counter
    _Form(0xF800, 0x4800, _LOAD, is_load=True),  # LDR literal
    _Form(0xFE00, 0x5000, _LOAD, is_store=True),  # STR, STRH, STRB with a register offset, as long as a load
    _Form(0xFE00, 0x5200, _LOAD, is_store=True),
    _Form(0xFE00, 0x5400, _LOAD, is_store=True),
    _Form(0xF000, 0x5000, _LOAD, is_load=True),  # the others with a register offset
    _Form(0xE800, 0x6000, _STORE, is_store=True),  # STR, STRB
    _Form(0xE800, 0x6800, _LOAD, is_load=True),  # LDR, LDRB
    _Form(0xF800, 0x8000, _STORE, is_store=True),  # STRH
    _Form(0xF800, 0x8800, _LOAD, is_load=True),  # LDRH
    _Form(0xF800, 0x9000, _STORE, is_store=True),  # STR at the stack pointer
    _Form(0xF800, 0x9800, _LOAD, is_load=True),
    _Form(0xFE00, 0xB400, _words(0x1FF)),  # PUSH
    _Form(0xFF00, 0xBD00, _words(0x1FF), _return),  # POP with the program counter
    _Form(0xFF00, 0xBC00, _words(0x0FF)),  # POP
    _Form(0xF500, 0xB100, _one, _branch),  # CBZ, CBNZ
    _Form(0xF000, 0xC000, _words(0xFF)),  # STM, LDM
    _Form(0xF000, 0xD000, _one, _branch),  # B with a condition
    _Form(0xF800, 0xE000, _one, _branch),
)

# The same, A5.3
_WIDE = (
    _Form(0xFE50_8000, 0xE810_8000, _words(0xFFFF), _return),  # LDM, POP with the program counter
    _Form(0xFE40_0000, 0xE800_0000, _words(0xFFFF)),  # LDM, STM, PUSH, POP
    _Form(0xFFF0_FFE0, 0xE8D0_F000, _LOAD, _branch),  # TBB, TBH
    _Form(0xFE40_0000, 0xE840_0000, lambda _, __: 3),  # LDRD, STRD
    _Form(0xF800_D000, 0xF000_D000, _one, _call),  # BL
    _Form(0xF800_D000, 0xF000_9000, _one, _branch),  # B
    _Form(0xFF80_D000, 0xF380_8000, _own("system")),  # MSR, MRS, barriers, hints
    _Form(0xF800_D000, 0xF000_8000, _one, _branch),  # B with a condition
    _Form(0xFF70_F000, 0xF850_F000, _LOAD, _return),  # LDR of the program counter
    _Form(0xFF90_0FC0, 0xF800_0000, _LOAD, is_store=True),  # STR with a register offset
    _Form(0xFF10_0000, 0xF800_0000, _STORE, is_store=True),  # STR, STRH, STRB
    _Form(0xFE00_0000, 0xF800_0000, _LOAD, is_load=True),
    _Form(0xFFF0_F0F0, 0xFB00_F000, _one),  # MUL
    _Form(0xFFF0_00E0, 0xFB00_0000, _own("multiply_add")),  # MLA, MLS
    _Form(0xFFD0_00F0, 0xFB90_00F0, _own("divide")),  # SDIV, UDIV
    _Form(0xFFD0_00F0, 0xFB80_0000, _own("long_multiply")),  # SMULL, UMULL
    _Form(0xFF80_0000, 0xFB80_0000, _own("long_multiply_add")),  # SMLAL, UMLAL and their like
)

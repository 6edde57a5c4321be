# SPDX-License-Identifier: Apache-2.0
"""A stored fault says which layer failed, where and why."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from small_models import small_plan

from edgeq.board import load_board
from edgeq.device.fault import NO_STEP, describe_fault, fault_causes

BOARD = load_board("mps2-an386")


def _fault(**values: int) -> SimpleNamespace:
    names = ("exception", "step", "tensor", "pc", "lr", "xpsr", "cfsr", "hfsr", "bfar", "sp")
    names += ("r0", "r1", "r2", "r3", "r12")
    usual = {"exception": 3, "step": 1, "pc": 0x1234, "lr": 0x5679, "sp": 0x20001000}
    return SimpleNamespace(**(dict.fromkeys(names, 0) | usual | values))


def test_layer_tensor_and_registers_are_named() -> None:
    plan = small_plan()
    tensor = plan.steps[1].outputs[0]
    lines = describe_fault(_fault(tensor=tensor, r2=0xDEADBEEF), plan=plan, board=BOARD)
    step = plan.steps[1]
    assert lines[0] == (
        f'the device failed in step 1, {step.op} "{step.name}", writing tensor {tensor} "{plan.values[tensor].name}"'
    )
    assert lines[1] == "HardFault at PC 0x00001234, LR 0x00005679"
    assert lines[2] == "cause: the core keeps no cause"
    assert "r2=deadbeef" in lines[-1]
    assert "sp=20001000" in lines[-1]


def test_without_the_model_the_step_has_its_number() -> None:
    assert describe_fault(_fault(step=7, tensor=3))[0] == "the device failed in step 7, tensor 3"
    assert "step 7, which this model of 2 does not have" in describe_fault(_fault(step=7), plan=small_plan())[0]
    assert describe_fault(_fault(step=NO_STEP))[0] == "the device failed outside of an inference"


@pytest.mark.parametrize(
    ("cfsr", "said"),
    [
        (1 << 9 | 1 << 15, "at an address without memory, by the instruction at PC"),
        (1 << 10, "shortly before PC"),
        (1 << 12, "the stack has overflowed"),
        (1 << 16, "an instruction that this core does not have"),
        (1 << 19, "floating-point unit"),
        (1 << 24, "not aligned"),
        (1 << 25, "a division by zero"),
    ],
)
def test_bits_of_the_status_register_become_words(cfsr: int, said: str) -> None:
    assert [cause for cause in fault_causes(cfsr) if said in cause]
    assert [line for line in describe_fault(_fault(cfsr=cfsr)) if line.startswith("cause: ") and said in line]


def test_an_address_is_told_where_it_is_valid_and_what_memory_it_is_in() -> None:
    lines = describe_fault(_fault(cfsr=1 << 9 | 1 << 15, bfar=0x30000000), board=BOARD)
    assert "cause: the address is 0x30000000, in no memory of board mps2-an386" in lines
    lines = describe_fault(_fault(cfsr=1 << 9 | 1 << 15, bfar=0x20000004), board=BOARD)
    assert "cause: the address is 0x20000004, in ram" in lines
    assert not [line for line in describe_fault(_fault(cfsr=1 << 10, bfar=0x30000000)) if "the address is" in line]


def test_a_stack_outside_of_ram_has_overflowed() -> None:
    assert not [line for line in describe_fault(_fault(), board=BOARD) if "stack" in line]
    lines = describe_fault(_fault(sp=0x1FFFFFF8), board=BOARD)
    assert "cause: the stack pointer is 0x1ffffff8, in no memory of board mps2-an386: the stack has overflowed" in lines


def test_exceptions_and_interrupts_have_their_names() -> None:
    assert describe_fault(_fault(exception=6))[1].startswith("UsageFault at ")
    assert describe_fault(_fault(exception=21))[1].startswith("interrupt 5 without a handler at ")
    assert describe_fault(_fault(exception=9))[1].startswith("exception 9 at ")


def test_unknown_bits_are_shown_as_they_are() -> None:
    assert "cause: unknown, CFSR is 0x00000040" in describe_fault(_fault(cfsr=0x40))
    assert [line for line in describe_fault(_fault(hfsr=2)) if "handler could not be read" in line]

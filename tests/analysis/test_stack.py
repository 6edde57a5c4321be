# SPDX-License-Identifier: Apache-2.0
"""The bound of the stack holds in emulation, is close to what was painted over, and is refused where there is none."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from firmware_builds import DEMOS, EMULATED, firmware_of, plan_for
from needs import needs_program
from shared_files import shared

from edgeq.analysis.fit import fit_firmware, fit_of
from edgeq.analysis.size_tables import SIZES, Section, SizeTable, load_table
from edgeq.board import load_board
from edgeq.device.cross import GCC
from edgeq.device.emulator import Emulator
from edgeq.device.link.client import LinkClient
from edgeq.device.link.transport import Transport, open_transport
from edgeq.errors import InternalError
from edgeq.format.write import write_model

CLOSE_BYTES = 112  # what kernels call for channels with unusual scales, which these models do not have
ANSWER_SECONDS = 20
TINY = ("kws_ref_int8", "vww_96_int8", "resnet8_int8", "ad01_int8")
TEXTS = (b"name%", b"profile%", b"timestamp%", b"infer 1 0%", b"results%")
WORST_INSTRUCTIONS_PER_MAC = 60  # on cores that multiply one pair at a time, with what small layers need besides


def _say(transport: Transport, text: bytes) -> None:
    """Send a text command and read until the board is ready for the next."""
    transport.write(text)
    answer = b""
    while b"m-ready" not in answer:
        received = transport.read(ANSWER_SECONDS)
        assert received, f"{text!r} was answered with {answer!r}"
        answer += received


def _check(name: str, path: Path) -> None:
    """Run a model by both of the link's languages; compare its stack with the bound, and the work with the budget."""
    needs_program(GCC)
    board = load_board(name)
    needs_program(board.emulator)
    plan = plan_for(board, path)
    firmware, model = firmware_of(board, plan)
    fit = fit_firmware(plan, model, board)
    assert fit is not None
    inputs = bytes(sum(plan.values[port.value].bytes for port in plan.inputs))
    outputs = sum(plan.values[port.value].bytes for port in plan.outputs)
    with Emulator(board, firmware.elf) as emulator:
        transport = open_transport(emulator.url)
        for text in TEXTS:
            _say(transport, text)
        client = LinkClient(transport)
        hertz = client.hello().counter_hz
        counts = sorted(client.run(inputs, output_bytes=outputs).count for _ in range(3))
        used = client.memory().stack_used
        client.close()
    assert used <= fit.stack_bytes
    # where no interrupt came at the deepest point, what it would have added was not used
    assert fit.stack_bytes <= used + fit.interrupt_bytes + CLOSE_BYTES, f"{used} of at most {fit.stack_bytes} bytes"
    # the same but for an interrupt of the timer in one of them, and for a timer slower than the core
    assert counts[1] - counts[0] <= 1
    assert counts[0] / hertz * emulator.instructions_per_second <= WORST_INSTRUCTIONS_PER_MAC * plan.macs


@pytest.mark.parametrize("name", EMULATED)
def test_the_bound_is_close_above_what_is_used(name: str) -> None:
    _check(name, DEMOS[0])


@pytest.mark.slow
@pytest.mark.parametrize("model", TINY)
@pytest.mark.parametrize("name", EMULATED)
def test_the_bound_is_close_above_what_real_models_use(name: str, model: str) -> None:
    board = load_board(name)
    plan = plan_for(board, shared(f"models/{model}.tflite"))
    fit = fit_firmware(plan, write_model(plan), board)
    if fit is not None and fit.fits:
        _check(name, shared(f"models/{model}.tflite"))


def _table_with(object_name: str, section: str, **changes: object) -> SizeTable:
    """Return the micro:bit's table with one section changed."""
    table = load_table(SIZES, "microbit")
    rows = [row._replace(**changes) if row.name == section else row for row in table.objects[object_name]]
    assert rows != list(table.objects[object_name])
    return dataclasses.replace(table, objects={**table.objects, object_name: tuple(rows)})


def _bound(table: SizeTable) -> int:
    board = load_board("microbit")
    plan = plan_for(board, DEMOS[0])
    return fit_of(plan, write_model(plan), board, table).stack_bytes


def test_recursion_has_no_bound() -> None:
    with pytest.raises(InternalError, match="calls itself"):
        _bound(_table_with("runtime/run", ".text.eq_run_step", calls=("eq_device_run",)))


def test_an_unknown_function_has_no_bound() -> None:
    with pytest.raises(InternalError, match="calls malloc, whose stack is not known"):
        _bound(_table_with("runtime/run", ".text.eq_run_step", calls=("malloc",)))


def test_a_deeper_frame_is_a_deeper_bound() -> None:
    table = load_table(SIZES, "microbit")
    step = next(row for row in table.objects["runtime/run"] if row.name == ".text.eq_run_step")
    assert isinstance(step, Section)
    deeper = _table_with("runtime/run", ".text.eq_run_step", frame=step.frame + 100)
    assert _bound(deeper) == _bound(table) + 100

# SPDX-License-Identifier: Apache-2.0
"""What is said of a microcontroller's memory before a build is what the linker then makes, byte for byte."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from cli_calls import call, report
from firmware_builds import BOARDS, DEMOS, firmware_of, plan_for
from needs import needs_program
from shared_files import shared

from edgeq.analysis.fit import Fit, fit_firmware, require_fit
from edgeq.analysis.size_tables import SIZES, load_table
from edgeq.board import Board, MemoryRegion, load_board
from edgeq.device.cross import GCC
from edgeq.device.firmware import Firmware
from edgeq.errors import DoesNotFitError
from edgeq.format.write import write_model

TINY = ("kws_ref_int8", "vww_96_int8", "resnet8_int8", "ad01_int8")
ONE_OF_EACH = ("microbit", "stm32vldiscovery", "nucleo-l4r5zi", "mps3-an547")  # kinds of kernels
HOSTED = re.compile(r" [TtWwU] (malloc|calloc|realloc|free|_sbrk\w*|\w*printf\w*|abort|exit)$", re.MULTILINE)
FLOATS = re.compile(r" [TtWwU] (__aeabi_[fd]\w+)$", re.MULTILINE)


@cache
def _linked(name: str, path: Path) -> tuple[Fit, Firmware]:
    """Predict and build the firmware of a model for a board that has room for any."""
    needs_program(GCC)
    board = load_board(name)
    roomy = dataclasses.replace(
        board, memory=tuple(dataclasses.replace(region, bytes=max(region.bytes, 1 << 20)) for region in board.memory)
    )
    plan = plan_for(board, path)
    firmware, model = firmware_of(roomy, plan)
    fit = fit_firmware(plan, model, board)
    assert fit is not None
    return fit, firmware


def _check(name: str, path: Path) -> None:
    fit, firmware = _linked(name, path)
    assert firmware.compiler == fit.compiler
    assert {section: size for section, size in fit.sections.items() if size} == firmware.sizes
    assert fit.flash_bytes == len(firmware.bin)


@pytest.mark.parametrize("name", BOARDS)
def test_sections_are_predicted_to_the_byte(name: str) -> None:
    _check(name, DEMOS[0])


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_sections_of_another_model_are_predicted_to_the_byte(name: str) -> None:
    _check(name, DEMOS[1])


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_sections_of_a_real_model_are_predicted_to_the_byte(name: str) -> None:
    _check(name, shared("models/kws_ref_int8.tflite"))


@pytest.mark.slow
@pytest.mark.parametrize("model", TINY)
@pytest.mark.parametrize("name", BOARDS)
def test_sections_of_all_real_models_are_predicted_to_the_byte(name: str, model: str) -> None:
    _check(name, shared(f"models/{model}.tflite"))


@pytest.mark.parametrize("name", BOARDS)
def test_firmware_calls_nothing_of_a_hosted_system(name: str, tmp_path: Path) -> None:
    _, firmware = _linked(name, DEMOS[0])
    (tmp_path / "elf").write_bytes(firmware.elf)
    nm = [needs_program("arm-none-eabi-nm"), tmp_path / "elf"]
    symbols = subprocess.run(nm, check=True, capture_output=True, text=True).stdout
    assert " T eq_link_feed" in symbols
    assert not HOSTED.findall(symbols)
    assert not FLOATS.findall(symbols)


def _regenerated(name: str, folder: Path) -> None:
    tool = Path(__file__).parents[2] / "tools/measure_sizes.py"
    subprocess.run([sys.executable, tool, name, "--output", folder], check=True, capture_output=True)
    for path in folder.iterdir():
        assert path.read_text() == (SIZES / path.name).read_text(), f"{path.name} is stale: run tools/measure_sizes.py"


def test_the_table_of_a_core_is_up_to_date(tmp_path: Path) -> None:
    needs_program(GCC)
    _regenerated("mps2-an385", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("cpu", sorted({load_board(name).cpu for name in BOARDS}))
def test_all_tables_are_up_to_date(cpu: str, tmp_path: Path) -> None:
    needs_program(GCC)
    _regenerated(next(name for name in BOARDS if load_board(name).cpu == cpu), tmp_path)


def test_every_board_has_a_table_of_the_same_compiler() -> None:
    assert len({load_table(SIZES, name).compiler for name in BOARDS}) == 1


def _with_memory(board: Board, **sizes: int) -> Board:
    return dataclasses.replace(
        board, memory=tuple(MemoryRegion(r.name, r.origin, sizes.get(r.name, r.bytes)) for r in board.memory)
    )


@pytest.mark.parametrize("name", ["flash", "ram"])
def test_a_byte_too_few_is_refused_with_the_number(name: str) -> None:
    board = load_board("microbit")
    plan = plan_for(board, DEMOS[0])
    model = write_model(plan)
    fit = fit_firmware(plan, model, board)
    assert fit is not None
    assert fit.fits
    used = {"flash": fit.flash_bytes, "ram": fit.ram_bytes}[name]
    require_fit(plan, model, _with_memory(board, **{name: used}))
    with pytest.raises(DoesNotFitError, match=f"{used} bytes of .* has {used - 1}: 1 are missing") as error:
        require_fit(plan, model, _with_memory(board, **{name: used - 1}))
    assert "it fits microbit, " in (error.value.hint or "")


def test_a_stack_deeper_than_what_is_reserved_is_refused() -> None:
    board = dataclasses.replace(load_board("microbit"), stack_bytes=256)
    plan = plan_for(board, DEMOS[0])
    with pytest.raises(DoesNotFitError, match="bytes of stack, microbit has 256"):
        require_fit(plan, write_model(plan), board)


def test_analyze_reports_the_firmware_of_a_board(capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, "analyze", DEMOS[0], "--board", "microbit")
    board = load_board("microbit")
    plan = plan_for(board, DEMOS[0])
    fit = fit_firmware(plan, write_model(plan), board)
    assert fit is not None
    memory = found["memory"]
    assert found["fits"] is True
    assert found["flash_bytes"] == fit.flash_bytes == memory["model_bytes"] + memory["code_bytes"]
    assert memory["arena_bytes"] + memory["runtime_bytes"] + board.stack_bytes == fit.ram_bytes
    assert memory["stack_bytes"] == fit.stack_bytes
    assert found["firmware"]["sections"] == fit.sections
    assert call("analyze", DEMOS[0], "--board", "microbit") == 0
    shown = capsys.readouterr().out
    assert f"{fit.flash_bytes:,} of 262,144 bytes" in shown
    assert fit.compiler in shown


@pytest.mark.parametrize("command", ["analyze", "convert", "build", "run"])
def test_a_model_too_large_for_a_board_ends_with_code_3(command: str, tmp_path: Path) -> None:
    written = ["-o", tmp_path / "new"] if command in ("convert", "build") else []
    model = shared("models/vww_96_int8.tflite")
    assert call(command, model, "--board", "stm32vldiscovery", *written) == 3
    assert not list(tmp_path.iterdir())

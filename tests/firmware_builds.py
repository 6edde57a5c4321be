# SPDX-License-Identifier: Apache-2.0
"""Firmware of models for tests: plans as a board runs them, and the boards there are."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path

from edgeq.board import Board, board_names, load_board
from edgeq.compile.plan import Plan
from edgeq.device.firmware import Firmware, build_firmware
from edgeq.format.write import write_model
from edgeq.ops.packing import layout_code
from edgeq.paths import demo_dir
from edgeq.pipeline import plan_without_data, read_source

BOARDS = tuple(name for name in board_names() if load_board(name).kind == "firmware")
EMULATED = tuple(name for name in BOARDS if load_board(name).emulator_machine)
DEMOS = (demo_dir() / "digits_int8.tflite", demo_dir() / "digits_float.tflite")


@cache
def _plan(path: Path) -> Plan:
    return plan_without_data(read_source(path), board=load_board(BOARDS[0]))[0]


def plan_for(board: Board, path: Path) -> Plan:
    """Return the plan of a source model, however much memory the board has; ranges of a float model are made up."""
    return dataclasses.replace(_plan(path), layout=layout_code(board.weights))


def firmware_of(board: Board, plan: Plan) -> tuple[Firmware, bytes]:
    """Build the firmware of a plan; return the model file as well."""
    model = write_model(plan, board_class=board.board_class)
    return build_firmware(board, plan, model, toolchain="gcc"), model

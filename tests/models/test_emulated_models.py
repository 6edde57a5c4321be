# SPDX-License-Identifier: Apache-2.0
"""Real int8 models on emulated boards: every output and every step equals this machine's, which equals LiteRT's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from needs import needs_program
from samples import INT8_MODELS, random_inputs, sample_inputs
from shared_files import shared

from edgeq.api import Model, convert
from edgeq.board import load_board
from edgeq.device.device import connect


def _compare(model: Model, inputs: Sequence[np.ndarray], board: str) -> int:
    """Run all inputs on a board; return the number of step results that were compared."""
    needs_program(load_board(board).emulator)
    with connect(load_board(board)) as device:
        device.load(model.plan, model.data)
        found = device.run_many([model.encode([x]) for x in inputs], crcs=True)
    compared = 0
    for x, result in zip(inputs, found, strict=True):
        expected = model.run_codes(model.encode([x]), crcs=True)
        assert result.step_crcs == expected.step_crcs
        for want, have in zip(expected.outputs, result.outputs, strict=True):
            np.testing.assert_array_equal(have, want)
        compared += len(result.step_crcs)
    return compared


@pytest.mark.parametrize("name", INT8_MODELS)
def test_all_inputs_on_a_raspberry_pi_4(name: str, record_property: Callable[[str, object], None]) -> None:
    path = shared(f"models/{name}.tflite")
    model = convert(path)
    inputs = random_inputs(model, 20) + sample_inputs(model, path.parent / "samples", name)
    compared = _compare(model, inputs, "raspberry-pi-4")
    compared += _compare(convert(path, keep_tensors=True), inputs, "raspberry-pi-4")
    record_property(f"shared: step results of {name} equal on raspberry-pi-4 (emulated)", compared)


@pytest.mark.parametrize(
    "board", ["raspberry-pi-zero", "raspberry-pi-2", "raspberry-pi-zero-2w", "raspberry-pi-3", "raspberry-pi-5"]
)
def test_other_boards(board: str) -> None:
    model = convert(shared("models/kws_ref_int8.tflite"))
    assert _compare(model, random_inputs(model, 5), board) == 5 * len(model.plan.steps)

# SPDX-License-Identifier: Apache-2.0
"""edgeq.evaluate: what it takes for a model, data and labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from shared_files import shared
from small_models import small_model

import edgeq
from edgeq.api import Session
from edgeq.errors import BadInputError, UsageError
from edgeq.ir.result import RunResult
from edgeq.paths import demo_dir
from edgeq.runtime.native import NativeRunner

FLOAT, INT8, TESTS = (demo_dir() / name for name in ("digits_float.tflite", "digits_int8.tflite", "digits_test.npz"))
with np.load(TESTS) as _arrays:
    X, Y = _arrays["x"], _arrays["y"]


class _Here:
    """A device that is this machine, and counts its inferences."""

    def __init__(self) -> None:
        self.inferences = 0

    def load(self, plan: edgeq.api.Plan, data: bytes) -> None:
        self._runner = NativeRunner(plan, data)

    def run_many(self, samples: Sequence[Sequence[np.ndarray]], *, crcs: bool = False) -> list[RunResult]:
        self.inferences += len(samples)
        return [self._runner.run(list(codes), crcs=crcs) for codes in samples]


def test_a_model_a_path_and_arrays_give_the_same() -> None:
    expected = edgeq.evaluate(INT8, TESTS)
    assert isinstance(expected, edgeq.Accuracy)
    assert (expected.metric, expected.value, expected.samples) == ("top1", pytest.approx(358 / 360), 360)
    model = edgeq.convert(INT8)
    assert edgeq.evaluate(model, str(TESTS)) == expected
    assert edgeq.evaluate(model, [X], labels=Y, metric="top1") == expected


def test_a_saved_model_is_measured_against_its_float_source(tmp_path: Path) -> None:
    edgeq.convert(INT8).save(tmp_path / "m.eqm")
    np.save(tmp_path / "y.npy", Y[:90])
    found = edgeq.evaluate(tmp_path / "m.eqm", [X[:90]], labels=tmp_path / "y.npy", metric="f1", source=FLOAT)
    assert found.against is not None
    assert found.against.source == edgeq.evaluate(FLOAT, [X[:90]], labels=Y[:90], metric="f1")
    assert found.against.agreement == 1.0
    assert 35 < found.against.sqnr_db < 50


def test_progress_counts_samples() -> None:
    seen: list[int] = []
    edgeq.evaluate(INT8, [X[:40]], labels=Y[:40], progress=seen.append)
    assert seen == [32, 40]


def test_a_device_runs_the_model_that_it_has_loaded() -> None:
    model, here = edgeq.convert(INT8), _Here()
    session = Session(here)  # type: ignore[arg-type]
    session.load(model)
    assert edgeq.evaluate(model, [X[:40]], labels=Y[:40], device=session, source=FLOAT).value == 1.0
    assert here.inferences == 40
    for other in (FLOAT, INT8, edgeq.convert(INT8)):
        with pytest.raises(UsageError, match="that it has loaded"):
            edgeq.evaluate(other, [X], labels=Y, device=session)


@pytest.mark.parametrize(
    ("data", "labels", "message"),
    [
        ([X[:5]], Y[:6], "5 samples are in the arrays, 6 labels"),
        ([X[:5]], None, "no labels"),
        ([X[:5, :4]], Y[:5], "samples of shape"),
        ([X[:5], X[:5]], Y[:5], "1 arrays expected"),
        (TESTS, Y, "labels y of its own"),
    ],
)
def test_data_and_labels_that_do_not_go_together_are_refused(
    data: Path | list[np.ndarray], labels: np.ndarray | None, message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        edgeq.evaluate(INT8, data, labels=labels)


def test_real_outputs_are_codes_times_their_scale(tmp_path: Path) -> None:
    (tmp_path / "m.eqm").write_bytes(small_model())
    model = edgeq.load(tmp_path / "m.eqm")
    codes = np.arange(-54, 54, dtype=np.int8).reshape(1, 108)
    np.testing.assert_array_equal(model.reals([codes])[0], (codes.astype(np.float32) + 128) / 256)


def test_the_wand_is_as_accurate_as_published() -> None:
    """As `models_trained/README.md` says, in float."""
    with np.load(shared("data/wand_digits.npz")) as arrays:
        found = edgeq.evaluate(shared("models_trained/wand_gru32.tflite"), [arrays["test_x"]], labels=arrays["test_y"])
    assert (found.metric, found.samples, found.value) == ("top1", 500, pytest.approx(0.99))

# SPDX-License-Identifier: Apache-2.0
"""The adapter over LiteRT, on whichever package is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from frontends.tflite_builder import Model, O, T, build
from needs import needs_module

from edgeq.errors import BadInputError, StorageError, ToolchainError, UsageError
from edgeq.runtime import litert
from edgeq.runtime.litert import ReferenceInterpreter, installed_package

RELU_TWICE = build(
    Model(
        [
            T("x", (1, 4), scale=0.5, zero=3),
            T("t", (1, 4), scale=0.5, zero=3),
            T("y", (1, 4), scale=0.25, zero=-128),
        ],
        [O("RELU", [0], [1], version=2), O("RELU", [1], [2], version=2)],
        [0],
        [2],
    )
)
X = np.array([[-10, 0, 3, 100]], np.int8)
Y = np.array([[-128, -128, -128, 66]], np.int8)  # 2 * (100 - 3) - 128


@pytest.fixture(autouse=True)
def _package() -> None:
    if installed_package() is None:
        needs_module("ai_edge_litert")


@pytest.mark.parametrize("reference_kernels", [True, False])
def test_a_model_runs_on_arrays_in_order_or_by_name(reference_kernels: bool) -> None:
    interpreter = ReferenceInterpreter(RELU_TWICE, reference_kernels=reference_kernels)
    (by_order,) = interpreter.run([X])
    (by_name,) = interpreter.run({"x": X})
    np.testing.assert_array_equal(by_order, Y)
    np.testing.assert_array_equal(by_name, Y)


def test_ends_are_described() -> None:
    interpreter = ReferenceInterpreter(RELU_TWICE)
    (x,), (y,) = interpreter.inputs, interpreter.outputs
    assert (x.name, x.shape, x.dtype, x.scale, x.zero_point) == ("x", (1, 4), np.dtype(np.int8), 0.5, 3)
    assert (y.name, y.index, y.scale, y.zero_point) == ("y", 2, 0.25, -128)
    assert interpreter.package == installed_package()
    assert interpreter.version[0].isdigit()


def test_intermediate_tensors_are_kept_on_request() -> None:
    interpreter = ReferenceInterpreter(RELU_TWICE, keep_tensors=True)
    interpreter.run([X])
    np.testing.assert_array_equal(interpreter.tensor(1), [[3, 3, 3, 100]])
    assert [detail.name for detail in interpreter.tensors()][:3] == ["x", "t", "y"]
    with pytest.raises(UsageError, match="tensor 99"):
        interpreter.tensor(99)


def test_results_do_not_change_with_the_next_run() -> None:
    interpreter = ReferenceInterpreter(RELU_TWICE)
    (first,) = interpreter.run([X])
    interpreter.run([np.full_like(X, 127)])
    np.testing.assert_array_equal(first, Y)


def test_a_path_is_read(tmp_path: Path) -> None:
    path = tmp_path / "relu.tflite"
    path.write_bytes(RELU_TWICE)
    np.testing.assert_array_equal(ReferenceInterpreter(path).run([X])[0], Y)
    with pytest.raises(StorageError, match="missing"):
        ReferenceInterpreter(tmp_path / "missing.tflite")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "has 1 inputs, 0 were given"),
        ({"z": X}, r"inputs are \['x'\], \['z'\] were given"),
        ([X.astype(np.float32)], "float32"),
        ([X[:, :3]], r"\[1, 3\] was given"),
    ],
)
def test_wrong_inputs_are_refused(inputs: list | dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ReferenceInterpreter(RELU_TWICE).run(inputs)


def test_a_refused_model_is_bad_input() -> None:
    with pytest.raises(BadInputError, match="refuses the model"):
        ReferenceInterpreter(b"not a model at all")


def test_an_unknown_package_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="ai-edge-litert, tflite-runtime"):
        ReferenceInterpreter(RELU_TWICE, package="tensorflow")


def test_a_missing_package_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litert, "_PACKAGES", {"ai-edge-litert": "ai_edge_litert_that_is_missing"})
    assert installed_package() is None
    with pytest.raises(ToolchainError, match="pip install ai-edge-litert"):
        ReferenceInterpreter(RELU_TWICE)


def test_tflite_runtime_under_numpy_2_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litert.np, "__version__", "2.1.0")
    with pytest.raises(ToolchainError, match=r'pip install "numpy<2" tflite-runtime'):
        ReferenceInterpreter(RELU_TWICE, package="tflite-runtime")

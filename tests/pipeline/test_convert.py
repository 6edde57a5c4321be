# SPDX-License-Identifier: Apache-2.0
"""The stages joined: what a conversion promises as a whole, on the bundled models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeq.api import Model, convert, load
from edgeq.errors import UsageError
from edgeq.ops.execute import run_float
from edgeq.paths import demo_dir
from edgeq.pipeline import plan_without_data, read_source
from edgeq.quantize.data import load_data
from edgeq.quantize.recipe import Recipe

FLOAT, INT8 = demo_dir() / "digits_float.tflite", demo_dir() / "digits_int8.tflite"
CALIBRATION, TEST = demo_dir() / "digits_calibration.npz", demo_dir() / "digits_test.npz"


def _digits(**options: object) -> Model:
    return convert(FLOAT, data=CALIBRATION, **options)  # type: ignore[arg-type]


def test_converting_twice_gives_the_same_bytes() -> None:
    assert _digits().data == _digits().data
    assert convert(INT8).data == convert(INT8).data


def test_a_saved_model_loads_and_runs_alike(tmp_path: Path) -> None:
    model = _digits()
    path = tmp_path / "digits.eqm"
    model.save(path)
    x = np.load(TEST, allow_pickle=False)["x"][:1]
    np.testing.assert_array_equal(load(path).run([x])[0], model.run([x])[0])


@pytest.mark.parametrize("observer", ["minmax", "percentile:99.99", "mse"])
def test_every_observer_keeps_the_accuracy_of_the_digits(observer: str) -> None:
    model = _digits(recipe=Recipe(observer=observer))
    test = np.load(TEST, allow_pickle=False)
    right = [int(model.run([x[None]])[0].argmax()) == y for x, y in zip(test["x"], test["y"], strict=True)]
    assert np.mean(right) >= 0.989  # float has 0.9944


def test_the_model_that_came_quantized_gets_tflite_rounding_and_ours_native() -> None:
    assert convert(INT8).plan.rounding == "tflite"
    assert _digits().plan.rounding == "native"
    assert _digits(rounding="tflm").plan.rounding == "tflm"


def test_kept_tensors_follow_the_float_network() -> None:
    model = _digits(keep_tensors=True)
    graph = read_source(FLOAT)
    x = np.load(TEST, allow_pickle=False)["x"][:1]
    real: dict[str, np.ndarray] = {}
    run_float(graph, [x], observe=lambda index, value: real.__setitem__(graph.tensors[index].name, value))
    kept = model.tensors([x])
    assert set(kept) == set(real)
    values = {tensor.name: model.plan.values[tensor.value] for tensor in model.plan.tensors}
    for name, codes in kept.items():
        quant = values[name].quant
        assert quant is not None
        error = (codes.astype(np.float64) - quant.zero_point) * quant.scale - real[name]
        assert np.sum(error**2) <= 0.01 * np.sum(np.square(real[name], dtype=np.float64)), name


def test_calibration_may_come_in_any_number_of_batches() -> None:
    x = np.load(CALIBRATION, allow_pickle=False)["x"]
    whole = convert(FLOAT, data=[[x]], recipe=Recipe(observer="minmax"))
    parts = convert(FLOAT, data=[[x[i : i + 7]] for i in range(0, len(x), 7)], recipe=Recipe(observer="minmax"))
    assert whole.plan.arena_bytes == parts.plan.arena_bytes
    test = np.load(TEST, allow_pickle=False)["x"][:20]
    for picture in test:
        np.testing.assert_allclose(whole.run([picture[None]])[0], parts.run([picture[None]])[0], atol=0.02)


def test_a_float_model_without_data_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="needs samples of its inputs"):
        convert(FLOAT)


def test_sizes_are_known_without_data() -> None:
    plan, _ = plan_without_data(read_source(FLOAT))
    real = _digits().plan
    assert (plan.arena_bytes, plan.macs, len(plan.steps)) == (real.arena_bytes, real.macs, len(real.steps))


def test_data_may_be_a_loaded_set() -> None:
    graph = read_source(FLOAT)
    model = convert(FLOAT, data=load_data(CALIBRATION, graph).batches())
    assert model.data == _digits().data

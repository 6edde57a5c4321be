# SPDX-License-Identifier: Apache-2.0
"""What each command does when all is well."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli_calls import CALIBRATION, FLOAT, INT8, TESTS, call, report
from frontends.tflite_builder import Model, O, T, build
from small_models import small_model, small_plan

import edgeq
from edgeq.cli import command_names
from edgeq.format.read import read_model
from edgeq.ir.dtypes import DType
from edgeq.quantize.recipes import parse_recipe
from edgeq.runtime.reference import run_reference


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.eqm"
    path.write_bytes(small_model())
    return path


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(command_names()) == 20
    for name in command_names():
        assert call(name, "--help") == 0
        assert f"edgeq {name}" in capsys.readouterr().out


def test_plain_edgeq_says_what_to_do_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert call() == 0
    shown = capsys.readouterr().out
    assert "raspberry-pi-4" in shown
    assert "edgeq demo" in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--version") == 0
    assert capsys.readouterr().out == f"edgeq {edgeq.__version__}\n"


def test_convert_writes_a_model_and_the_recipe_that_repeats_it(tmp_path: Path) -> None:
    first, second = tmp_path / "a.eqm", tmp_path / "b.eqm"
    assert call("convert", FLOAT, "-o", first, "--data", CALIBRATION, "--observer", "percentile:99.9") == 0
    recipe = tmp_path / "a.recipe.toml"
    assert parse_recipe(str(recipe)).rounding == "native"
    assert "percentile" in parse_recipe(str(recipe)).observer
    assert call("convert", FLOAT, "-o", second, "--data", CALIBRATION, "--recipe", recipe) == 0
    assert first.read_bytes() == second.read_bytes()
    assert recipe.read_bytes() == (tmp_path / "b.recipe.toml").read_bytes()


def test_converting_twice_gives_identical_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert call("convert", INT8, "-o", tmp_path / f"{name}.eqm", "--rounding", "tflm", "--keep-tensors") == 0
    assert (tmp_path / "a.eqm").read_bytes() == (tmp_path / "b.eqm").read_bytes()
    assert read_model((tmp_path / "a.eqm").read_bytes()).rounding == "tflm"


def test_convert_prints_a_summary_unless_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("convert", INT8, "-o", tmp_path / "a.eqm") == 0
    shown = capsys.readouterr().out
    for word in ("layers", "MACs", "arena", "file", "source"):
        assert word in shown
    assert call("convert", INT8, "-o", tmp_path / "a.eqm", "--quiet") == 0
    assert capsys.readouterr().out == ""


def test_inspect_lists_steps_and_tensors(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("inspect", small) == 0
    assert "stem" in capsys.readouterr().out
    assert report(capsys, "inspect", small)["schema"] == "edgeq.inspect/1"


def test_a_source_model_that_needs_no_data_is_converted_on_the_fly(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(capsys, "inspect", INT8)["rounding"] == "tflite"


def test_analyze_a_float_model_without_data(capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, "analyze", FLOAT, "--board", "raspberry-pi-4")
    assert found["time"]["unit"] == "cycles:modelled"
    assert 0 < found["time"]["low"] <= found["time"]["median"] <= found["time"]["high"]
    assert found["fits"] is True
    assert found["parameters"] == 6122


def test_run_takes_names_or_numbers_and_answers_in_kind(small: Path, tmp_path: Path) -> None:
    image = np.random.default_rng(0).normal(size=(5, 6, 6, 2)).astype(np.float32)
    model = edgeq.load(small)
    expected = np.concatenate([model.run([sample[None]])[0] for sample in image])
    given, out = tmp_path / "x.npz", tmp_path / "y.npz"
    for name, answer in (("image", "scores"), ("x", "scores"), ("in0", "out0")):
        np.savez(given, **{name: image})
        assert call("run", small, "--input", given, "--output", out) == 0
        with np.load(out) as arrays:
            assert arrays.files == [answer]
            np.testing.assert_array_equal(arrays[answer], expected)


def test_run_gives_the_same_integers_on_both_engines(tmp_path: Path) -> None:
    path, given = tmp_path / "m.eqm", tmp_path / "x.npz"
    path.write_bytes(small_model(port=DType.S8))
    codes = np.random.default_rng(0).integers(-128, 128, (1, 6, 6, 2)).astype(np.int8)
    np.savez(given, image=codes)
    for engine in ("native", "reference"):
        out = tmp_path / f"{engine}.npz"
        assert call("run", path, "-i", given, "-o", out, "--engine", engine) == 0
        with np.load(out) as arrays:
            np.testing.assert_array_equal(arrays["scores"], run_reference(small_plan(), [codes]).outputs[0])
    assert (tmp_path / "native.npz").read_bytes() == (tmp_path / "reference.npz").read_bytes()


def test_eval_of_a_float_and_an_integer_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, "eval", FLOAT, "--data", TESTS)
    assert (found["metric"], found["samples"]) == ("top1", 360)
    assert found["value"] == pytest.approx(358 / 360)
    assert found["interval"][0] < found["value"] < found["interval"][1]
    assert call("eval", INT8, "--data", TESTS, "--min", "98%", "--max-drop", "1%", "--source", FLOAT) == 0
    assert "source model" in capsys.readouterr().out


def test_verify_here(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, "verify", small, "--inputs", "20")
    assert (found["equal"], found["steps"], found["elements"]) == (True, 2, 20 * 108)
    assert call("verify", small, "--seed", "7") == 0
    assert "seed 7" in capsys.readouterr().out


def test_verify_on_samples(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(capsys, "verify", INT8, "--data", TESTS, "--inputs", "3")["inferences"] == 3


def test_profile_here_measures_nanoseconds(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, trace = tmp_path / "p.html", tmp_path / "p.trace.json"
    found = report(capsys, "profile", small, "--inferences", "3", "--html", page, "--trace", trace)
    assert (found["unit"], found["emulated"], found["inferences"]) == ("ns", False, 3)
    assert found["total"]["min"] > 0
    assert all(layer["peak_fraction"] is None for layer in found["layers"])  # this machine's peak is not known
    assert page.read_text().startswith("<!doctype html>")
    events = json.loads(trace.read_text())["traceEvents"]
    steps = [event for event in events if event["ph"] == "X"]
    assert [event["name"] for event in steps] == [layer["name"] for layer in found["layers"]]
    assert [event["dur"] * 1000 for event in steps] == pytest.approx([layer["median"] for layer in found["layers"]])


def test_json_goes_to_a_file_beside_the_table(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.json"
    assert call("inspect", small, "--json", out) == 0
    assert "stem" in capsys.readouterr().out
    assert json.loads(out.read_text())["schema"] == "edgeq.inspect/1"


def test_boards(capsys: pytest.CaptureFixture[str]) -> None:
    assert {"host", "raspberry-pi-4"} <= {board["name"] for board in report(capsys, "boards")["boards"]}
    assert [board["name"] for board in report(capsys, "boards", "raspberry-pi-5")["boards"]] == ["raspberry-pi-5"]
    assert call("boards", "raspberry-pi-5") == 0
    assert "cortex-a76" in capsys.readouterr().out


def test_ops_lists_operators_by_dtype(capsys: pytest.CaptureFixture[str]) -> None:
    operators = {entry["op"]: entry["dtypes"] for entry in report(capsys, "ops")["operators"]}
    assert "int8" in operators["conv2d"]
    assert all(operators.values())


def test_doctor_finds_the_native_runtime(capsys: pytest.CaptureFixture[str]) -> None:
    checks = {check["name"]: check for check in report(capsys, "doctor")["checks"]}
    assert checks["native runtime"]["found"] is True
    assert checks["qemu-aarch64"]["purpose"].startswith("emulate")
    assert all(check["found"] or check["hint"] for check in checks.values())


def test_diff_of_models_and_of_profiles(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.eqm"
    other.write_bytes(small_model(seed=1))
    assert report(capsys, "diff", small, small)["equal"] is True
    assert report(capsys, "diff", small, other)["layers"][0]["fields"] == ["weights", "bias"]
    profiles = [tmp_path / "a.json", tmp_path / "b.json"]
    for path in profiles:
        assert call("profile", small, "--json", path, "--quiet", "--inferences", "2") == 0
    capsys.readouterr()
    assert report(capsys, "diff", *profiles)["unit"] == "ns"


def test_build_writes_c_source(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    assert call("build", small, "--aot", "-o", folder) == 0
    assert (folder / "src" / "small.c").is_file()
    assert (folder / "CMakeLists.txt").is_file()


def test_eval_of_real_targets_is_a_mean_squared_error(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = np.random.default_rng(0).normal(size=(6, 6, 6, 2)).astype(np.float32)
    model = edgeq.load(small)
    scores = np.concatenate([model.run([sample[None]])[0] for sample in image])
    data = tmp_path / "data.npz"
    np.savez(data, image=image, y=scores + np.float32(0.5))
    found = report(capsys, "eval", small, "--data", data)
    assert (found["metric"], found["samples"]) == ("mse", 6)
    assert found["value"] == pytest.approx(0.25)
    assert call("eval", small, "--data", data, "--metric", "mse", "--min", "0.1") == 1
    assert call("eval", small, "--data", data, "--metric", "mse", "--max-drop", "0", "--source", small) == 0


def test_run_gives_a_whole_inference_as_it_is(tmp_path: Path) -> None:
    """Inputs without a common batch axis, and an output that has none."""
    tensors = [T(name, shape, scale=0.1) for name, shape in (("a", (2, 3)), ("b", (1, 3)), ("s", (2, 3)), ("y", (6,)))]
    operators = [
        O("ADD", [0, 1], [2], ("AddOptions", {})),
        O("RESHAPE", [2], [3], ("ReshapeOptions", {"NewShape": [6]})),
    ]
    source, given, out = tmp_path / "m.tflite", tmp_path / "x.npz", tmp_path / "y.npz"
    source.write_bytes(build(Model(tensors, operators, [0, 1], [3])))
    a, b = np.arange(6, dtype=np.int8).reshape(2, 3), np.array([[10, 20, 30]], np.int8)
    np.savez(given, in0=a, in1=b)
    assert call("run", source, "-i", given, "-o", out) == 0
    with np.load(out) as arrays:
        assert arrays.files == ["out0"]
        np.testing.assert_array_equal(arrays["out0"], (a + b).reshape(-1))


def test_explain_says_what_a_recipe_costs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, written, page = tmp_path / "m.eqm", tmp_path / "m.json", tmp_path / "m.html"
    recipe = tmp_path / "coarse.toml"
    recipe.write_text('name = "ternary"\ncompensation = []\n')
    assert call("convert", FLOAT, "--data", CALIBRATION, "--recipe", recipe, "-o", model) == 0
    few = tmp_path / "few.npz"
    with np.load(TESTS) as data:
        np.savez(few, x=data["x"][:24], y=data["y"][:24])
    arguments = ("explain", model, "--source", FLOAT, "--data", few)
    assert call(*arguments, "--json", written, "--html", page) == 0
    found = json.loads(written.read_text())
    assert found["schema"] == "edgeq.explain/1"
    assert "low-bit weights" in {finding["cause"] for finding in found["findings"]}
    assert page.read_text().startswith("<!doctype html>")
    assert "int8 weights here" in capsys.readouterr().out

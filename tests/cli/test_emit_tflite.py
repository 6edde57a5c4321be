# SPDX-License-Identifier: Apache-2.0
"""convert --emit-tflite: a file beside the model that LiteRT runs to the same integers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from cli_calls import CALIBRATION, FLOAT, INT8, TESTS, call
from needs import needs_module

from edgeq.api import Model, convert, load
from edgeq.errors import UsageError
from edgeq.frontends.tflite import read
from edgeq.quantize.recipe import Recipe
from edgeq.quantize.recipes import parse_recipe
from edgeq.runtime.litert import ReferenceInterpreter


def _digits(count: int) -> np.ndarray:
    return np.asarray(np.load(TESTS, allow_pickle=False)["x"][:count])


def _assert_equal(model: Model, emitted: bytes, count: int) -> None:
    """Compare both engines with LiteRT on samples and on random codes."""
    needs_module("ai_edge_litert")
    interpreter, rng = ReferenceInterpreter(emitted), np.random.default_rng(11)
    (detail,) = interpreter.inputs
    limits = np.iinfo(detail.dtype)
    drawn = [[rng.integers(limits.min, limits.max, detail.shape, detail.dtype, endpoint=True)] for _ in range(count)]
    for place, codes in enumerate([*(model.encode([x[None]]) for x in _digits(count)), *drawn]):
        (expected,) = interpreter.run(codes)
        np.testing.assert_array_equal(model.run_codes(codes).outputs[0], expected)
        if place % 10 == 0:
            np.testing.assert_array_equal(model.run_codes(codes, engine="reference").outputs[0], expected)


def test_a_float_model_gets_a_file_of_the_same_integers(tmp_path: Path) -> None:
    out, emitted = tmp_path / "m.eqm", tmp_path / "m.tflite"
    arguments = ["convert", FLOAT, "-o", out, "--data", CALIBRATION, "--observer", "minmax", "--rounding", "tflite"]
    assert call(*arguments, "--emit-tflite", emitted) == 0
    _assert_equal(load(out), emitted.read_bytes(), 30)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.eqm", "m.recipe.toml", "m.tflite"]
    first = emitted.read_bytes()
    assert call(*arguments, "--emit-tflite", emitted) == 0
    assert emitted.read_bytes() == first


def test_the_file_converts_to_the_same_integers_again(tmp_path: Path) -> None:
    model = convert(FLOAT, data=CALIBRATION, rounding="tflite", recipe=Recipe(observer="minmax"))
    path = tmp_path / "again.tflite"
    path.write_bytes(model.tflite())
    again = convert(path)
    assert again.plan.rounding == "tflite"
    for x in _digits(40):
        codes = model.encode([x[None]])
        np.testing.assert_array_equal(again.run_codes(codes).outputs[0], model.run_codes(codes).outputs[0])
    names = [[port.name for port in (*m.inputs, *m.outputs)] for m in (model, again)]
    assert names[0] == names[1]


@pytest.mark.parametrize("keep_tensors", [False, True])
def test_a_model_that_came_quantized_is_written_too(keep_tensors: bool) -> None:
    model = convert(INT8, keep_tensors=keep_tensors)
    _assert_equal(model, model.tflite(), 20)


def test_the_file_keeps_the_source_models_layers(tmp_path: Path) -> None:
    """Passes that make edgeq's own program smaller are none of the file's business."""
    source = read(INT8.read_bytes(), "source")
    emitted = read(convert(INT8).tflite(), "emitted")
    assert [node.op.name for node in emitted.nodes] == [
        node.op.name for node in source.nodes if node.op.name != "dequantize"
    ]


@pytest.mark.parametrize("rounding", [[], ["--rounding", "native"], ["--rounding", "tflm"]], ids=" ".join)
def test_other_roundings_are_refused_before_any_work(
    rounding: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "missing.tflite"
    assert call("convert", missing, "-o", tmp_path / "m.eqm", "--emit-tflite", tmp_path / "m.tflite", *rounding) == 1
    assert "give --rounding tflite with --emit-tflite" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_low_bit_recipes_are_refused_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scoped = tmp_path / "r.toml"
    scoped.write_text('rounding = "tflite"\n[[scopes]]\nnodes = "head"\nweights = "int:bits=4"\n')
    for recipe in ("w4", scoped):
        arguments = ["-o", tmp_path / "m.eqm", "--emit-tflite", tmp_path / "m.tflite", "--rounding", "tflite"]
        assert call("convert", tmp_path / "missing.tflite", *arguments, "--recipe", recipe) == 1
        assert "no place for 'int:bits=4" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [scoped]


def test_int16_activations_give_an_int16_file() -> None:
    recipe = dataclasses.replace(parse_recipe("int16x8"), scales="pot")
    model = convert(FLOAT, data=CALIBRATION, recipe=recipe, rounding="tflite")
    emitted = model.tflite()
    assert ReferenceInterpreter(emitted).inputs[0].dtype == np.int16
    _assert_equal(model, emitted, 20)


def test_the_rounding_of_a_recipe_counts(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(Recipe(rounding="tflite").to_toml())
    emitted = tmp_path / "m.tflite"
    assert call("convert", INT8, "-o", tmp_path / "m.eqm", "--recipe", recipe, "--emit-tflite", emitted) == 0
    assert emitted.stat().st_size > 0


def test_a_loaded_model_and_another_rounding_have_no_file(tmp_path: Path) -> None:
    model = convert(INT8, rounding="native")
    with pytest.raises(
        UsageError, match=r"native rounding, a \.tflite that of LiteRT; convert it with tflite rounding"
    ):
        model.tflite()
    model.save(tmp_path / "m.eqm")
    with pytest.raises(UsageError, match="was loaded from a model file"):
        load(tmp_path / "m.eqm").tflite()


@pytest.mark.parametrize("name", ["m.eqm", "source.tflite", "no/folder.tflite", "folder"])
def test_the_file_cannot_go_everywhere(name: str, tmp_path: Path) -> None:
    source, folder = tmp_path / "source.tflite", tmp_path / "folder"
    source.write_bytes(INT8.read_bytes())
    folder.mkdir()
    out = tmp_path / "m.eqm"
    code = call("convert", source, "-o", out, "--rounding", "tflite", "--emit-tflite", tmp_path / name)
    assert code == (9 if "folder" in name else 1)
    assert not out.exists()
    assert source.read_bytes() == INT8.read_bytes()

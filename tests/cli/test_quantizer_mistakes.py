# SPDX-License-Identifier: Apache-2.0
"""What users get wrong about data, recipes and labels: each has its exit code and a message that says what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_calls import INT8, call
from frontends.tflite_builder import Model, O, T, build

X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
CONVERT = ("convert", "m.tflite", "-o", "m.eqm", "--quiet")
DATA = (*CONVERT, "--data", "x.npz")
TFLITE = ("--rounding", "tflite", "--emit-tflite", "n.tflite")
RECIPES = {
    "typing": 'weight = "int8"\n',
    "nowhere": 'name = "w4"\n[[scopes]]\nnodes = "hiden*"\nweights = "int8"\n',
    "unweighted": '[[scopes]]\noperator = "add"\nweights = "int8"\n',
    "clash": '[[scopes]]\nnodes = "scores"\nactivations = "int16"\nweights = "int:bits=4"\n',
}


def _net(first: str, second: str) -> bytes:
    """Return x (1, 4) -> fully connected (1, 8) -> fully connected (1, 3)."""
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=shape).astype(np.float32) for shape in ((8, 4), (3, 8))]
    tensors = [
        T("x", (1, 4), "float32"),
        T(f"{first}/w", (8, 4), "float32", data=weights[0]),
        T(first, (1, 8), "float32"),
        T(f"{second}/w", (3, 8), "float32", data=weights[1]),
        T(second, (1, 3), "float32"),
    ]
    layers = [O("FULLY_CONNECTED", [0, 1], [2]), O("FULLY_CONNECTED", [2, 3], [4])]
    return build(Model(tensors, layers, [0], [4]))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with models, data and recipes, in which the commands run."""
    monkeypatch.chdir(tmp_path)
    Path("m.tflite").write_bytes(_net("hidden", "scores"))
    Path("other.tflite").write_bytes(_net("first", "second"))
    spoilt = X.copy()
    spoilt[37, 2] = np.nan
    for name, array in {"x": X, "one": X[:1], "none": X[:0], "wide": X.repeat(2, axis=1), "nan": spoilt}.items():
        np.savez(f"{name}.npz", x=array)
    np.savez("named.npz", picture=X)
    np.savez("unlike.npz", x=X, y=np.zeros(39, np.int64))
    np.save("labels.npy", np.zeros(39, np.int64))
    for name, text in RECIPES.items():
        Path(f"{name}.toml").write_text(text)
    return tmp_path


@pytest.fixture
def refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Return a check that a command ends with a code and a message, and leaves no file."""

    def check(code: int, message: str, *arguments: object) -> None:
        before = sorted(folder.iterdir())
        assert call(*arguments) == code
        assert sorted(folder.iterdir()) == before
        shown = capsys.readouterr()
        assert shown.out == ""
        assert re.match(f"error: (.|\n)*{message}", shown.err)

    return check


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--data", "wide.npz"), r"wide.npz: input 'x': samples of shape \[4\] expected, .*; samples of shape \[8\]"),
        (("--data", "nan.npz"), r"nan.npz: input 0 of sample 37 holds nan"),
        (("--data", "none.npz"), r"the calibration data hold no sample; give at least one"),
        (("--data", "named.npz"), r"named.npz: arrays 'x' expected, found picture"),
        (("--data", "unlike.npz"), r"unlike.npz: arrays disagree on the number of samples: x.npy 40, y.npy 39"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_8_calibration_data(options: tuple[str, ...], message: str, refused: Callable[..., None]) -> None:
    refused(8, message, *CONVERT, *options)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("typing", r"recipe 'typing.toml': the recipe has unknown keys weight; known are activations, "),
        ("nowhere", r"the scope of nodes 'hiden\*' with operator '\*' matches no layer with weights; edgeq analyze"),
        ("unweighted", r"the scope of nodes '\*' with operator 'add' matches no layer with weights; edgeq analyze"),
    ],
)
def test_8_recipe_file(name: str, message: str, refused: Callable[..., None]) -> None:
    refused(8, message, *DATA, "--recipe", f"{name}.toml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (CONVERT, r"needs samples of its inputs; give calibration data with --data"),
        ((*DATA, "--recipe", "int7"), r"there is no recipe 'int7'; built in are int8, "),
        (
            (*DATA, "--inputs", "0..1"),
            r"finds ranges in data, inputs 0\.\.1 would change nothing; leave the inputs out",
        ),
        ((*CONVERT, "--recipe", "datafree"), r"says something of 0 inputs, 'm' has 1; .* --inputs 0\.\.1"),
        ((*CONVERT, "--recipe", "datafree", "--inputs", "1..0"), r"'1\.\.0' is neither a range like 0\.\.1 nor"),
        ((*CONVERT, "--recipe", "datafree", *["--inputs", "0..1"] * 2), r"says something of 2 inputs, 'm' has 1"),
        ((*DATA, "--recipe", "datafree", "--inputs", "0..1"), r"'datafree' works without data; leave out --data"),
        ((*DATA, "--recipe", "w4", *TFLITE), r"no place for 'int:bits=4.*' of recipe 'w4'; use int8 weights"),
        ((*DATA, "--recipe", "dynamic", *TFLITE), r"no place for scales that recipe 'dynamic' finds at run time; use"),
    ],
    ids=lambda value: " ".join(Path(str(word)).name for word in value[5:]) if isinstance(value, tuple) else "",
)
def test_1_options(arguments: tuple[object, ...], message: str, refused: Callable[..., None]) -> None:
    refused(1, message, *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*DATA, "--recipe", "w4", "--rounding", "tflite"), r'"hidden": low-bit weights .*; use the native rounding'),
        ((*DATA, "--recipe", "clash.toml"), r'"scores": low-bit weights with int16 activations, int8 expected; give'),
        (("convert", INT8, "-o", "m.eqm", "--recipe", "w4"), r"quantized already, recipe 'w4' cannot change how; give"),
        (("convert", INT8, "-o", "m.eqm", "--observer", "kl"), r"or leave out --recipe, --observer and --inputs"),
    ],
    ids=["rounding", "clash", "recipe", "observer"],
)
def test_2_what_no_kernel_or_model_allows(
    arguments: tuple[object, ...], message: str, refused: Callable[..., None]
) -> None:
    refused(2, message, *arguments)


@pytest.mark.parametrize(
    ("choice", "named"),
    [
        ('transforms = ["awq"]', r"transform 'awq': .*; leave it out of transforms"),
        ('transforms = ["smooth"]', r"transform 'smooth': .*; leave it out of transforms"),
        ('transforms = ["absorb"]', r"transform 'absorb': .*; leave it out of transforms"),
        ('transforms = []\ncompensation = ["gptq"]', r"gptq works on samples .*; leave it out of compensation"),
    ],
)
def test_8_methods_that_need_samples_where_there_are_none(
    choice: str, named: str, refused: Callable[..., None]
) -> None:
    Path("r.toml").write_text(f'ranges = "propagated"\ninputs = ["0+-1"]\n{choice}\n')
    refused(8, f'{named}, or set ranges to "data", or "synthetic"', *CONVERT, "--recipe", "r.toml")


def test_lorc_needs_no_samples() -> None:
    Path("r.toml").write_text(
        'ranges = "propagated"\ninputs = ["0+-1"]\ntransforms = ["lorc"]\ncompensation = []\nweights = "int:bits=4"\n'
    )
    assert call(*CONVERT, "--recipe", "r.toml") == 0


def test_one_sample_is_enough_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*CONVERT, "--data", "one.npz") == 0
    assert capsys.readouterr().err == (
        "warning: m: calibrated on one sample; ranges will not cover what other inputs need, give 100 or more\n"
    )


@pytest.mark.parametrize(
    ("options", "expected", "message"),
    [
        (("--source", "other.tflite", "--data", "x.npz"), 8, r"'m' computes no tensor of 'other'; give the source"),
        (("--source", INT8, "--data", "x.npz"), 1, r"is no float model; give the model from which"),
        (("--source", "m.tflite", "--data", "none.npz"), 8, r"none.npz: the data hold no sample"),
        (("--source", "m.tflite", "--data", "nan.npz"), 8, r"nan.npz: input 0 of sample 37 holds nan"),
    ],
    ids=["other", "quantized", "none", "nan"],
)
def test_explanation_of_another_source_or_of_no_data(
    options: tuple[object, ...], expected: int, message: str, refused: Callable[..., None]
) -> None:
    assert call(*DATA) == 0
    refused(expected, message, "explain", "m.eqm", *options)


def test_explanation_needs_the_recipe_and_scales_that_are_known(refused: Callable[..., None]) -> None:
    assert call(*DATA, "--recipe", "dynamic") == 0
    explain = ("explain", "m.eqm", "--source", "m.tflite", "--data", "x.npz")
    refused(2, "'dynamic' finds scales at run time, .* edgeq eval --source compares", *explain)
    Path("m.recipe.toml").unlink()
    refused(1, "'m.recipe.toml', the recipe of 'm.eqm', is not there; give it with --recipe", *explain)
    assert call(*explain, "--recipe", "int16x8", "--quiet") == 0


def test_8_labels_of_another_length(refused: Callable[..., None]) -> None:
    assert call(*DATA) == 0
    message = "40 samples are in x.npz, 39 labels in labels.npy\n$"
    refused(8, message, "eval", "m.eqm", "--data", "x.npz", "--labels", "labels.npy")


@pytest.mark.parametrize(
    "options",
    [("--data", "x.npz", "--recipe", "w4-group"), ("--recipe", "datafree", "--inputs", "0+-1")],
    ids=["w4-group", "datafree"],
)
def test_same_options_or_the_recipe_beside_a_model_give_its_bytes_again(options: tuple[str, ...]) -> None:
    data = options[:2] if options[0] == "--data" else ()
    for name, given in (("a", options), ("b", options), ("c", (*data, "--recipe", "a.recipe.toml"))):
        assert call("convert", "m.tflite", "-o", f"{name}.eqm", "--quiet", *given) == 0
    models = [Path(f"{name}.eqm").read_bytes() for name in "abc"]
    recipes = [Path(f"{name}.recipe.toml").read_bytes() for name in "abc"]
    assert models[0] == models[1] == models[2]
    assert recipes[0] == recipes[1] == recipes[2]

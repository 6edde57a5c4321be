# SPDX-License-Identifier: Apache-2.0
"""edgeq eval: every metric from the command line, against a source model, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_calls import FLOAT, INT8, TESTS, call, report
from needs import needs_module, needs_program
from small_models import small_model

import edgeq
from edgeq.ir.dtypes import DType

METRICS = ("top1", "top5", "f1", "f1:micro", "f1:weighted", "auc")
with np.load(TESTS) as _arrays:
    X, Y = _arrays["x"][40:100], _arrays["y"][40:100].astype(np.int64)  # one of these 60 is taken for another digit


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Pictures without labels."""
    path = tmp_path / "pictures.npz"
    np.savez(path, x=X)
    return path


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """Pictures with labels."""
    path = tmp_path / "digits.npz"
    np.savez(path, x=X, y=Y)
    return path


@pytest.mark.parametrize("metric", METRICS)
def test_a_quantized_model_is_compared_with_its_source(
    metric: str, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = report(capsys, "eval", INT8, "--data", digits, "--metric", metric, "--source", FLOAT)
    assert (found["metric"], found["samples"], found["larger_is_better"]) == (metric, 60, True)
    assert 0.85 < found["interval"][0] < found["value"] <= found["interval"][1] <= 1
    source = found["source"]
    assert source["difference"]["value"] == pytest.approx(found["value"] - source["value"])
    low, high = source["difference"]["interval"]
    assert low <= source["difference"]["value"] <= high
    assert source["drop"] == -source["difference"]["value"]
    assert source["agreement"] == 1.0
    assert 35 < source["sqnr_db"] < 50
    assert source["equal"] is False


def test_a_model_equals_itself(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, "eval", INT8, "--data", digits, "--source", INT8)["source"]
    assert (found["equal"], found["sqnr_db"], found["agreement"]) == (True, None, 1.0)
    assert call("eval", INT8, "--data", digits, "--source", INT8, "--max-drop", "0") == 0
    assert "equal outputs" in capsys.readouterr().out


def test_the_table_shows_both_models(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("eval", INT8, "--data", digits, "--source", FLOAT) == 0
    shown = capsys.readouterr().out
    for text in (str(INT8), str(FLOAT), "its top1", "percentage points", "have the same argmax", " dB"):
        assert text in shown
    assert shown.count("95 % interval") == 3


@pytest.mark.parametrize("name", ["y.npy", "y.npz", "y.csv"])
def test_labels_come_from_a_file_of_their_own(
    name: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    {"npy": lambda: np.save(path, Y), "npz": lambda: np.savez(path, y=Y), "csv": lambda: np.savetxt(path, Y, "%d")}[
        name[-3:]
    ]()
    found = report(capsys, "eval", INT8, "--data", pictures, "--labels", path)
    assert (found["metric"], found["samples"], found["value"]) == ("top1", 60, 59 / 60)


def test_labels_of_the_wrong_length_are_refused_with_both_lengths(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "y.npy"
    np.save(labels, Y[:59])
    assert call("eval", INT8, "--data", pictures, "--labels", labels) == 8
    assert capsys.readouterr().err == f"error: 60 samples are in {pictures}, 59 labels in {labels}\n"


def _nan(array: np.ndarray) -> np.ndarray:
    spoilt = array.astype(np.float32)
    spoilt[7] = np.nan
    return spoilt


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (X, np.where(np.arange(60) == 3, 10, Y), [], "label 10 found, the output has 10 classes"),
        (X, np.full(60, 4), ["--metric", "auc"], "all labels are the same"),
        (X[:0], Y[:0], [], "hold no samples"),
        (_nan(X), Y, [], "input 0 of sample 7 holds nan"),
        (X, _nan(np.zeros((60, 10))), ["--metric", "mse"], "the label of sample 7 holds nan"),
        (X, Y[:59], [], "disagree on the number of samples"),
        (X, Y, ["--labels", "y.npy"], "labels y of its own"),
        (X, Y, ["--metric", "f1:binary"], "for two classes"),
    ],
    ids=["range", "one class", "empty", "nan input", "nan label", "length", "both", "binary"],
)
@pytest.mark.parametrize("model", [INT8, FLOAT], ids=["int8", "float"])
def test_8_data_that_cannot_be_scored(
    model: Path, x: np.ndarray, y: np.ndarray, options: list[str], message: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", x=x, y=y)
    np.save("y.npy", Y)
    assert call("eval", model, "--data", "data.npz", *options) == 8
    shown = capsys.readouterr()
    assert shown.err.startswith("error: data.npz: ")
    assert message in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(
    "options",
    [
        ["--metric", "top0"],
        ["--metric", "precision"],
        ["--metric", "auc", "--max", "0.5"],
        ["--metric", "mse", "--min", "0.5"],
        ["--max", "0.5"],  # the metric turns out to be top1
        ["--metric", "mse", "--max", "50%"],
        ["--metric", "nats", "--max", "inf"],
        ["--metric", "f1", "--min", "-0.1"],
        ["--metric", "mse", "--source", FLOAT, "--max-drop", "-1"],
        ["--max-drop", "0.1"],
        ["--metric", "metric.py:absent"],
        ["--ssh", "pi@host"],
    ],
    ids=lambda options: " ".join(str(option) for option in options if option != FLOAT),
)
def test_1_options_that_cannot_be_meant(
    options: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("metric.py").write_text("def score(outputs, labels):\n    return 1.0\n")
    assert call("eval", INT8, "--data", TESTS, *options) == 1
    assert capsys.readouterr().out == ""


def test_9_a_file_of_labels_or_metrics_that_is_not_there(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("eval", INT8, "--data", pictures, "--labels", "absent.npy") == 9
    assert call("eval", INT8, "--data", TESTS, "--metric", "absent.py:score") == 9


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--metric", "top1", "--min", "98%"], 0),
        (["--metric", "f1", "--min", "0.999"], 4),
        (["--metric", "auc", "--source", FLOAT, "--max-drop", "0.1%"], 0),
        (["--metric", "nats", "--max", "1.6"], 0),
        (["--metric", "nats", "--max", "1.4"], 4),
        (["--metric", "perplexity", "--source", FLOAT, "--max-drop", "0.01"], 0),
    ],
    ids=lambda value: " ".join(str(option) for option in value if option != FLOAT) if isinstance(value, list) else None,
)
def test_4_gates_know_which_way_is_better(
    options: list[object], code: int, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("eval", INT8, "--data", digits, *options) == code
    shown = capsys.readouterr()
    assert "samples" in shown.out
    assert ("was asked" in shown.err) == (code == 4)


@pytest.mark.parametrize(("smaller_is_better", "option"), [(False, "--min"), (True, "--max")])
def test_4_gates_on_a_function_of_the_user(
    smaller_is_better: bool, option: str, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "def score(outputs, labels):\n    return -2.5 * (outputs.argmax(1) >= 0)\n"
    path = tmp_path / "metric.py"
    path.write_text(code + ("score.larger_is_better = False\n" if smaller_is_better else ""))
    arguments = ["eval", INT8, "--data", digits, "--metric", f"{path}:score"]
    good, bad = ("-2.4", "-2.6") if smaller_is_better else ("-2.6", "-2.4")
    assert call(*arguments, option, good) == 0
    assert call(*arguments, option, bad) == 4
    assert (
        f"error: {path}:score is -2.5, at {'most' if smaller_is_better else 'least'} {bad}" in capsys.readouterr().err
    )


def test_outputs_count_as_real_numbers_also_where_the_model_declares_integers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codes, reals = tmp_path / "codes.eqm", tmp_path / "reals.eqm"
    codes.write_bytes(small_model(port=DType.S8))
    reals.write_bytes(small_model())
    image = np.random.default_rng(0).normal(size=(6, 6, 6, 2)).astype(np.float32)
    model = edgeq.load(reals)
    scores = np.concatenate([model.run([sample[None]])[0] for sample in image])
    np.savez(tmp_path / "data.npz", image=image, y=scores + np.float32(0.5))
    found = report(capsys, "eval", codes, "--data", tmp_path / "data.npz", "--source", reals)
    assert (found["metric"], found["value"]) == ("mse", pytest.approx(0.25))
    assert found["source"]["equal"] is True


def test_a_board_gives_the_same_figures(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs_program("qemu-aarch64")
    needs_module("ziglang")
    labels = tmp_path / "y.npy"
    np.save(labels, Y)
    arguments = ["eval", INT8, "--data", pictures, "--labels", labels, "--metric", "auc", "--source", FLOAT]
    assert report(capsys, *arguments, "--board", "raspberry-pi-4") == report(capsys, *arguments)

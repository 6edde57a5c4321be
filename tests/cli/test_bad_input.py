# SPDX-License-Identifier: Apache-2.0
"""Bad files from end to end: the exit code, a message that names the file, no output and no traceback."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_calls import FLOAT, INT8, TESTS, call
from frontends.test_tflite_bad_input import CASES, tensor, whole
from frontends.tflite_builder import Model, O, T, build
from small_models import small_model

from edgeq.api import load
from edgeq.errors import EdgeqError


@pytest.mark.parametrize("name", CASES)
def test_convert_refuses_a_bad_source_model(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, error, _ = CASES[name]
    path = tmp_path / "bad model.tflite"
    path.write_bytes(make())
    assert issubclass(error, EdgeqError)
    code = call("convert", path, "-o", tmp_path / "m.eqm")
    shown = capsys.readouterr()
    assert code == error.exit_code
    assert code in (2, 8)
    assert shown.err.startswith("error: ")
    assert "bad model" in shown.err or code == 2  # then the nodes are named
    assert "Traceback" not in shown.err
    assert shown.out == ""
    assert [found.name for found in tmp_path.iterdir()] == ["bad model.tflite"]


def _product(depth: int, *, bias: int = 0) -> bytes:
    """A fully connected layer with the largest weights."""
    weights, biases = np.full((1, depth), 127, np.int8), np.array([bias], np.int32)
    tensors = [
        T("x", (1, depth), scale=0.5, zero=-128),
        T("w", (1, depth), scale=0.5, data=weights),
        T("b", (1,), "int32", scale=0.25, data=biases),
        T("y", (1, 1), scale=2.0),
    ]
    return build(Model(tensors, [O("FULLY_CONNECTED", [0, 1, 2], [3])], [0], [3]))


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        (_product(60_000, bias=10**9), 8, "the accumulator of output channel 0 can reach"),
        (_product(2, bias=2**31 - 1), 8, "the accumulator of output channel 0 can reach"),
        (_product(70_000), 2, "70000 products per output, at most 65536 expected"),
    ],
    ids=["accumulator", "bias", "depth"],
)
def test_convert_refuses_sums_that_could_overflow(
    data: bytes, code: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sum.tflite"
    path.write_bytes(data)
    assert call("convert", path, "-o", tmp_path / "m.eqm") == code
    shown = capsys.readouterr().err
    assert 'fully_connected "y"' in shown
    assert message in shown
    assert [found.name for found in tmp_path.iterdir()] == ["sum.tflite"]


@pytest.mark.parametrize(
    "data",
    [
        tensor(0, name="y")(),
        tensor(0, name=b"\xff\xfe/../\x1b[31m")(),
        tensor(0, name="n" * 10_240)(),
        tensor(0, name="")(),
        tensor(0, name="line\nnull\0")(),
        whole(outputs=[4, 4])(),
    ],
    ids=["repeated", "not UTF-8", "10 kB", "empty", "control characters", "one tensor twice an output"],
)
def test_convert_takes_strange_names_and_tells_them_apart(
    data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, path, given = tmp_path / "m.tflite", tmp_path / "m.eqm", tmp_path / "x.npz"
    source.write_bytes(data)
    assert call("convert", source, "-o", path) == 0
    assert call("verify", path) == 0
    shown = capsys.readouterr().out
    assert all(c.isprintable() or c == "\n" for c in shown)
    model = load(path)
    names = [port.name for port in (*model.inputs, *model.outputs)]
    assert len(set(names)) == len(names)
    np.savez(given, in0=np.zeros((1, 2), np.int8))
    assert call("run", path, "-i", given, "-o", tmp_path / "y.npz") == 0


@pytest.mark.parametrize("name", ["a b", "ü 模型", "two\nlines", "-o", "100%", "[bold]"])
def test_any_file_name_will_do(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    source = Path(f"{name}.tflite")
    source.write_bytes(INT8.read_bytes())
    assert call("convert", "-o", f"./{name}.eqm", "--", source) == 0
    assert call("inspect", f"./{name}.eqm") == 0
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}{end}" for end in (".tflite", ".eqm", ".recipe.toml")}
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("alias", ["m.tflite", "./m.tflite", "link.tflite"])
def test_the_source_is_never_written_over(alias: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.tflite").write_bytes(INT8.read_bytes())
    Path("link.tflite").symlink_to("m.tflite")
    assert call("convert", "m.tflite", "-o", alias) == 1
    assert Path("m.tflite").read_bytes() == INT8.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.tflite", "m.tflite"]


def _npz(**arrays: np.ndarray) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **arrays)


def _file(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


def _bomb(path: Path) -> None:
    """A member that unpacks to 8 GiB by its own account."""
    header = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (33554432, 8, 8, 1), }"
    header = header.ljust(127) + b"\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header + bytes(1 << 20))


X = np.zeros((4, 8, 8, 1), np.float32)
DATA: dict[str, Callable[[Path], None]] = {
    "empty file": _file(b""),
    "text": _file(b"x, y\n1, 2\n"),
    "no arrays": _npz(),
    "wrong name": _npz(picture=X),
    "wrong shape": _npz(x=np.zeros((4, 9, 8, 1), np.float32)),
    "no samples": _npz(x=X[:0]),
    "not a number": _npz(x=np.full_like(X, np.nan)),
    "infinite": _npz(x=np.full_like(X, np.inf)),
    "text array": _npz(x=np.array(["a", "b"])),
    "pickled": _npz(x=np.array([{}, []], object)),
    "complex": _npz(x=X.astype(np.complex64)),
    "bomb": _bomb,
    "truncated": _file(TESTS.read_bytes()[:3000]),
}


@pytest.mark.parametrize("name", DATA)
def test_convert_refuses_bad_calibration_data(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data.npz"
    DATA[name](data)
    assert call("convert", FLOAT, "-o", tmp_path / "m.eqm", "--data", data) == 8
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert "Traceback" not in shown
    assert [found.name for found in tmp_path.iterdir()] == ["data.npz"]


@pytest.mark.parametrize("name", DATA)
def test_run_refuses_bad_inputs(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = tmp_path / "x.npz"
    DATA[name](given)
    assert call("run", INT8, "-i", given, "-o", tmp_path / "y.npz") == 8
    assert "x.npz" in capsys.readouterr().err
    assert [found.name for found in tmp_path.iterdir()] == ["x.npz"]


def test_a_script_that_fails_is_bad_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "data.py"
    script.write_text("def batches():\n    yield 1 / 0\n")
    assert call("convert", FLOAT, "-o", tmp_path / "m.eqm", "--data", script) == 8
    assert "data.py: ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("labels", [np.full(4, 10), np.full(4, -1), np.full(3, 1), np.full((4, 2), 0.5)], ids=str)
def test_eval_refuses_labels_that_do_not_fit(
    labels: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data.npz"
    np.savez(data, x=X, y=labels)
    assert call("eval", INT8, "--data", data) == 8
    assert capsys.readouterr().err.startswith(f"error: {data}: ")


@pytest.mark.parametrize("command", ["inspect", "analyze", "verify", "profile"])
@pytest.mark.parametrize("damage", ["cut", "flip", "newer", "header"])
def test_a_damaged_model_file_is_refused(
    command: str, damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bytearray(small_model())
    if damage == "cut":
        data = data[:-1]
    elif damage == "newer":
        data[4] += 1
    elif damage == "flip":
        data[-20] ^= 4
    else:
        data = data[:40]
    path = tmp_path / "bad.eqm"
    path.write_bytes(data)
    assert call(command, path) == 8
    shown = capsys.readouterr().err
    assert "bad.eqm" in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("text", "named"),
    [("size = 3\n", "size"), ("name = 3\n", "name"), ("[", "TOML"), ("\xff", "TOML")],
)
def test_a_bad_recipe_is_refused(text: str, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_bytes(text.encode("latin-1"))
    assert call("convert", INT8, "-o", tmp_path / "m.eqm", "--recipe", recipe) == 8
    shown = capsys.readouterr().err
    assert "r.toml" in shown
    assert named in shown
    assert [found.name for found in tmp_path.iterdir()] == ["r.toml"]

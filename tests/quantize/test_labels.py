# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgeq.errors import BadInputError, StorageError
from edgeq.ir.dtypes import DType
from edgeq.quantize.data import DataSet, InputSpec, load_data, of_arrays
from edgeq.quantize.labels import load_labels, with_labels

SPECS = (InputSpec("x", (1, 2), DType.F32),)


def _six() -> DataSet:
    return of_arrays([np.arange(12, dtype=np.float32).reshape(6, 2)], SPECS)


@pytest.mark.parametrize(
    "labels", [np.arange(5), np.linspace(0, 1, 6).reshape(3, 2), np.asfortranarray([[1, 2, 3], [4, 5, 6]])], ids=str
)
def test_an_npy_and_an_npz_hold_the_same_labels(labels: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", labels)
    np.savez(tmp_path / "named.npz", y=labels, other=np.zeros(9))
    np.savez_compressed(tmp_path / "only.npz", targets=labels)
    for name in ("y.npy", "named.npz", "only.npz"):
        found = load_labels(tmp_path / name)
        assert found.dtype == labels.dtype
        np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("3\n1\n2\n", np.array([3, 1, 2])),
        ("label\r\n3\r\n\r\n-1\r\n", np.array([3, -1])),
        ("\ufeff0.5\n1\n", np.array([0.5, 1.0])),
        ("a,b\n1,2\n3,4", np.array([[1, 2], [3, 4]])),
        ("1e3\n", np.array([1000.0])),
    ],
)
def test_a_csv_has_one_line_per_sample(text: str, labels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "y.csv"
    path.write_bytes(text.encode())
    found = load_labels(path)
    assert found.dtype == labels.dtype
    np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\ntwo\n3\n", r"line 2: a number expected, 'two' found"),
        ("1,2\n3\n", r"line 2 has 1 values, line 1 has another number"),
        ("1\n1,2\n", r"line 2 has 2 values"),
        ('"1\n', "not a .csv file"),
    ],
)
def test_a_csv_that_holds_no_labels_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "y.csv"
    path.write_text(text)
    with pytest.raises(BadInputError, match=f"^{re.escape(str(path))}: .*{message}"):
        load_labels(path)


def test_a_csv_of_other_bytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "y.csv").write_bytes(b"\xff\xfe1\n")
    with pytest.raises(BadInputError, match=r"not a \.csv file"):
        load_labels(tmp_path / "y.csv")


def test_an_empty_csv_holds_no_labels(tmp_path: Path) -> None:
    (tmp_path / "y.csv").write_text("\n")
    assert load_labels(tmp_path / "y.csv").shape == (0,)


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"not an array", _npy(np.arange(9))[:-1], _npy(np.array(3)), _npy(np.array(["a", "b"]))],
    ids=["empty", "text", "cut", "a number", "words"],
)
def test_an_npy_that_holds_no_labels_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "y.npy"
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=re.escape(str(path))):
        load_labels(path)


def test_an_npz_with_two_arrays_and_no_y_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "y.npz", a=np.zeros(1), b=np.zeros(1))
    with pytest.raises(BadInputError, match="the only one; arrays found: a, b"):
        load_labels(tmp_path / "y.npz")


@pytest.mark.parametrize("damage", ["text", "flip"])
def test_a_damaged_npz_is_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "y.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("y.npy", _npy(np.arange(100)))
    content = bytearray(path.read_bytes())
    content[60] ^= 255
    path.write_bytes(b"text" if damage == "text" else bytes(content))
    with pytest.raises(BadInputError, match=re.escape(str(path))):
        load_labels(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "y.txt").write_text("1\n")
    with pytest.raises(BadInputError, match=r"'\.txt' found"):
        load_labels(tmp_path / "y.txt")
    with pytest.raises(StorageError, match="absent"):
        load_labels(tmp_path / "absent.npy")


def test_labels_go_to_the_samples_in_order() -> None:
    data = of_arrays([np.arange(140, dtype=np.float32).reshape(70, 2)], SPECS)
    batches = list(with_labels(data, np.arange(70)).read())
    assert [len(batch.inputs[0]) for batch in batches] == [32, 32, 6]
    for batch in batches:
        np.testing.assert_array_equal(batch.labels, batch.inputs[0][:, 0] // 2)


@pytest.mark.parametrize("count", [0, 5, 7])
def test_another_number_of_labels_than_samples_is_refused_with_both(count: int) -> None:
    with pytest.raises(BadInputError, match=f"^6 samples are in the arrays, {count} labels in y.csv$"):
        with_labels(_six(), np.zeros(count), source="y.csv")


@pytest.mark.parametrize("count", [5, 7])
def test_so_it_is_where_only_reading_tells_the_number(count: int) -> None:
    counted = _six()
    data = with_labels(DataSet("data.py", None, counted.read), np.zeros(count))
    with pytest.raises(BadInputError, match=f"^6 samples are in data.py, {count} labels in the array of labels$"):
        list(data.read())


def test_labels_do_not_replace_those_in_the_data(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.zeros((2, 2), np.float32), y=np.zeros(2, np.int64))
    with pytest.raises(BadInputError, match="labels y of its own"):
        list(with_labels(load_data(path, SPECS), np.zeros(2)).read())


def test_one_number_is_no_array_of_labels() -> None:
    with pytest.raises(BadInputError, match="one number found"):
        with_labels(_six(), np.array(3))

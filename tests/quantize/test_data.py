# SPDX-License-Identifier: Apache-2.0
"""Data files: what is taken, what is refused, and that nothing large is read unasked."""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile

import numpy as np
import pytest

from edgeq.errors import BadInputError, StorageError
from edgeq.ir.dtypes import DType
from edgeq.quantize.data import MAX_BYTES, InputSpec, align_batch, load_data

IMAGE = (InputSpec("image", (1, 4, 3, 1), DType.F32),)
PAIR = (InputSpec("a", (1, 2), DType.F32), InputSpec("b", (1, 5), DType.F32))


def gather(data_set):
    batches = list(data_set.read())
    inputs = [np.concatenate(arrays) for arrays in zip(*(batch.inputs for batch in batches), strict=True)]
    labels = None if batches[0].labels is None else np.concatenate([batch.labels for batch in batches])
    return inputs, labels


@pytest.mark.parametrize("name", ["x", "image"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_gives_all_samples_in_batches_any_number_of_times(tmp_path, name, save):
    values = np.arange(70 * 12, dtype=np.uint8).reshape(70, 4, 3, 1)
    save(tmp_path / "d.npz", **{name: values, "y": np.arange(70), "other": np.array("text")})
    data_set = load_data(tmp_path / "d.npz", IMAGE)
    assert data_set.count == 70
    for _ in range(2):
        (images,), labels = gather(data_set)
        assert images.dtype == np.float32
        assert np.array_equal(images, values)
        assert np.array_equal(labels, np.arange(70))
    assert [len(batch[0]) for batch in data_set.batches()] == [32, 32, 6]


def test_samples_may_carry_the_models_batch_axis_and_any_memory_order(tmp_path):
    values = np.random.default_rng(1).standard_normal((40, 1, 4, 3, 1))
    np.savez(tmp_path / "d.npz", x=np.asfortranarray(values))
    (images,), labels = gather(load_data(tmp_path / "d.npz", IMAGE))
    assert np.array_equal(images, values[:, 0].astype(np.float32))
    assert labels is None


def test_inputs_are_found_by_name(tmp_path):
    a, b = np.ones((3, 2), np.float32), np.zeros((3, 5), np.float16)
    np.savez(tmp_path / "d.npz", b=b, a=a)
    (first, second), _ = gather(load_data(tmp_path / "d.npz", PAIR))
    assert first.shape == (3, 2)
    assert second.shape == (3, 5)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": np.ones((3, 4, 3, 1))}, r"'image' or 'x' expected, found z"),
        ({"x": np.ones((3, 4, 4, 1))}, r"\[4, 3, 1\] expected.*\[4, 4, 1\]"),
        ({"x": np.ones((3, 4, 3, 1), np.int64)}, "float32 expected, int64 found"),
        ({"x": np.ones((3, 4, 3, 1)), "y": np.ones(4)}, "disagree on the number of samples: x.npy 3, y.npy 4"),
        ({"x": np.float32(3)}, r"shape \[\]"),
        ({"x": np.array([["a"]])}, "numbers expected"),
        ({"x": np.array([None])}, "numbers expected"),
    ],
)
def test_npz_with_wrong_contents_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(BadInputError, match=message):
        load_data(tmp_path / "d.npz", IMAGE)


def member(shape, payload=b"", dtype="<f4"):
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + payload


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (member((1 << 40, 4, 3, 1)), "more than|should hold"),
        (member((3, 4, 3, 1), b"\0" * 100), "should hold 144 bytes"),
        (member((-3, 4, 3, 1)), "shape"),
        (b"not an array", "not a NumPy array"),
        (b"", "not a NumPy array"),
    ],
)
def test_lying_headers_are_refused_before_anything_is_read(tmp_path, raw, message):
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x.npy", raw)
    with pytest.raises(BadInputError, match=message):
        load_data(tmp_path / "d.npz", IMAGE)


def test_arrays_beyond_the_cap_are_refused_by_their_declared_size(tmp_path):
    rows = MAX_BYTES // 48 + 1
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.npy", member((rows, 4, 3, 1)))
    raw = bytearray(buffer.getvalue())
    central = raw.index(b"PK\x01\x02")
    struct.pack_into("<I", raw, central + 24, 0xFFFFFFF0)  # the declared size of x.npy
    (tmp_path / "d.npz").write_bytes(raw)
    with pytest.raises(BadInputError, match="bytes"):
        load_data(tmp_path / "d.npz", IMAGE)


def test_damaged_archive_is_bad_input_wherever_it_is_cut_or_flipped(tmp_path):
    path = tmp_path / "d.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).standard_normal((9, 4, 3, 1)).astype(np.float32))
    whole = path.read_bytes()
    rng = np.random.default_rng(4)
    for _ in range(150):
        raw = bytearray(whole)
        raw[int(rng.integers(len(raw)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(raw[: int(rng.integers(len(raw)))] if rng.random() < 0.3 else raw)
        with contextlib.suppress(BadInputError):
            gather(load_data(path, IMAGE))


def test_missing_file_and_unknown_kind(tmp_path):
    with pytest.raises(StorageError, match="no such file"):
        load_data(tmp_path / "none.npz", IMAGE)
    (tmp_path / "d.csv").write_text("1,2")
    with pytest.raises(BadInputError, match=r"\.csv"):
        load_data(tmp_path / "d.csv", IMAGE)


def test_script_yields_arrays_lists_or_dicts_with_labels(tmp_path):
    path = tmp_path / "d.py"
    path.write_text(
        "import numpy as np\n"
        "def batches():\n"
        "    yield {'x': np.ones((2, 4, 3, 1)), 'y': [1, 2]}\n"
        "    yield {'image': np.ones((4, 3, 1), np.uint8), 'y': [3]}\n"
    )
    data_set = load_data(path, IMAGE)
    (images,), labels = gather(data_set)
    assert images.shape == (3, 4, 3, 1)
    assert labels.tolist() == [1, 2, 3]
    assert data_set.count is None
    path.write_text("import numpy as np\ndef batches():\n    yield [np.ones((2, 2)), np.ones((2, 5))]\n")
    assert [len(batch) for batch in load_data(path, PAIR).batches()] == [2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", r"batches\(\) expected"),
        ("def batches(:", "SyntaxError"),
        ("def batches():\n    yield 1 / 0", "ZeroDivisionError"),
        ("def batches():\n    return 3", "TypeError"),
        ("def batches():\n    yield 3", "yields int"),
        ("def batches():\n    yield {'z': 3}", "yields no image, but z"),
        ("def batches():\n    yield [[1.0]]", "samples of shape"),
    ],
)
def test_script_that_fails_is_bad_input_with_its_reason(tmp_path, text, message):
    (tmp_path / "d.py").write_text(text)
    with pytest.raises(BadInputError, match=message):
        gather(load_data(tmp_path / "d.py", IMAGE))


def test_batch_of_arrays_must_match_in_number_and_samples():
    with pytest.raises(BadInputError, match="2 arrays expected, one per input, 1 given"):
        align_batch(PAIR, [np.ones((3, 2))])
    with pytest.raises(BadInputError, match="'a' 3, 'b' 2"):
        align_batch(PAIR, [np.ones((3, 2)), np.ones((2, 5))])


def test_integer_inputs_take_their_own_dtype_or_real_values():
    spec = [InputSpec("x", (1, 2), DType.S8)]
    assert align_batch(spec, [np.ones((3, 2), np.int8)])[0].dtype == np.int8
    assert align_batch(spec, [np.ones((3, 2))])[0].dtype == np.float32
    with pytest.raises(BadInputError, match="int8 expected, uint8 found"):
        align_batch(spec, [np.ones((3, 2), np.uint8)])

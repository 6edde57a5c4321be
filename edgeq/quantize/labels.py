# SPDX-License-Identifier: Apache-2.0
"""Labels in a file of their own: .npy, .npz with ``y`` or a single array, or .csv with one line per sample."""

from __future__ import annotations

import csv
import dataclasses
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgeq.errors import BadInputError
from edgeq.paths import read_bytes
from edgeq.quantize.data import UNREADABLE, Batch, DataSet, read_array


def load_labels(path: Path) -> np.ndarray:
    """Read labels: (n,), or (n, k) for k values per sample.

    In a .csv, values are separated by commas, and a first line that holds no number is a header. Nothing is unpickled.
    Raises StorageError for a file that cannot be read, BadInputError for one that does not hold labels.
    """
    if path.suffix not in (".npy", ".npz", ".csv"):
        raise BadInputError(f"{path}: labels are an .npy, .npz or .csv file, {path.suffix or 'no suffix'!r} found")
    content = read_bytes(path)
    if path.suffix == ".csv":
        return _of_csv(content, path)
    if path.suffix == ".npy":
        return read_array(io.BytesIO(content), path.name, path=path, declared=len(content))
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [info.filename for info in archive.infolist() if info.filename.endswith(".npy")]
            chosen = ["y.npy"] if "y.npy" in names else names
            if len(chosen) != 1:
                found = ", ".join(name.removesuffix(".npy") for name in names) or "none"
                raise BadInputError(f"{path}: labels are an array y, or the only one; arrays found: {found}")
            with archive.open(chosen[0]) as stream:
                return read_array(stream, chosen[0], path=path, declared=archive.getinfo(chosen[0]).file_size)
    except UNREADABLE as error:
        raise BadInputError(f"{path}: not an .npz file that can be read: {error}") from None


def _of_csv(content: bytes, path: Path) -> np.ndarray:
    try:
        lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInputError(f"{path}: not a .csv file: {error}") from None
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line]
    if numbered and not any(_is_number(cell) for cell in numbered[0][1]):
        del numbered[0]
    for number, line in numbered:
        wrong = [cell for cell in line if not _is_number(cell)]
        if wrong:
            raise BadInputError(f"{path}: line {number}: a number expected, {wrong[0]!r} found")
        if len(line) != len(numbered[0][1]):
            raise BadInputError(
                f"{path}: line {number} has {len(line)} values, line {numbered[0][0]} has another number"
            )
    cells = [line for _, line in numbered]
    try:
        values = np.array([[int(cell) for cell in line] for line in cells], np.int64)
    except (ValueError, OverflowError):
        values = np.array([[float(cell) for cell in line] for line in cells], np.float64)
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def with_labels(data: DataSet, labels: np.ndarray, *, source: str = "the array of labels") -> DataSet:
    """Return the data with these labels (n, ...), in order; ``source`` is what errors call them.

    Raises BadInputError when there are not as many as samples, at the latest where the last samples are read, and for
    data that have labels of their own.
    """
    if labels.ndim == 0:
        raise BadInputError(f"{source}: an array of labels expected, one number found")
    if data.count is not None:
        _require_equal(data, data.count, labels, source)

    def read() -> Iterator[Batch]:
        done = 0
        for batch in data.read():
            if batch.labels is not None:
                raise BadInputError(f"{data.source}: has labels y of its own, {source} cannot replace them")
            count = len(batch.inputs[0])
            if done + count <= len(labels):  # else the count of all is told at the end
                yield dataclasses.replace(batch, labels=labels[done : done + count])
            done += count
        _require_equal(data, done, labels, source)

    return DataSet(data.source, data.count, read)


def _require_equal(data: DataSet, count: int, labels: np.ndarray, source: str) -> None:
    if count != len(labels):
        raise BadInputError(f"{count} samples are in {data.source}, {len(labels)} labels in {source}")

# SPDX-License-Identifier: Apache-2.0
"""Calibration and evaluation data: an .npz file, or a Python file with a generator ``batches()``.

An .npz holds arrays named as the model's inputs, or ``x`` for a model with one input, and optionally labels in ``y``;
their first axis counts samples. A generator yields batches: an array, a list with one array per input, or a dict by
name, optionally with labels in ``y``. Samples come with or without the model's leading batch axis.
"""

from __future__ import annotations

import lzma
import math
import runpy
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from edgeq.errors import BadInputError, EdgeqError, InvalidValueError, StorageError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Graph

MAX_BYTES = 4 << 30  # of all arrays together, unpacked
BATCH = 32
DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError)  # what reading a broken archive raises
UNREADABLE = (*DAMAGE, NotImplementedError, RuntimeError)  # or one compressed in an unknown way, or encrypted
_FLOATS = ("float16", "float32", "float64", "uint8")  # what a float input takes


@dataclass(frozen=True)
class InputSpec:
    """What a model input takes: its name, its shape with the batch axis, its declared dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: DType


@dataclass(frozen=True)
class Batch:
    """Some samples: one array per input (n, ...) and their labels (n,), if there are any."""

    inputs: list[np.ndarray]
    labels: np.ndarray | None


@dataclass(frozen=True)
class DataSet:
    """Samples that are read batch by batch, any number of times; ``count`` is None where only reading tells."""

    source: str
    count: int | None
    read: Callable[[], Iterator[Batch]]

    def batches(self) -> Iterator[list[np.ndarray]]:
        """Yield the inputs of one batch after the other. Raises InvalidValueError for NaN or infinity in them."""
        return (batch.inputs for batch in self._finite())

    def first(self, count: int) -> tuple[list[np.ndarray], np.ndarray | None]:
        """Return up to so many samples, one array per input, and their labels if there are any.

        Raises BadInputError when there is no sample, InvalidValueError for NaN or infinity in one.
        """
        parts: list[Batch] = []
        for batch in self._finite():
            parts.append(batch)
            if sum(len(part.inputs[0]) for part in parts) >= count:
                break
        if not any(len(part.inputs[0]) for part in parts):
            raise BadInputError(f"{self.source}: the data hold no sample")
        labels = [part.labels for part in parts if part.labels is not None]
        arrays = [np.concatenate(arrays)[:count] for arrays in zip(*(part.inputs for part in parts), strict=True)]
        return arrays, np.concatenate(labels)[:count] if len(labels) == len(parts) else None

    def _finite(self) -> Iterator[Batch]:
        done = 0
        for batch in self.read():
            for number, array in enumerate(batch.inputs):
                require_finite_samples(array, f"{self.source}: input {number}", before=done)
            done += len(batch.inputs[0])
            yield batch


def require_finite_samples(array: np.ndarray, what: str, *, before: int) -> None:
    """Raise InvalidValueError naming the first sample of an array (n, ...) with NaN or infinity.

    Samples are counted from 0; so many came ``before`` those of the array.
    """
    wrong = np.flatnonzero(~np.isfinite(array))
    if wrong.size:
        sample = before + int(wrong[0]) // (array.size // len(array))
        raise InvalidValueError(f"{what} of sample {sample} holds {array.reshape(-1)[wrong[0]]}")


def input_specs(graph: Graph) -> tuple[InputSpec, ...]:
    """List what a graph's inputs take."""
    return tuple(InputSpec(port.name, graph.tensors[port.tensor].shape, port.dtype) for port in graph.inputs)


def load_data(path: Path, inputs: Graph | Sequence[InputSpec]) -> DataSet:
    """Open calibration or evaluation data for a graph, or for inputs listed by hand.

    Nothing is unpickled; sizes are checked before anything is read. A .py file is run with the rights of the caller.
    Raises StorageError for a file that cannot be read, BadInputError for one that does not hold what the inputs take.
    """
    specs = input_specs(inputs) if isinstance(inputs, Graph) else tuple(inputs)
    if not path.is_file():
        raise StorageError(f"{path}: there is no such file")
    if path.suffix == ".py":
        return _open_script(path, specs)
    if path.suffix == ".npz":
        return _open_npz(path, specs)
    raise BadInputError(f"{path}: calibration data are an .npz or a .py file, {path.suffix or 'no suffix'!r} found")


def of_arrays(arrays: Sequence[np.ndarray], inputs: Graph | Sequence[InputSpec]) -> DataSet:
    """Make data of one array (n, ...) per input. Raises BadInputError as ``align_batch`` does."""
    aligned = align_batch(inputs, arrays)
    starts = range(0, len(aligned[0]), BATCH)
    parts = [Batch([array[start : start + BATCH] for array in aligned], None) for start in starts]
    return DataSet("the arrays", len(aligned[0]), lambda: iter(parts))


def align_batch(inputs: Graph | Sequence[InputSpec], batch: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return a batch as one array (n, ...) per input, in its dtype.

    A single sample gains the batch axis; samples that carry a batch axis of their own, (n, 1, ...), lose it. Raises
    BadInputError for another number of arrays, another shape or dtype, or arrays that disagree on n.
    """
    specs = input_specs(inputs) if isinstance(inputs, Graph) else tuple(inputs)
    if isinstance(batch, np.ndarray) and len(specs) == 1:
        batch = [batch]
    if len(batch) != len(specs):
        raise BadInputError(f"{len(specs)} arrays expected, one per input, {len(batch)} given")
    arrays = [_align(spec, np.asarray(array)) for spec, array in zip(specs, batch, strict=True)]
    if len({len(array) for array in arrays}) > 1:
        counts = ", ".join(f"{spec.name!r} {len(array)}" for spec, array in zip(specs, arrays, strict=True))
        raise BadInputError(f"inputs disagree on the number of samples: {counts}")
    return arrays


def _align(spec: InputSpec, array: np.ndarray) -> np.ndarray:
    array = _in_dtype(spec, array)
    sample = spec.shape[1:]
    if array.ndim > 0 and array.shape[1:] == sample:
        return array
    if array.shape == sample:
        return array[np.newaxis]
    if array.shape[1:] == spec.shape:
        return array.reshape(-1, *sample)
    raise BadInputError(
        f"input {spec.name!r}: samples of shape {list(sample)} expected, with or without a batch axis before it; "
        f"{_shape_text(array)} found"
    )


def _shape_text(array: np.ndarray) -> str:
    """Say which shape an array has, or where it has no rows, as a file's header is checked, which its samples have."""
    if array.ndim > 1 and len(array) == 0:
        return f"samples of shape {list(array.shape[1:])}"
    return f"an array of shape {list(array.shape)}"


def _in_dtype(spec: InputSpec, array: np.ndarray) -> np.ndarray:
    wanted = spec.dtype.numpy
    if array.dtype.name in _FLOATS if spec.dtype.is_float else array.dtype == wanted:
        return array.astype(wanted, copy=False)
    if not spec.dtype.is_float and array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)  # real values, which the model's own scale turns into codes
    hint = f"cast it to {wanted}, in the units that the model was trained on"
    raise BadInputError(f"input {spec.name!r}: {wanted} expected, {array.dtype} found", hint=hint)


# ------------------------------------------------------------------------------------------------ .npz


def _open_npz(path: Path, specs: Sequence[InputSpec]) -> DataSet:
    with _archive(path) as archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}
        if len(specs) == 1 and "x" in members and specs[0].name not in members:
            sources = ["x"]
        else:
            sources = [spec.name for spec in specs]
        missing = [name for name in sources if name not in members]
        if missing:
            names = [spec.name for spec in specs]
            wanted = ", ".join(map(repr, names)) + (" or 'x'" if len(names) == 1 and names != ["x"] else "")
            raise BadInputError(f"{path}: arrays {wanted} expected, found {', '.join(sorted(members)) or 'none'}")
        labelled = "y" in members and "y" not in sources
        names = [members[name] for name in [*sources, *(["y"] if labelled else [])]]
        headers = []
        for name in names:
            with _member(archive, name, path) as (_, header):
                headers.append(header)
    for spec, header in zip(specs, headers, strict=False):
        try:
            align_batch([spec], [np.empty((0, *header.shape[1:]), header.dtype)])
        except BadInputError as error:
            raise BadInputError(f"{path}: {error}") from None
    size = sum(header.size for header in headers)
    if size > MAX_BYTES:
        raise BadInputError(f"{path}: its arrays unpack to {size} bytes, more than {MAX_BYTES}")
    counts = {header.shape[0] for header in headers}
    if len(counts) != 1:
        found = ", ".join(f"{name} {header.shape[0]}" for name, header in zip(names, headers, strict=True))
        raise BadInputError(f"{path}: arrays disagree on the number of samples: {found}")

    def read() -> Iterator[Batch]:
        with _archive(path) as archive:
            streams = [_rows(archive, name, path) for name in names]
            for arrays in zip(*streams, strict=True):
                inputs = align_batch(specs, arrays[: len(specs)])
                yield Batch(inputs, arrays[-1] if labelled else None)

    return DataSet(str(path), counts.pop(), read)


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    dtype: np.dtype
    by_columns: bool

    @property
    def size(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @classmethod
    def read(cls, stream: IO[bytes], name: str, *, path: Path, declared: int) -> _Header:
        """Read the header of a .npy member and hold its size against what the archive declares."""
        try:
            version = np.lib.format.read_magic(stream)
            reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, by_columns, dtype = reader(stream)
        except (ValueError, *DAMAGE) as error:
            raise BadInputError(f"{path}: {name} is not a NumPy array: {error}") from None
        if dtype.hasobject or dtype.kind not in "buif":
            raise BadInputError(f"{path}: {name} holds {dtype}, numbers expected")
        if not shape or min(shape) < 0:
            raise BadInputError(f"{path}: {name} has shape {list(shape)}, an array of samples expected")
        header = cls(tuple(shape), dtype, by_columns)
        held = declared - stream.tell()
        if header.size > held:
            raise BadInputError(f"{path}: {name} should hold {header.size} bytes, the archive declares {held}")
        return header


@contextmanager
def _member(archive: zipfile.ZipFile, name: str, path: Path) -> Iterator[tuple[IO[bytes], _Header]]:
    """Open a .npy member and read its header."""
    try:
        stream = archive.open(name)
    except UNREADABLE as error:
        raise BadInputError(f"{path}: {name} cannot be unpacked: {error}") from None
    with stream:
        yield stream, _Header.read(stream, name, path=path, declared=archive.getinfo(name).file_size)


def _archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise BadInputError(f"{path}: not an .npz file: {error}") from None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from None


def _rows(archive: zipfile.ZipFile, name: str, path: Path) -> Iterator[np.ndarray]:
    """Yield an array in parts of 32 rows without holding the whole."""
    with _member(archive, name, path) as (stream, header):
        if header.by_columns:
            values = _values(stream, header, header.shape[0], name, path).reshape(header.shape, order="F")
            for start in range(0, header.shape[0], BATCH):
                yield np.ascontiguousarray(values[start : start + BATCH])
            return
        for start in range(0, header.shape[0], BATCH):
            rows = min(BATCH, header.shape[0] - start)
            yield _values(stream, header, rows, name, path).reshape(rows, *header.shape[1:])


def read_array(stream: IO[bytes], name: str, *, path: Path, declared: int) -> np.ndarray:
    """Read a whole .npy array of ``declared`` bytes with its header. Raises BadInputError naming path and array."""
    header = _Header.read(stream, name, path=path, declared=declared)
    if header.size > MAX_BYTES:
        raise BadInputError(f"{path}: {name} holds {header.size} bytes, more than {MAX_BYTES}")
    values = _values(stream, header, header.shape[0], name, path)
    return values.reshape(header.shape, order="F" if header.by_columns else "C")


def _values(stream: IO[bytes], header: _Header, rows: int, name: str, path: Path) -> np.ndarray:
    """Read the values of so many rows, flat."""
    size = header.dtype.itemsize * rows * math.prod(header.shape[1:])
    try:
        raw = stream.read(size)
    except DAMAGE as error:
        raise BadInputError(f"{path}: {name} is damaged: {error}") from None
    if len(raw) != size:
        raise BadInputError(f"{path}: {name} ends after {len(raw)} of {size} bytes")
    return np.frombuffer(raw, header.dtype).astype(header.dtype.newbyteorder("="))


# ------------------------------------------------------------------------------------------------ .py


def call_script(path: Path, action: Callable[[], Any]) -> Any:
    """Call into a user's script; whatever it raises becomes one error that names the script."""
    try:
        return action()
    except (EdgeqError, StopIteration):
        raise
    except OSError as error:
        raise StorageError(f"{path}: {error}") from error
    except (Exception, SystemExit) as error:
        raise BadInputError(f"{path}: {type(error).__name__}: {error}") from error


def _open_script(path: Path, specs: Sequence[InputSpec]) -> DataSet:
    make = call_script(path, lambda: runpy.run_path(str(path))).get("batches")
    if not callable(make):
        raise BadInputError(f"{path}: a function batches() expected, none found")

    def read() -> Iterator[Batch]:
        iterator = call_script(path, lambda: iter(make()))
        while True:
            try:
                found = call_script(path, lambda: next(iterator))
            except StopIteration:
                return
            yield _of_script(found, specs, path)

    return DataSet(str(path), None, read)


def _of_script(found: Any, specs: Sequence[InputSpec], path: Path) -> Batch:
    labels = None
    if isinstance(found, Mapping):
        names = [spec.name for spec in specs]
        if len(specs) == 1 and names[0] not in found and "x" in found:
            names = ["x"]
        missing = [name for name in names if name not in found]
        if missing:
            raise BadInputError(f"{path}: batches() yields no {', '.join(missing)}, but {', '.join(map(str, found))}")
        labels = np.asarray(found["y"]) if "y" in found and "y" not in names else None
        found = [found[name] for name in names]
    elif isinstance(found, np.ndarray):
        found = [found]
    elif not isinstance(found, Sequence):
        raise BadInputError(f"{path}: batches() yields {type(found).__name__}, an array, list or dict expected")
    inputs = align_batch(specs, [np.asarray(array) for array in found])
    if labels is not None and labels.shape[:1] != (len(inputs[0]),):
        raise BadInputError(f"{path}: {len(inputs[0])} samples with labels of shape {list(labels.shape)}")
    return Batch(inputs, labels)

# SPDX-License-Identifier: Apache-2.0
"""The arrays of edgeq run: read from and written to .npz files."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeq.analysis.samples import leading_size
from edgeq.api import Model
from edgeq.compile.plan import PlanPort
from edgeq.errors import BadInputError
from edgeq.paths import read_bytes, write_bytes
from edgeq.quantize.data import UNREADABLE, InputSpec, load_data

_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the date of every member, so that equal arrays give equal files


@dataclass(frozen=True)
class Inputs:
    """What to run: ``single``, the arrays of one inference, or else batches with one array (n, ...) per input.

    ``numbered`` when the file calls them in0, in1 and so on.
    """

    single: list[np.ndarray] | None
    batches: Iterator[list[np.ndarray]]
    numbered: bool


def port_specs(ports: Sequence[PlanPort]) -> tuple[InputSpec, ...]:
    """List what a plan's inputs take."""
    return tuple(InputSpec(port.name, port.shape, port.dtype) for port in ports)


def read_inputs(path: Path, ports: Sequence[PlanPort]) -> Inputs:
    """Open the arrays of an .npz file, named as the inputs or numbered in their order.

    Arrays of exactly the inputs' shapes are one inference, others hold samples along their first axis. Raises
    StorageError or BadInputError naming the path.
    """
    specs = port_specs(ports)
    numbered = tuple(dataclasses.replace(spec, name=f"in{index}") for index, spec in enumerate(specs))
    only = tuple(dataclasses.replace(spec, name="x") for spec in specs)
    members = _members(path)
    for candidates in (specs, numbered, *([only] if len(specs) == 1 else [])):
        if {spec.name for spec in candidates} <= set(members):
            single = _read_single(path, candidates)
            batches = iter(()) if single is not None else load_data(path, candidates).batches()
            return Inputs(single, batches, candidates is numbered)
    wanted = " or ".join(", ".join(repr(spec.name) for spec in candidates) for candidates in (specs, numbered))
    raise BadInputError(f"{path}: arrays {wanted} expected, found {', '.join(sorted(members)) or 'none'}")


def _members(path: Path) -> list[str]:
    with _archive(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(io.BytesIO(read_bytes(path))) as archive:
            yield archive
    except (*UNREADABLE, ValueError) as error:
        raise BadInputError(f"{path}: not an .npz file that can be read: {error}") from None


def _read_single(path: Path, specs: Sequence[InputSpec]) -> list[np.ndarray] | None:
    """Read the arrays if each has exactly its input's shape, so that no more is read than the model holds."""
    arrays = []
    with _archive(path) as archive:
        for spec in specs:
            with archive.open(f"{spec.name}.npy") as member:
                version = np.lib.format.read_magic(member)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(member)
                if shape != spec.shape or dtype.kind not in "buif":
                    return None
            with archive.open(f"{spec.name}.npy") as member:
                arrays.append(np.lib.format.read_array(member, allow_pickle=False))
    return arrays


def write_arrays(path: Path, names: Sequence[str], arrays: Sequence[np.ndarray], *, numbered: bool) -> None:
    """Write arrays to an .npz file under their names, or as out0, out1 and so on when asked or names repeat."""
    if numbered or len(set(names)) != len(names):
        names = [f"out{index}" for index in range(len(arrays))]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in zip(names, arrays, strict=True):
            with archive.open(zipfile.ZipInfo(f"{name}.npy", _EARLIEST), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    write_bytes(path, buffer.getvalue())


def codes_of(model: Model, path: Path, *, limit: int) -> Iterator[list[np.ndarray]]:
    """Yield the first ``limit`` runs' worth of samples of a data file as the program's input codes."""
    size = leading_size([port.shape for port in model.inputs])
    left = limit
    for batch in load_data(path, port_specs(model.inputs)).batches():
        for start in range(0, len(batch[0]) - size + 1, size):
            if left == 0:
                return
            left -= 1
            yield model.encode([array[start : start + size] for array in batch])


def zero_codes(model: Model) -> list[np.ndarray]:
    """Return input codes that stand for zeros: each input's zero point."""
    values = [model.plan.values[port.value] for port in model.inputs]
    return [
        np.full(port.shape, 0 if value.quant is None else value.quant.zero_point, value.dtype.numpy)
        for port, value in zip(model.inputs, values, strict=True)
    ]

# SPDX-License-Identifier: Apache-2.0
"""The arrays of edgeq run: read from and written to .npz files."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeq.analysis.samples import leading_size
from edgeq.api import Model
from edgeq.compile.plan import PlanPort
from edgeq.errors import BadInputError
from edgeq.paths import read_bytes, write_bytes
from edgeq.quantize.data import InputSpec, load_data

_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the date of every member, so that equal arrays give equal files


@dataclass(frozen=True)
class Inputs:
    """Batches with one array (n, ...) per input; ``numbered`` when the file calls them in0, in1 and so on."""

    batches: Iterator[list[np.ndarray]]
    numbered: bool


def port_specs(ports: Sequence[PlanPort]) -> tuple[InputSpec, ...]:
    """List what a plan's inputs take."""
    return tuple(InputSpec(port.name, port.shape, port.dtype) for port in ports)


def read_inputs(path: Path, ports: Sequence[PlanPort]) -> Inputs:
    """Open the arrays of an .npz file, named as the inputs or numbered in their order.

    Raises StorageError or BadInputError naming the path.
    """
    specs = port_specs(ports)
    numbered = tuple(dataclasses.replace(spec, name=f"in{index}") for index, spec in enumerate(specs))
    by_number = {spec.name for spec in numbered} <= _members(path) and not {s.name for s in specs} <= _members(path)
    data = load_data(path, numbered if by_number else specs)
    if data.count == 0:
        raise BadInputError(f"{path}: the arrays hold no samples")
    return Inputs(data.batches(), by_number)


def _members(path: Path) -> set[str]:
    try:
        with zipfile.ZipFile(io.BytesIO(read_bytes(path))) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except zipfile.BadZipFile as error:
        raise BadInputError(f"{path}: not an .npz file: {error}") from None


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

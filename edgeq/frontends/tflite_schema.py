# SPDX-License-Identifier: Apache-2.0
"""Read a .tflite flatbuffer into plain records, trusting nothing in it.

The flatbuffers package checks little: a damaged file makes its accessors fail with whatever Python error comes first.
Every access goes through ``_guarded``, which turns those into BadInputError, and through a budget that keeps a file
whose parts refer to the same bytes over and over from costing more than a multiple of its size.
"""

from __future__ import annotations

import contextlib
import importlib
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tflite.BuiltinOperator import BuiltinOperator
from tflite.BuiltinOptions import BuiltinOptions
from tflite.Model import Model

from edgeq.errors import BadInputError, UnsupportedError

IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
_BUDGET_FACTOR = 16  # bytes that may be looked at for each byte of the file
_BUDGET_FLOOR = 1 << 20
_OPERATOR_NAMES = {code: name for name, code in vars(BuiltinOperator).items() if not name.startswith("_")}
_OPTION_CODES = {name: code for name, code in vars(BuiltinOptions).items() if not name.startswith("_")}
_LOW_LEVEL_ERRORS = (struct.error, IndexError, ValueError, TypeError, OverflowError, AttributeError)


@dataclass(frozen=True)
class RawTensor:
    """A tensor as the file states it; ``data`` is empty for one that is computed."""

    index: int
    name: bytes
    shape: tuple[int, ...]
    signature: tuple[int, ...]  # -1 where a size is open; empty when the file gives none
    type_code: int
    data: np.ndarray  # bytes, a view into the file
    scales: np.ndarray  # float32
    zero_points: np.ndarray  # int64
    axis: int
    is_variable: bool
    is_sparse: bool
    has_custom_quantization: bool


class RawOptions:
    """The attributes of one operator, by their names in the schema."""

    def __init__(self, table: Any | None) -> None:
        self._table = table

    def integer(self, name: str, default: int = 0) -> int:
        return int(self._value(name, default))

    def boolean(self, name: str, default: bool = False) -> bool:
        return bool(self._value(name, default))

    def real(self, name: str, default: float = 0.0) -> float:
        return float(self._value(name, default))

    def integers(self, name: str) -> tuple[int, ...]:
        """Return a list of numbers; empty when the file gives none."""
        values = self._value(f"{name}AsNumpy", 0)
        return tuple(int(value) for value in values) if isinstance(values, np.ndarray) else ()

    def _value(self, name: str, default: Any) -> Any:
        if self._table is None:
            return default
        with _guarded("the options of an operator"):
            return getattr(self._table, name)()


@dataclass(frozen=True)
class RawOperator:
    """An operator as the file states it."""

    index: int
    code: int
    kind: str  # CONV_2D, or the custom operator's own name
    is_custom: bool
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    table: Any

    def options(self, kind: str) -> RawOptions:
        """Return the attributes; all defaults when the file has none. Raises BadInputError for another kind."""
        with _guarded(f"the options of operator {self.index}"):
            found = self.table.BuiltinOptionsType()
            union = self.table.BuiltinOptions()
            if found == 0 or union is None:
                return RawOptions(None)
            if found != _OPTION_CODES[kind]:
                names = {code: name for name, code in _OPTION_CODES.items()}
                raise BadInputError(
                    f"operator {self.index} ({self.kind}) carries {names.get(found, f'options of kind {found}')}, "
                    f"{kind} expected"
                )
            options = getattr(importlib.import_module(f"tflite.{kind}"), kind)()
            options.Init(union.Bytes, union.Pos)
        return RawOptions(options)


@dataclass(frozen=True)
class RawModel:
    """The first subgraph of a file, and the names that its signature gives to inputs and outputs."""

    tensors: tuple[RawTensor, ...]
    operators: tuple[RawOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    input_names: dict[int, bytes]
    output_names: dict[int, bytes]


class _Budget:
    """Counts the bytes that reading has looked at."""

    def __init__(self, file_bytes: int) -> None:
        self._file_bytes = file_bytes
        self._left = _BUDGET_FACTOR * file_bytes + _BUDGET_FLOOR

    def spend(self, amount: int) -> None:
        self._left -= amount
        if self._left < 0:
            raise BadInputError(
                f"the file is damaged: its {self._file_bytes} bytes are referred to more than {_BUDGET_FACTOR} times"
            )

    def table_count(self, length: int, what: str) -> int:
        """Check the length of a list of tables, each of which takes an offset and a table of 4 bytes or more."""
        if length * 4 > self._file_bytes:
            raise BadInputError(f"the file is damaged: {length} {what} do not fit into its {self._file_bytes} bytes")
        self.spend(length * 16)
        return length


@contextlib.contextmanager
def _guarded(what: str) -> Iterator[None]:
    try:
        yield
    except _LOW_LEVEL_ERRORS as error:
        raise BadInputError(f"the file is damaged: {what} cannot be read ({error})") from error


def read_schema(data: bytes) -> RawModel:
    """Read the records of the first subgraph.

    Raises BadInputError for bytes that are not a whole, well-formed .tflite file and UnsupportedError for a schema
    version other than 3.
    """
    if not data:
        raise BadInputError("the file is empty")
    if data[4:8] != IDENTIFIER:
        raise BadInputError(
            f"not a .tflite file: bytes 4 to 7 are {data[4:8]!r}, {IDENTIFIER!r} expected",
            hint="check that the file is complete and was not converted to text",
        )
    budget = _Budget(len(data))
    with _guarded("the model"):
        return _read_model(data, budget)


def _read_model(data: bytes, budget: _Budget) -> RawModel:
    model = Model.GetRootAs(data, 0)
    if model.Version() != SCHEMA_VERSION:
        raise UnsupportedError(f"schema version {model.Version()} is not known, {SCHEMA_VERSION} expected")
    if budget.table_count(model.SubgraphsLength(), "subgraphs") == 0:
        raise BadInputError("the file has no subgraph, so there is no model in it")
    subgraph = model.Subgraphs(0)

    buffers = [
        _buffer(data, model.Buffers(index), index)
        for index in range(budget.table_count(model.BuffersLength(), "buffers"))
    ]
    tensors = tuple(
        _tensor(subgraph.Tensors(index), index, buffers=buffers, budget=budget)
        for index in range(budget.table_count(subgraph.TensorsLength(), "tensors"))
    )
    codes = [
        _operator_code(model.OperatorCodes(index), budget)
        for index in range(budget.table_count(model.OperatorCodesLength(), "operator codes"))
    ]
    operators = tuple(
        _operator(subgraph.Operators(index), index, codes=codes, budget=budget)
        for index in range(budget.table_count(subgraph.OperatorsLength(), "operators"))
    )
    inputs = _integers(subgraph.InputsAsNumpy, budget)
    outputs = _integers(subgraph.OutputsAsNumpy, budget)
    input_names, output_names = _signature(model, budget)
    return RawModel(tensors, operators, inputs, outputs, input_names, output_names)


def _array(accessor: Callable[[], Any], budget: _Budget) -> np.ndarray:
    """Return a vector as a view of the file; empty when it is absent (the accessor then returns 0)."""
    values = accessor()
    if not isinstance(values, np.ndarray):
        return np.zeros(0, np.int64)
    budget.spend(values.nbytes)
    return values


def _integers(accessor: Callable[[], Any], budget: _Budget) -> tuple[int, ...]:
    return tuple(int(value) for value in _array(accessor, budget))


def _buffer(data: bytes, buffer: Any, index: int) -> np.ndarray:
    start, size = buffer.Offset(), buffer.Size()
    if start > 1:  # the contents lie behind the flatbuffer, as in files beyond 2 GB
        if start + size > len(data):
            raise BadInputError(f"buffer {index} ends at byte {start + size}, the file at {len(data)}")
        return np.frombuffer(data, np.uint8, size, start)
    values = buffer.DataAsNumpy()
    return values if isinstance(values, np.ndarray) else np.zeros(0, np.uint8)


def _tensor(table: Any, index: int, *, buffers: Sequence[np.ndarray], budget: _Budget) -> RawTensor:
    buffer = table.Buffer()
    if buffer >= len(buffers):
        raise BadInputError(f"tensor {index} names buffer {buffer}, the file has {len(buffers)}")
    data = buffers[buffer]
    budget.spend(data.nbytes)
    name = table.Name() or b""
    budget.spend(len(name))
    quantization = table.Quantization()
    scales = zero_points = np.zeros(0)
    axis, custom = 0, False
    if quantization is not None:
        scales = _array(quantization.ScaleAsNumpy, budget)
        zero_points = _array(quantization.ZeroPointAsNumpy, budget)
        axis = quantization.QuantizedDimension()
        custom = quantization.DetailsType() != 0
    return RawTensor(
        index, name, _integers(table.ShapeAsNumpy, budget), _integers(table.ShapeSignatureAsNumpy, budget),
        table.Type(), data, scales.astype(np.float32), zero_points.astype(np.int64), axis,
        table.IsVariable(), table.Sparsity() is not None, custom,
    )  # fmt: skip


def _operator_code(table: Any, budget: _Budget) -> tuple[int, str, bool, int]:
    # codes up to 126 stand in the older, one-byte field; newer writers fill both
    code = max(int(table.BuiltinCode()), int(table.DeprecatedBuiltinCode()))
    if code == BuiltinOperator.CUSTOM:
        name = table.CustomCode() or b""
        budget.spend(len(name))
        return code, name[:64].decode("utf-8", "backslashreplace"), True, int(table.Version())
    return code, _OPERATOR_NAMES.get(code, f"operator code {code}"), False, int(table.Version())


def _operator(table: Any, index: int, *, codes: Sequence[tuple[int, str, bool, int]], budget: _Budget) -> RawOperator:
    number = table.OpcodeIndex()
    if number >= len(codes):
        raise BadInputError(f"operator {index} names operator code {number}, the file has {len(codes)}")
    code, kind, custom, version = codes[number]
    return RawOperator(
        index, code, kind, custom, version,
        _integers(table.InputsAsNumpy, budget), _integers(table.OutputsAsNumpy, budget), table,
    )  # fmt: skip


def _signature(model: Any, budget: _Budget) -> tuple[dict[int, bytes], dict[int, bytes]]:
    """Return the names that a file's only signature gives to tensors; none when it has no or several signatures."""
    of_main = []
    for index in range(budget.table_count(model.SignatureDefsLength(), "signatures")):
        definition = model.SignatureDefs(index)
        if definition.SubgraphIndex() == 0:
            of_main.append(definition)
    if len(of_main) != 1:
        return {}, {}

    def names(get: Callable[[int], Any], length: int) -> dict[int, bytes]:
        entries = [get(index) for index in range(budget.table_count(length, "signature entries"))]
        return {entry.TensorIndex(): (entry.Name() or b"")[:65536] for entry in entries}

    definition = of_main[0]
    return (
        names(definition.Inputs, definition.InputsLength()),
        names(definition.Outputs, definition.OutputsLength()),
    )

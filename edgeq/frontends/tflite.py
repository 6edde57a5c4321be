# SPDX-License-Identifier: Apache-2.0
"""Read .tflite files: float models, int8 and 16x8 models, and legacy uint8 models, which become int8 inside.

What stays as the file has it: the order and names of tensors (made unique and printable), QUANTIZE and DEQUANTIZE at
float inputs and outputs, and the dtypes of the model's ends, uint8 included.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgeq.errors import EdgeqError, GraphError, UnsupportedError
from edgeq.frontends.tflite_call import Call, Mapped
from edgeq.frontends.tflite_ops import RULES, Rule
from edgeq.frontends.tflite_schema import RawModel, RawOperator, read_schema
from edgeq.frontends.tflite_tensors import (
    check_input_shape,
    convert_tensor,
    has_open_size,
    is_unsigned,
    readable_name,
    unique_names,
)
from edgeq.frontends.tflite_unsigned import restore_unsigned_ends
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import ABSENT, Graph, Node, Port, Tensor
from edgeq.ir.verify import verify_graph
from edgeq.ops.verify import mixed_nodes, verify_nodes

SUFFIXES = (".tflite", ".lite")

_MAX_FOLDED_ELEMENTS = 4096  # shapes and axes computed in the graph are short
_CONTROL_FLOW = frozenset({"IF", "WHILE", "CALL", "CALL_ONCE"})

Reason = tuple[str, str, str, str]  # node, operator, reason, hint


def matches(data: bytes) -> bool:
    """Whether the bytes look like a .tflite file."""
    return data[4:8] == b"TFL3"


def read(data: bytes, name: str) -> Graph:
    """Read a .tflite file.

    Raises BadInputError, GraphError or InvalidValueError for a file that is damaged or contradicts itself, and
    UnsupportedError, whose ``reasons`` list every node concerned, for what edgeq does not do: unknown operators,
    dtypes, options, and hybrid operators (real activations with integer weights).
    """
    graph = _Reader(read_schema(data), name).graph()
    reasons = mixed_nodes(graph)
    if reasons:
        raise _refusal(reasons)
    verify_nodes(graph)
    return graph


def _refusal(reasons: Sequence[Reason]) -> UnsupportedError:
    lines = [f'{op} "{node}": {reason}' + (f"; {hint}" if hint else "") for node, op, reason, hint in reasons]
    return UnsupportedError("\n".join(lines), reasons=tuple(reasons))


class _Reader:
    """Builds the graph operator by operator; tensors are converted when something names them."""

    def __init__(self, model: RawModel, name: str) -> None:
        self._model = model
        self._name = name
        self._names = unique_names(readable_name(raw.name, raw.index) for raw in model.tensors)
        self._tensors: dict[int, Tensor] = {}  # by index in the file
        self._nodes: list[Node] = []
        self._reasons: list[Reason] = []

    def graph(self) -> Graph:
        self._check_ends()
        self._check_producers()
        names = unique_names(self._output_name(operator) for operator in self._model.operators)
        for operator, name in zip(self._model.operators, names, strict=True):
            self._add(operator, name)
        if self._reasons:
            raise _refusal(self._reasons)
        return self._numbered()

    # ---------------------------------------------------------------------------------------- what is there

    def _tensor(self, index: int) -> Tensor:
        if index not in self._tensors:
            self._tensors[index] = convert_tensor(self._model.tensors[index], self._names[index])
        return self._tensors[index]

    def _check_index(self, index: int, what: str) -> None:
        if not 0 <= index < len(self._model.tensors):
            raise GraphError(f"{what} names tensor {index}, the file has {len(self._model.tensors)}")

    def _check_ends(self) -> None:
        for what, indices in (("input", self._model.inputs), ("output", self._model.outputs)):
            for index in indices:
                self._check_index(index, f"an {what} of the model")
        if not self._model.outputs:
            raise GraphError("the model has no output")
        seen: set[int] = set()
        for index in self._model.inputs:
            raw = self._model.tensors[index]
            check_input_shape(raw, self._names[index])
            if raw.data.size > 0 or index in seen:
                raise GraphError(f'input "{self._names[index]}" is a constant, or the same tensor as another input')
            seen.add(index)

    def _check_producers(self) -> None:
        """Check operators against each other while they still have their numbers in the file."""
        written = dict.fromkeys(self._model.inputs, "an input of the model")
        for operator in self._model.operators:
            what = f"operator {operator.index} ({operator.kind})"
            for index in operator.inputs:
                if index != ABSENT:
                    self._check_index(index, what)
            for index in operator.outputs:
                self._check_index(index, what)
                if index in written or self._model.tensors[index].data.size > 0:
                    other = written.get(index, "a buffer of the file")
                    raise GraphError(f'tensor "{self._names[index]}" is written by {what}, but also by {other}')
                written[index] = what

    # ---------------------------------------------------------------------------------------- operators

    def _output_name(self, operator: RawOperator) -> str:
        """Name an operator by its first output; converters join the names of what they fused, the first tells most."""
        first = operator.outputs[0] if operator.outputs else ABSENT
        if not 0 <= first < len(self._names):
            return f"operator_{operator.index}"
        return self._names[first].split(";")[0] or self._names[first]

    def _add(self, operator: RawOperator, name: str) -> None:
        try:
            inputs = tuple(None if index == ABSENT else self._tensor(index) for index in operator.inputs)
            outputs = tuple(self._tensor(index) for index in operator.outputs)
            if not outputs:
                raise GraphError("it writes no tensor")
            unsigned = is_unsigned(self._model.tensors[operator.outputs[0]])
            self._map(operator, Call(operator, inputs, outputs, unsigned), name=name)
        except UnsupportedError as error:
            reason = error.args[0].removesuffix(f"; {error.hint}")
            self._reasons.append((name, operator.kind, f"{reason} (operator {operator.index})", error.hint or ""))
        except EdgeqError as error:
            if self._reasons:  # what follows an operator that was left out may fail for that reason
                raise _refusal(self._reasons) from error
            error.args = (f'{operator.kind} "{name}" (operator {operator.index}): {error.args[0]}',)
            raise

    def _map(self, operator: RawOperator, call: Call, *, name: str) -> None:
        mapped = _rule_of(operator)(call)
        if isinstance(mapped, np.ndarray):
            self._become_constant(operator.outputs[0], mapped)
            return
        read = tuple(call.inputs[position] if call.has(position) else None for position in mapped.inputs)
        self._settle_shapes(operator, mapped.op.infer_shape(read))
        written = [self._tensor(index) for index in operator.outputs]
        if _is_index_arithmetic([tensor for tensor in read if tensor is not None], written):
            results = mapped.op.reference([None if tensor is None else tensor.data for tensor in read])
            for index, result in zip(operator.outputs, results, strict=True):
                self._become_constant(index, result)
            return
        self._nodes.append(Node(name, mapped.op, _kept(operator, mapped), operator.outputs))

    def _become_constant(self, index: int, data: np.ndarray) -> None:
        tensor = self._tensor(index)
        if index in self._model.outputs:
            raise UnsupportedError("its result does not depend on the model's inputs, and is an output of the model")
        self._tensors[index] = replace(
            tensor, shape=data.shape, data=data.astype(tensor.dtype.numpy, copy=False), quant=None
        )

    def _settle_shapes(self, operator: RawOperator, shapes: Sequence[tuple[int, ...]]) -> None:
        """Take the operator's own shapes where the file leaves them open, else compare."""
        if len(shapes) != len(operator.outputs):
            raise GraphError(f"it has {len(operator.outputs)} outputs, {len(shapes)} expected")
        for index, shape in zip(operator.outputs, shapes, strict=True):
            tensor, raw = self._tensor(index), self._model.tensors[index]
            if tensor.shape == shape:
                continue
            if not has_open_size(raw):
                raise GraphError(f'output "{tensor.name}" should have shape {list(shape)}, {list(raw.shape)} is stated')
            self._tensors[index] = replace(tensor, shape=shape)

    # ---------------------------------------------------------------------------------------- the whole

    def _numbered(self) -> Graph:
        """Number the tensors in use in the file's order and put uint8 ends in front of and behind the graph."""
        for index in (*self._model.inputs, *self._model.outputs):
            self._tensor(index)
        used = {*self._model.inputs, *self._model.outputs}
        used.update(index for node in self._nodes for index in (*node.inputs, *node.outputs) if index != ABSENT)
        order = sorted(used)
        number = {index: place for place, index in enumerate(order)}
        number[ABSENT] = ABSENT
        graph = Graph(
            self._name,
            tuple(self._tensors[index] for index in order),
            tuple(
                replace(
                    node,
                    inputs=tuple(number[index] for index in node.inputs),
                    outputs=tuple(number[index] for index in node.outputs),
                )
                for node in self._nodes
            ),
            self._ports(self._model.inputs, self._model.input_names, number),
            self._ports(self._model.outputs, self._model.output_names, number),
        )
        verify_graph(graph)
        unsigned = [
            number[index]
            for index in dict.fromkeys((*self._model.inputs, *self._model.outputs))
            if is_unsigned(self._model.tensors[index])
        ]
        return restore_unsigned_ends(graph, unsigned)

    def _ports(self, indices: Sequence[int], names: dict[int, bytes], number: dict[int, int]) -> tuple[Port, ...]:
        if set(names) == set(indices):
            chosen = [readable_name(names[index], index) for index in indices]
        else:
            chosen = [self._names[index] for index in indices]
        return tuple(
            Port(name, number[index], self._tensors[index].dtype)
            for name, index in zip(unique_names(chosen), indices, strict=True)
        )


def _rule_of(operator: RawOperator) -> Rule:
    if operator.kind not in RULES or operator.is_custom:
        raise _unknown_operator(operator)
    newest, rule = RULES[operator.kind]
    if operator.version > newest:
        raise UnsupportedError(
            f"version {operator.version} is newer than {newest}, the newest that edgeq knows",
            hint="convert the model with an older converter",
        )
    return rule


def _unknown_operator(operator: RawOperator) -> UnsupportedError:
    if operator.is_custom:
        return UnsupportedError("custom operators are not supported", hint="convert the model with built-in operators")
    if operator.kind in _CONTROL_FLOW:
        return UnsupportedError("control flow is not supported", hint="unroll it before converting")
    nearest = difflib.get_close_matches(operator.kind, RULES, n=1, cutoff=0.5)
    return UnsupportedError(
        "the operator is not supported",
        hint=f"the nearest that is: {nearest[0]}" if nearest else "see edgeq ops",
    )


def _is_index_arithmetic(read: Sequence[Tensor], written: Sequence[Tensor]) -> bool:
    """Whether an operator computes shapes or axes from constants."""
    return (
        all(tensor.data is not None for tensor in read)
        and all(tensor.dtype in (DType.S32, DType.S64) for tensor in (*read, *written))
        and sum(tensor.elements for tensor in (*read, *written)) <= _MAX_FOLDED_ELEMENTS
    )


def _kept(operator: RawOperator, mapped: Mapped) -> tuple[int, ...]:
    """Return the inputs that the op reads; trailing optional ones that the file leaves out are ABSENT."""
    return tuple(operator.inputs[position] if position < len(operator.inputs) else ABSENT for position in mapped.inputs)

# SPDX-License-Identifier: Apache-2.0
"""Write a quantized graph as a .tflite file that LiteRT runs to the same integers.

The ends of the model keep their order, and are what the graph computes on: int8 or int16 codes, also where the source
declares float32, since real values are the caller's business. Tensors keep their names; those of the ports stand in
the file's signature. What LiteRT computes on integers is the graph under TFLITE rounding, so no other is written.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import flatbuffers
import numpy as np
from tflite.BuiltinOperator import BuiltinOperator

from edgeq.emit.flatbuffer import (
    pack_buffer,
    pack_numbers,
    pack_offsets,
    pack_operator,
    pack_operator_code,
    pack_quantization,
    pack_signature,
    pack_subgraph,
    pack_table,
)
from edgeq.emit.tflite_nodes import spell_out
from edgeq.emit.tflite_ops import TYPE_CODES, Use, Written, write_node
from edgeq.errors import UnsupportedError, UsageError
from edgeq.frontends.tflite_schema import IDENTIFIER, SCHEMA_VERSION
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Graph, Node, Port, Tensor
from edgeq.ops.fully_connected import FullyConnected

Reason = tuple[str, str, str, str]  # node, operator, reason, hint

LISTED = 8  # channels that a warning names


def write_tflite(graph: Graph) -> bytes:
    """Return an integer graph as a .tflite file; the same graph gives the same bytes.

    Raises UsageError for low-bit weights, which a recipe asked for, and UnsupportedError naming every node that no
    operator of the format computes alike. Warns where LiteRT may give the code beside ours.
    """
    coded = [tensor.name for tensor in graph.tensors if tensor.coding is not None]
    if coded:
        raise UsageError(
            f"a .tflite has no place for low-bit weights such as {coded[0]!r}",
            hint="use a recipe with int8 weights, such as int8 or int16x8",
        )
    graph = spell_out(graph)
    _warn_of_doubles(graph)
    return _Writer(graph, _write_all(graph)).file()


def _write_all(graph: Graph) -> list[Written]:
    found: list[Written] = []
    reasons: list[Reason] = []
    for node in graph.nodes:
        try:
            found.append(write_node(Use(node.op, graph.input_tensors(node), graph.output_tensors(node))))
        except UnsupportedError as error:
            reasons.append((node.name, node.op.name, str(error), "the .eqm runs it all the same"))
    if reasons:
        lines = [f'{op} "{name}" cannot be said in a .tflite: {reason}' for name, op, reason, _ in reasons]
        raise UnsupportedError("\n".join(lines), hint=reasons[0][3], reasons=tuple(reasons))
    return found


def _warn_of_doubles(graph: Graph) -> None:
    """Warn of int16 FULLY_CONNECTED layers with channels that no multiplier of 31 bits serves: LiteRT's is a double."""
    found = []
    for node in graph.nodes:
        if isinstance(node.op, FullyConnected) and graph.tensors[node.inputs[0]].dtype is DType.S16:
            channels = node.op.inexact_channels(graph.input_tensors(node), graph.output_tensors(node))
            if channels:
                found.append((node.name, channels))
    if found:
        name, channels = found[0]
        listed = ", ".join(str(channel) for channel in channels[:LISTED]) + (", ..." if len(channels) > LISTED else "")
        warnings.warn(
            f"int16 fully connected layers ({len(found)}, {name!r} the first, in channels {listed}): LiteRT gives the "
            "code beside ours in about 1 of 250,000 outputs; with power-of-two scales it does not",
            stacklevel=3,
        )


class _Writer:
    """Packs one graph; operator codes and constants that are alike are written once."""

    def __init__(self, graph: Graph, written: Sequence[Written]) -> None:
        self._graph = graph
        self._written = written
        self._builder = flatbuffers.Builder(1024)
        self._codes: dict[tuple[str, int], int] = {}
        self._buffers: dict[bytes, int] = {b"": 0}
        self._constants: dict[tuple[tuple[int, ...], bytes], int] = {}  # of attributes, by shape and contents
        self._tensors = [self._tensor(tensor) for tensor in graph.tensors]

    def file(self) -> bytes:
        builder, graph = self._builder, self._graph
        operators = [self._operator(*pair) for pair in zip(graph.nodes, self._written, strict=True)]
        subgraph = pack_subgraph(
            builder,
            tensors=self._tensors,
            operators=operators,
            inputs=[port.tensor for port in graph.inputs],
            outputs=[port.tensor for port in graph.outputs],
        )
        codes = [pack_operator_code(builder, getattr(BuiltinOperator, kind), version) for kind, version in self._codes]
        model = {
            "Version": SCHEMA_VERSION,
            "OperatorCodes": pack_offsets(builder, codes),
            "Subgraphs": pack_offsets(builder, [subgraph]),
            "Buffers": pack_offsets(builder, [pack_buffer(builder, data) for data in self._buffers]),
            "Description": builder.CreateString("edgeq"),
            "SignatureDefs": pack_signature(builder, _named(graph.inputs), _named(graph.outputs)),
        }
        builder.Finish(pack_table(builder, "Model", model), file_identifier=IDENTIFIER)
        return bytes(builder.Output())

    def _operator(self, node: Node, written: Written) -> int:
        code = (written.kind, written.version)
        inputs = [
            self._constant(given, node.name) if isinstance(given, np.ndarray) else node.inputs[given]
            for given in written.inputs
        ]
        number = self._codes.setdefault(code, len(self._codes))
        return pack_operator(self._builder, number, inputs, node.outputs, written.options)

    def _constant(self, values: np.ndarray, name: str) -> int:
        """Return the tensor of an attribute."""
        key = (values.shape, values.tobytes())
        if key not in self._constants:
            self._constants[key] = len(self._tensors)
            self._tensors.append(self._tensor(Tensor(f"{name}/attribute", values.shape, DType.S32, data=values)))
        return self._constants[key]

    def _tensor(self, tensor: Tensor) -> int:
        data = b"" if tensor.data is None else tensor.data.astype(tensor.dtype.numpy.newbyteorder("<")).tobytes()
        quant = tensor.quant
        parameters = quant and pack_quantization(self._builder, quant.scales, quant.zero_points, quant.axis or 0)
        fields = {
            "Shape": pack_numbers(self._builder, tensor.shape, np.int32),
            "Type": TYPE_CODES[tensor.dtype],
            "Buffer": self._buffers.setdefault(data, len(self._buffers)),
            "Name": self._builder.CreateString(tensor.name),
            "Quantization": parameters,
        }
        return pack_table(self._builder, "Tensor", fields)


def _named(ports: Sequence[Port]) -> list[tuple[str, int]]:
    return [(port.name, port.tensor) for port in ports]

# SPDX-License-Identifier: Apache-2.0
"""Static post-training quantization: a float graph and calibration data to an int8 graph.

Weights are symmetric with one scale per output channel, activations asymmetric with one scale per tensor, biases int32
at the accumulator's scale. Source: Jacob et al., arXiv 1712.05877; Krishnamoorthi, arXiv 1806.08342.
"""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

import numpy as np

from edgeq.errors import EdgeqError, InvalidValueError, UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import ABSENT, Graph, Node, Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import RangeRule
from edgeq.quantize.affine import (
    least_scales,
    params_of_range,
    quantize,
    quantize_bias,
    quantize_weights,
    round_range,
)
from edgeq.quantize.calibrate import calibrate
from edgeq.quantize.data import align_batch
from edgeq.quantize.fidelity import output_noise
from edgeq.quantize.groups import Groups, find_groups, separate_fixed
from edgeq.quantize.methods.base import Method, require_finite
from edgeq.quantize.methods.equalize import equalized_variants
from edgeq.rewrite.dead import remove_dead

Range = tuple[float, float]
TRIED = 64  # samples on which the variants of equalization compete


def quantize_static(
    graph: Graph,
    batches: Iterable[Sequence[np.ndarray]],
    *,
    method: Method,
    io_dtype: DType = DType.F32,
    equalized: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Graph:
    """Return the int8 graph of a float graph, ranges chosen by ``method`` from ``batches``.

    Each batch is one array per input, first axis = samples. Inputs and outputs are declared as ``io_dtype``: F32 lets
    callers pass and get real values, S8 codes. ``equalized`` first rescales the channels of hidden tensors where that
    brings the outputs nearer to the float graph's; without it every tensor keeps the source model's values.
    ``progress`` is called with the number of samples done.

    Raises UnsupportedError for a graph that holds quantized tensors already, InvalidValueError for constants or data
    that are not finite and for a bias that does not fit int32, BadInputError for data that the inputs do not take.
    """
    graph = _checked(graph)
    if equalized:
        graph, batches = _equalize(graph, batches, method)
    return _quantize(graph, batches, method=method, io_dtype=io_dtype, progress=progress)


def _quantize(
    graph: Graph,
    batches: Iterable[Sequence[np.ndarray]],
    *,
    method: Method,
    io_dtype: DType = DType.F32,
    progress: Callable[[int], None] | None = None,
) -> Graph:
    graph = separate_fixed(graph)
    groups = find_groups(graph)
    wanted = [index for index, group in groups.of.items() if group not in groups.fixed]
    observers = calibrate(graph, batches, wanted, method=method, progress=progress)
    return _Quantizer(graph, groups, {index: observer.range() for index, observer in observers.items()}).run(io_dtype)


def _equalize(
    graph: Graph, batches: Iterable[Sequence[np.ndarray]], method: Method
) -> tuple[Graph, Iterable[Sequence[np.ndarray]]]:
    """Return the variant of the graph that, quantized, is nearest to it on some samples, and the batches unread."""
    iterator = iter(batches)
    held: list[list[np.ndarray]] = []
    while sum(len(batch[0]) for batch in held) < TRIED and (batch := next(iterator, None)) is not None:
        held.append(align_batch(graph, batch))
    if any(len(batch[0]) for batch in held):
        tried = [np.concatenate(arrays)[:TRIED] for arrays in zip(*held, strict=True)]
        # an error of this rehearsal would come again, with the node's name, in the real run or in its planning
        with warnings.catch_warnings(), contextlib.suppress(EdgeqError):
            warnings.simplefilter("ignore")
            graph = _nearest(graph, tried, method)
    return graph, chain(held, iterator)


def _nearest(graph: Graph, tried: list[np.ndarray], method: Method) -> Graph:
    """Return the graph or its equalized variant, whichever is less noisy when quantized with these samples."""
    variants = equalized_variants(graph, [tried])
    if not variants:
        return graph
    candidates = [graph, *variants]
    noises = [output_noise(graph, _quantize(which, [tried], method=method), tried) for which in candidates]
    return candidates[int(np.argmin(noises))]


def quantize_for_shape(graph: Graph) -> Graph:
    """Return an int8 graph with made-up activation ranges about [-1, 1]: right in size, meaningless in value.

    The ranges differ a little from each other, as real ones would, so that no two tables become one.
    """
    graph = separate_fixed(_checked(graph))
    groups = find_groups(graph)
    reaches = {index: 1 + (group % 1000) / 1000 for index, group in groups.of.items()}
    ranges = {index: (-reach, reach) for index, reach in reaches.items()}
    return _Quantizer(graph, groups, ranges).run(DType.F32)


def _checked(graph: Graph) -> Graph:
    for tensor in graph.tensors:
        if tensor.quant is not None:
            raise UnsupportedError(
                f"{graph.name}: tensor {tensor.name!r} is quantized already", hint="give the float model"
            )
        if tensor.data is not None and tensor.dtype is DType.F32:
            require_finite(tensor.data, f"constant {tensor.name!r}")
    return graph


class _Quantizer:
    """Builds the quantized graph; constants get one copy for each way in which they are used."""

    def __init__(self, graph: Graph, groups: Groups, ranges: Mapping[int, Range]) -> None:
        self.graph = graph
        self.tensors = list(graph.tensors)
        self.copies: dict[tuple[object, ...], int] = {}
        joined: dict[int, Range] = {}
        for index, (low, high) in (*ranges.items(), *_constant_ranges(graph, groups)):
            before = joined.get(groups.of[index], (0.0, 0.0))
            joined[groups.of[index]] = (min(before[0], low), max(before[1], high))
        names = {group: graph.tensors[group].name for group in joined}
        params = {
            group: params_of_range(round_range(low), round_range(high), name=names[group])
            for group, (low, high) in joined.items()
        } | groups.fixed
        self.params = {index: params[group] for index, group in groups.of.items()}

    def run(self, io_dtype: DType) -> Graph:
        for index, params in self.params.items():
            self.tensors[index] = dataclasses.replace(self.tensors[index], dtype=DType.S8, quant=params)
        nodes = []
        for node in self.graph.nodes:
            try:
                nodes.append(dataclasses.replace(node, inputs=self._inputs(node)))
            except InvalidValueError as error:
                raise InvalidValueError(f"{node.op.name} {node.name!r}: {error}") from None
        outputs = [dataclasses.replace(port, tensor=self._plain(port.tensor)) for port in self.graph.outputs]
        inputs = list(self.graph.inputs)
        if io_dtype is not DType.F32:
            inputs, outputs = (
                [dataclasses.replace(port, dtype=io_dtype if port.dtype is DType.F32 else port.dtype) for port in ports]
                for ports in (inputs, outputs)
            )
        return remove_dead(self.graph.replace(tensors=self.tensors, nodes=nodes, inputs=inputs, outputs=outputs))

    def _inputs(self, node: Node) -> tuple[int, ...]:
        """Return the node's inputs with each float constant replaced by its quantized copy."""
        inputs = list(node.inputs)
        weight, bias = (
            position
            if position is not None and position < len(inputs) and self._is_constant(inputs[position])
            else None
            for position in (node.op.weight_input, node.op.bias_input)
        )
        for position, index in enumerate(inputs):
            if not self._is_constant(index) or position == bias:
                continue
            if position == weight:
                least = None if bias is None else self._least_scales(inputs[bias], inputs[0])
                inputs[position] = self._weights(index, node.op.weight_axis, least)
            elif node.op.range_rule is RangeRule.SAME and node.outputs[0] in self.params:
                inputs[position] = self._plain(index, self.params[node.outputs[0]])
            else:
                inputs[position] = self._plain(index)
        if bias is not None:
            inputs[bias] = self._bias(inputs[bias], inputs[0], inputs[node.op.weight_input])
        return tuple(inputs)

    def _is_constant(self, index: int) -> bool:
        return index != ABSENT and self.tensors[index].is_constant and self.tensors[index].dtype is DType.F32

    def _least_scales(self, bias: int, source: int) -> np.ndarray:
        params = self.tensors[source].quant
        assert params is not None
        return least_scales(self._constant(bias)[1], params.scale)

    def _weights(self, index: int, axis: int, least: np.ndarray | None) -> int:
        tensor, data = self._constant(index)
        codes, params = quantize_weights(data, axis, name=tensor.name, least=least)
        key = (index, "weights", params)
        return self.copies[key] if key in self.copies else self._copy(key, tensor, codes, params)

    def _bias(self, index: int, source: int, weights: int) -> int:
        tensor, data = self._constant(index)
        source_params, params = self.tensors[source].quant, self.tensors[weights].quant
        assert source_params is not None
        assert params is not None
        scale = source_params.scale
        key = (index, "bias", scale, weights)
        if key in self.copies:
            return self.copies[key]
        return self._copy(key, tensor, *quantize_bias(data, input_scale=scale, weights=params))

    def _plain(self, index: int, params: QuantParams | None = None) -> int:
        """Return a constant's int8 copy with the given parameters or those of its own range; others as they are."""
        if not self._is_constant(index):
            return index
        tensor, data = self._constant(index)
        params = params or params_of_range(*_range_of(data), name=tensor.name)
        key = (index, "plain", params)
        return self.copies[key] if key in self.copies else self._copy(key, tensor, quantize(data, params), params)

    def _constant(self, index: int) -> tuple[Tensor, np.ndarray]:
        tensor = self.tensors[index]
        assert tensor.data is not None
        return tensor, tensor.data

    def _copy(self, key: tuple[object, ...], tensor: Tensor, codes: np.ndarray, params: QuantParams) -> int:
        self.tensors.append(dataclasses.replace(tensor, dtype=DType.of_numpy(codes.dtype), quant=params, data=codes))
        self.copies[key] = len(self.tensors) - 1
        return self.copies[key]


def _constant_ranges(graph: Graph, groups: Groups) -> list[tuple[int, Range]]:
    """List what constants add to the groups of the SAME operators that read them."""
    found = []
    for node in graph.nodes:
        if node.op.range_rule is RangeRule.SAME and node.outputs[0] in groups.of:
            for index in node.inputs:
                data = None if index == ABSENT else graph.tensors[index].data
                if data is not None and data.size and graph.tensors[index].dtype is DType.F32:
                    found.append((node.outputs[0], _range_of(data)))
    return found


def _range_of(data: np.ndarray) -> Range:
    return (float(data.min()), float(data.max())) if data.size else (0.0, 0.0)

# SPDX-License-Identifier: Apache-2.0
"""Static post-training quantization: a float graph and a recipe to an integer graph.

Activations have one scale per tensor, int8 ones a zero point, biases the accumulator's scale; weights come in the
formats of quantize/methods. Source: Jacob et al., arXiv 1712.05877; Krishnamoorthi, arXiv 1806.08342.
"""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from edgeq.errors import EdgeqError, InvalidValueError, UnsupportedError, UsageError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import ABSENT, Graph, Node, Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import RangeRule
from edgeq.ops.dynamic_rows import RowRange
from edgeq.quantize.affine import params_of_range, quantize, quantize_bias, quantize_weights, round_range
from edgeq.quantize.assign import assign
from edgeq.quantize.calibrate import calibrate, no_samples
from edgeq.quantize.data import align_batch
from edgeq.quantize.declared import Declared
from edgeq.quantize.dynamic import Rows, dynamic_layers
from edgeq.quantize.expected import correct_biases
from edgeq.quantize.fidelity import output_noise
from edgeq.quantize.groups import Groups, find_groups, separate_fixed
from edgeq.quantize.islands import Typed, separate_dtypes
from edgeq.quantize.layers import from_rows
from edgeq.quantize.methods import parse
from edgeq.quantize.methods.base import Method, require_finite
from edgeq.quantize.methods.compensation import Rounded
from edgeq.quantize.methods.transform import Transform
from edgeq.quantize.propagate import propagate
from edgeq.quantize.recipe import Recipe, parse_declared
from edgeq.quantize.repeats import find_repeats
from edgeq.quantize.rounding import real_weights, round_weights
from edgeq.quantize.synthetic import synthetic_batches
from edgeq.rewrite.dead import remove_dead

Range = tuple[float, float]
Batches = Iterable[Sequence[np.ndarray]]
HELD = 256  # samples that stay in memory: for transforms, and for what compensates errors
TRIED = 64  # samples on which variants of the float graph compete


def quantize_static(
    graph: Graph,
    batches: Batches,
    recipe: Recipe,
    *,
    io_dtype: DType = DType.F32,
    keep_values: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Graph:
    """Return the integer graph of a float graph.

    Each batch is one array per input, first axis = samples. Inputs and outputs are declared as ``io_dtype``: F32 lets
    callers pass and get real values, S8 codes. With ``keep_values`` the recipe's transforms are left out, so that every
    tensor keeps the source model's values. ``progress`` is called with the number of samples done.

    Raises UnsupportedError for a graph that holds quantized tensors already, InvalidValueError for constants or data
    that are not finite and for a bias that does not fit int32, BadInputError for data that the inputs do not take and
    for scopes that match nothing.
    """
    found = decide(graph, batches, recipe, keep_values=keep_values, progress=progress).integers(io_dtype)
    if recipe.run_time_scales == "none":
        return found
    row_range = RowRange[recipe.run_time_ranges.upper()]
    return dynamic_layers(found, rows=Rows(recipe.run_time_scales), row_range=row_range)


def decide(
    graph: Graph,
    batches: Batches,
    recipe: Recipe,
    *,
    keep_values: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Decisions:
    """Return what the recipe decides; arguments and errors are those of ``quantize_static``."""
    graph = _checked(graph)
    if recipe.ranges == "synthetic":
        batches = synthetic_batches(graph, inputs=_declared(graph, recipe), rng=np.random.default_rng(0))
    held, batches = ([], ()) if recipe.ranges == "propagated" else _hold(graph, batches)
    if recipe.ranges == "data" and not held:
        raise no_samples(graph)
    if not keep_values:
        for text in recipe.transforms:
            graph = _transformed(graph, parse(text, Transform), held, recipe)
    return _decide(graph, batches, held, recipe, progress=progress)


def _hold(graph: Graph, batches: Batches) -> tuple[list[np.ndarray], Batches]:
    """Return up to 256 samples, one array per input, none where there are none, and the batches unread."""
    iterator = iter(batches)
    held: list[list[np.ndarray]] = []
    while sum(len(batch[0]) for batch in held) < HELD and (batch := next(iterator, None)) is not None:
        held.append(align_batch(graph, batch))
    if not any(len(batch[0]) for batch in held):
        return [], chain(held, iterator)
    return [np.concatenate(arrays)[:HELD] for arrays in zip(*held, strict=True)], chain(held, iterator)


@dataclass(frozen=True)
class Decisions:
    """All that a recipe decides of a float graph, before anything is turned into integers."""

    typed: Typed
    groups: Groups
    params: dict[int, QuantParams]  # of every activation
    rounded: dict[int, Rounded]  # weights and bias of every linear layer, by the index of its output

    def integers(self, io_dtype: DType = DType.F32) -> Graph:
        """Return the integer graph."""
        return _Quantizer(self.typed, self.params, self.rounded).run(io_dtype)


def _decide(
    graph: Graph,
    batches: Batches,
    held: list[np.ndarray],
    recipe: Recipe,
    *,
    progress: Callable[[int], None] | None = None,
) -> Decisions:
    graph = separate_fixed(graph)
    typed = separate_dtypes(graph, assign(graph, recipe))
    joined = find_repeats(typed.graph, states=recipe.share_states) if recipe.share_repeats else ()
    groups = find_groups(typed.graph, typed.dtypes, joined=joined)
    wanted = [index for index, group in groups.of.items() if group not in groups.fixed]
    if recipe.ranges == "propagated":
        moments = propagate(typed.graph, inputs=_declared(graph, recipe))
        ranges = {index: moments[index].range for index in wanted}
    else:
        observers = calibrate(typed.graph, batches, wanted, method=parse(recipe.observer, Method), progress=progress)
        ranges = {index: observer.range() for index, observer in observers.items()}
    params = choose_params(typed, groups, ranges, scales=recipe.scales)
    rounded = round_weights(typed, params, held, pot=recipe.scales == "pot", exact=recipe.rounding == "tflite")
    if recipe.ranges == "propagated":
        means = {index: found.mean for index, found in moments.items()}
        biases = correct_biases(typed.graph, real_weights(typed.graph, rounded), means)
        rounded = {index: dataclasses.replace(rounded[index], bias=bias) for index, bias in biases.items()}
    return Decisions(typed, groups, params, rounded)


def _declared(graph: Graph, recipe: Recipe) -> list[Declared]:
    """Return what the recipe says of each input."""
    said = [parse_declared(text) for text in recipe.inputs]
    if len(said) not in (1, len(graph.inputs)):
        raise UsageError(
            f"recipe {recipe.name!r} says something of {len(said)} inputs, {graph.name!r} has {len(graph.inputs)}",
            hint="without data, say their range, --inputs 0..1, or their mean and deviation, --inputs 0+-1",
        )
    return said * len(graph.inputs) if len(said) == 1 else said


def _transformed(graph: Graph, transform: Transform, held: list[np.ndarray], recipe: Recipe) -> Graph:
    """Return the graph, rewritten; of several variants the one that, quantized, is nearest to it on some samples."""
    variants = transform.variants(graph, [held] if held else [])
    if len(variants) <= 1:
        return variants[0] if variants else graph
    tried = [array[:TRIED] for array in held]
    plain = dataclasses.replace(recipe, transforms=(), compensation=())
    # an error of this rehearsal would come again, with the node's name, in the real run or in its planning
    with warnings.catch_warnings(), contextlib.suppress(EdgeqError):
        warnings.simplefilter("ignore")
        noises = [output_noise(graph, _decide(which, [tried], tried, plain).integers(), tried) for which in variants]
        return variants[int(np.argmin(noises))]
    return graph


def quantize_for_shape(graph: Graph) -> Graph:
    """Return an int8 graph with made-up activation ranges about [-1, 1]: right in size, meaningless in value.

    The ranges differ a little from each other, as real ones would, so that no two tables become one.
    """
    graph = separate_fixed(_checked(graph))
    typed = separate_dtypes(graph, assign(graph, Recipe()))
    groups = find_groups(typed.graph)
    reaches = {index: 1 + (group % 1000) / 1000 for index, group in groups.of.items()}
    params = choose_params(typed, groups, {index: (-reach, reach) for index, reach in reaches.items()})
    return Decisions(typed, groups, params, round_weights(typed, params, [])).integers()


def _checked(graph: Graph) -> Graph:
    for tensor in graph.tensors:
        if tensor.quant is not None:
            raise UnsupportedError(
                f"{graph.name}: tensor {tensor.name!r} is quantized already", hint="give the float model"
            )
        if tensor.data is not None and tensor.dtype is DType.F32:
            require_finite(tensor.data, f"constant {tensor.name!r}")
    return graph


def choose_params(
    typed: Typed, groups: Groups, ranges: Mapping[int, Range], *, scales: str = "asymmetric"
) -> dict[int, QuantParams]:
    """Return the parameters of every activation from the ranges that were seen; tensors of a group share them."""
    joined: dict[int, Range] = {}
    for index, (low, high) in (*ranges.items(), *_constant_ranges(typed.graph, groups)):
        before = joined.get(groups.of[index], (0.0, 0.0))
        joined[groups.of[index]] = (min(before[0], low), max(before[1], high))
    params = {
        group: params_of_range(
            round_range(low),
            round_range(high),
            name=typed.graph.tensors[group].name,
            dtype=typed.dtypes[group],
            scales=scales,
        )
        for group, (low, high) in joined.items()
    } | groups.fixed
    return {index: params[group] for index, group in groups.of.items()}


class _Quantizer:
    """Builds the quantized graph; constants get one copy for each way in which they are used."""

    def __init__(self, typed: Typed, params: Mapping[int, QuantParams], rounded: Mapping[int, Rounded]) -> None:
        self.graph = typed.graph
        self.dtypes = typed.dtypes
        self.params = params
        self.rounded = rounded
        self.tensors = list(typed.graph.tensors)
        self.copies: dict[tuple[object, ...], int] = {}

    def run(self, io_dtype: DType) -> Graph:
        for index, params in self.params.items():
            self.tensors[index] = dataclasses.replace(self.tensors[index], dtype=self.dtypes[index], quant=params)
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
        if node.outputs[0] in self.rounded:
            return self._layer_inputs(node, self.rounded[node.outputs[0]])
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
                inputs[position] = self._weights(index, node.op.weight_axis)
            elif node.op.range_rule is RangeRule.SAME and node.outputs[0] in self.params:
                inputs[position] = self._plain(index, self.params[node.outputs[0]])
            else:
                inputs[position] = self._plain(index, dtype=self.dtypes.get(node.outputs[0], DType.S8))
        if bias is not None:
            tensor, data = self._constant(inputs[bias])
            inputs[bias] = self._bias(tensor, data, inputs[0], inputs[node.op.weight_input])
        return tuple(inputs)

    def _layer_inputs(self, node: Node, rounded: Rounded) -> tuple[int, ...]:
        """Return the inputs of a linear layer whose weights and bias are decided."""
        source, weights = node.inputs[:2]
        tensor = self.tensors[weights]
        axis = node.op.weight_axis
        params = QuantParams.per_channel(rounded.grid.scales, axis)
        key = (weights, rounded.codes.tobytes(), params)
        if key not in self.copies:
            codes = from_rows(rounded.codes, tensor.shape, axis)
            self._copy(key, dataclasses.replace(tensor, coding=rounded.grid.coding), codes, params)
        inputs = [source, self.copies[key]]
        given = node.inputs[2] if len(node.inputs) > 2 else ABSENT
        if given == ABSENT and not np.any(rounded.bias):
            return (*inputs, *node.inputs[2:])
        bias = self.tensors[given] if given != ABSENT else Tensor(f"{node.name}/bias", rounded.bias.shape, DType.F32)
        return (*inputs, self._bias(bias, rounded.bias, source, inputs[1]))

    def _is_constant(self, index: int) -> bool:
        return index != ABSENT and self.tensors[index].is_constant and self.tensors[index].dtype is DType.F32

    def _weights(self, index: int, axis: int) -> int:
        tensor, data = self._constant(index)
        codes, params = quantize_weights(data, axis, name=tensor.name)
        key = (index, "weights", params)
        return self.copies[key] if key in self.copies else self._copy(key, tensor, codes, params)

    def _bias(self, tensor: Tensor, data: np.ndarray, source: int, weights: int) -> int:
        source_params, params = self.tensors[source].quant, self.tensors[weights].quant
        assert source_params is not None
        assert params is not None
        wide = self.tensors[source].dtype is DType.S16 or self.tensors[weights].coding is not None
        key = ("bias", data.tobytes(), source_params.scale, weights, wide)
        if key in self.copies:
            return self.copies[key]
        dtype = DType.S64 if wide else DType.S32
        codes, quant = quantize_bias(data.reshape(-1), input_scale=source_params.scale, weights=params, dtype=dtype)
        return self._copy(key, tensor, codes, quant)

    def _plain(self, index: int, params: QuantParams | None = None, *, dtype: DType = DType.S8) -> int:
        """Return a constant's integer copy with the given parameters or those of its own range; others as they are."""
        if not self._is_constant(index):
            return index
        tensor, data = self._constant(index)
        params = params or params_of_range(*_range_of(data), name=tensor.name, dtype=dtype)
        key = (index, "plain", params, dtype)
        if key in self.copies:
            return self.copies[key]
        return self._copy(key, tensor, quantize(data, params, dtype), params)

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

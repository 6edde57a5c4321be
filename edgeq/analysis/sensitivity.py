# SPDX-License-Identifier: Apache-2.0
"""What each way to quantize a layer costs, and what it does to the model's output when nothing else is quantized."""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from edgeq.analysis.predict import predict
from edgeq.board import Board
from edgeq.compile.constants import ConstantPool
from edgeq.compile.plan import Plan
from edgeq.compile.planner import make_plan
from edgeq.format.params import pack_step
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import ABSENT, Graph, Node
from edgeq.ops.base import Rounding
from edgeq.ops.execute import run_float
from edgeq.quantize.layers import is_linear
from edgeq.quantize.recipe import Recipe, Scope
from edgeq.quantize.static import Decisions, decide
from edgeq.quantize.walk import fake_quantize, quantized_constants
from edgeq.rewrite.batch import evaluation_batch
from edgeq.rewrite.shrink import shrink

# What a layer may get, by name, as scopes say it; nodes and operator are filled in for each layer.
MENU: Mapping[str, Scope] = {
    "int16x8": Scope(weights="int8", activations="int16"),
    "int8": Scope(weights="int8"),
    "int4": Scope(weights="int:bits=4"),
    "int4-group": Scope(weights="int:bits=4,group=64"),
    "codebook4": Scope(weights="codebook:bits=4"),
    "codebook3": Scope(weights="codebook:bits=3"),
    "log4": Scope(weights="pot:bits=4"),
    "apot4": Scope(weights="apot:bits=4"),
    "ternary": Scope(weights="ternary"),
}


@dataclass(frozen=True)
class Layer:
    """A linear layer: the nodes that share its weights."""

    name: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """One choice for one layer.

    ``bytes`` are those of its parameters and constants in a model file, ``cycles`` the predicted ones, None for a core
    without a table. ``noise`` is error power over signal power at the model's outputs with this layer alone quantized.
    """

    bytes: int
    cycles: float | None
    noise: float


@dataclass(frozen=True)
class ChoiceCosts:
    """A choice made for all layers: each layer's share by name, and the arena of that model."""

    layers: Mapping[str, Measured]
    arena_bytes: int


def find_layers(graph: Graph) -> list[Layer]:
    """Return the linear layers of a float graph in order; nodes that share weights, or a name, are one."""
    by_weights: dict[int, list[str]] = {}
    for node in graph.nodes:
        if is_linear(graph, node):
            by_weights.setdefault(node.inputs[1], []).append(node.name)
    merged: list[list[str]] = []
    for names in by_weights.values():
        same = next((group for group in merged if set(group) & set(names)), None)
        if same is None:
            merged.append(list(dict.fromkeys(names)))
        else:
            same += [name for name in names if name not in same]
    return [Layer(names[0], tuple(names)) for names in merged]


def scopes_of(graph: Graph, layer: Layer, choice: Scope) -> tuple[Scope, ...]:
    """Return scopes that give a choice to the nodes of a layer and to no others."""
    escaped = [glob.escape(name) for name in layer.nodes]
    if len(escaped) > 1:
        prefix = glob.escape(_common(layer.nodes))
        suffix = glob.escape(_common([name[::-1] for name in layer.nodes])[::-1])
        whole = dataclasses.replace(choice, nodes=f"{prefix}*{suffix}")
        matched = {node.name for node in graph.nodes if fnmatchcase(node.name, whole.nodes)}
        if matched == set(layer.nodes):
            return (whole,)
    return tuple(dataclasses.replace(choice, nodes=name) for name in escaped)


def _common(names: Sequence[str]) -> str:
    first, last = min(names), max(names)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(map(len, names)))
    return first[:length]


def measure_choice(
    graph: Graph,
    samples: Sequence[np.ndarray],
    recipe: Recipe,
    choice: Scope,
    *,
    board: Board,
) -> ChoiceCosts:
    """Quantize every layer by a choice and measure each alone; samples are one array (n, ...) per input.

    The recipe's transforms are applied, its scopes are not. Raises what ``decide`` and planning raise.
    """
    changes = {key: value for key in ("weights", "activations", "compensation") if (value := getattr(choice, key))}
    decisions = decide(graph, [samples], dataclasses.replace(recipe, scopes=(), **changes))
    found = find_layers(graph)
    noises = _noises(decisions, samples, found)
    roomy = dataclasses.replace(board, ram_bytes=None)
    rounding = Rounding(recipe.rounding or "native")
    plan = make_plan(shrink(decisions.integers(), rounding=rounding).graph, rounding=rounding, board=roomy)
    prediction = predict(plan, board)
    cycles: dict[str, float] = {}
    if prediction is not None:
        for planned, step_cycles in zip(plan.steps, prediction.steps, strict=True):
            cycles[planned.name] = cycles.get(planned.name, 0.0) + step_cycles
    measured = {
        layer.name: Measured(
            bytes=stored_bytes(plan, layer.nodes),
            cycles=None if prediction is None else sum(cycles.get(name, 0.0) for name in layer.nodes),
            noise=noises[layer.name],
        )
        for layer in found
    }
    return ChoiceCosts(measured, plan.arena_bytes)


def stored_bytes(plan: Plan, nodes: Sequence[str]) -> int:
    """Return what the parameters and constants of the steps of some nodes take in a model file, equal ones once."""
    pool, params = ConstantPool(), set[bytes]()
    for planned in plan.steps:
        if planned.name in nodes:
            params.add(pack_step(planned.step.packed(plan.layout), pool))
    return sum(map(len, params)) + len(pool.data)


def _noises(decisions: Decisions, samples: Sequence[np.ndarray], layers: Sequence[Layer]) -> dict[str, float]:
    """Return the noise at the outputs with one layer quantized at a time: its weights, what it reads of the model's
    inputs, and what it writes."""
    graph = decisions.typed.graph
    totals = {layer.name: 0.0 for layer in layers}
    signal = 0.0
    runner, size = evaluation_batch(graph, len(samples[0]))
    for start in range(0, len(samples[0]) - size + 1, size):
        exact: dict[int, np.ndarray] = {}
        feeds = [array[start : start + size] for array in samples]
        run_float(runner, feeds, observe=exact.__setitem__)
        exact |= {port.tensor: feed for port, feed in zip(runner.inputs, feeds, strict=True)}
        wanted = [port.tensor for port in runner.outputs if port.tensor in exact]
        signal += sum(float(np.sum(exact[index].astype(np.float64) ** 2)) for index in wanted)
        for layer in layers:
            changed = _run_alone(decisions, runner, exact, set(layer.nodes))
            for index in wanted:
                error = changed.get(index, exact[index]).astype(np.float64) - exact[index]
                totals[layer.name] += float(np.sum(error**2))
    return {name: total / max(signal, 1e-30) for name, total in totals.items()}


def _run_alone(
    decisions: Decisions, runner: Graph, exact: Mapping[int, np.ndarray], names: set[str]
) -> dict[int, np.ndarray]:
    """Return the values that change when the nodes of these names alone are quantized; all others are exact."""
    graph = decisions.typed.graph
    ports = {port.tensor for port in runner.inputs}
    changed: dict[int, np.ndarray] = {}
    readers = {index for node in graph.nodes for index in node.inputs}
    for node in runner.nodes:
        own = node.name in names and node.outputs[0] in decisions.rounded
        if own:
            changed |= {i: _coded(decisions, i, exact[i]) for i in node.inputs if i in ports and i not in changed}
        if not own and not any(index in changed for index in node.inputs):
            continue
        replaced = quantized_constants(graph, node, decisions.rounded[node.outputs[0]]) if own else {}
        for index, value in _outputs(runner, node, {**exact, **changed}, replaced).items():
            coarse = own and index in decisions.params
            # int16 codes that other layers read become int8 again on their way
            small = decisions.typed.dtypes.get(index) is DType.S16 and index in readers
            changed[index] = _coded(decisions, index, value, small=small) if coarse else value
    return changed


def _coded(decisions: Decisions, index: int, values: np.ndarray, *, small: bool = False) -> np.ndarray:
    """Return values as a tensor's codes stand for them; with ``small`` as int8 codes of the values' own range do."""
    if index not in decisions.params:
        return values
    params, dtype = decisions.params[index], decisions.typed.dtypes[index]
    if not small:
        return fake_quantize(values, params, dtype)
    step = (max(float(values.max()), 0.0) - min(float(values.min()), 0.0)) / 255 or 1.0
    return np.asarray(np.rint(values / step) * step, np.float32)


def _outputs(
    runner: Graph, node: Node, values: Mapping[int, np.ndarray], replaced: Mapping[int, np.ndarray]
) -> dict[int, np.ndarray]:
    inputs = [
        None if index == ABSENT else values[index] if index in values else runner.tensors[index].data
        for index in node.inputs
    ]
    inputs += [None] * (max(replaced, default=0) + 1 - len(inputs))  # a bias that the layer did not have
    for place, constant in replaced.items():
        inputs[place] = constant
    with np.errstate(over="ignore", under="ignore"):
        results = node.op.reference(inputs)
    return {index: np.asarray(result) for index, result in zip(node.outputs, results, strict=True)}

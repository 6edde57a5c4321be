# SPDX-License-Identifier: Apache-2.0
"""Which choices of a recipe each node of a graph gets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from fnmatch import fnmatchcase

from edgeq.errors import BadInputError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Graph, Node
from edgeq.quantize.methods import parse
from edgeq.quantize.methods.compensation import Compensation
from edgeq.quantize.methods.weights import WeightFormat
from edgeq.quantize.recipe import Recipe, Scope

LINEAR = ("conv2d", "depthwise_conv2d", "fully_connected")  # layers whose weights may have any format
_DTYPES = {"int8": DType.S8, "int16": DType.S16}


@dataclass(frozen=True)
class Choice:
    """What one node gets: the format of its weights, the dtype of its activations, and what compensates errors."""

    weights: WeightFormat
    activations: DType
    compensation: tuple[Compensation, ...]


def assign(graph: Graph, recipe: Recipe) -> list[Choice]:
    """Return the choice for each node, in order; the last scope that matches a node counts for what it names.

    Raises BadInputError for a scope that matches no node, or asks for weights where nodes have none.
    """
    matched = [False] * len(recipe.scopes)
    made: dict[tuple[object, ...], Choice] = {}
    choices = []
    for node in graph.nodes:
        settings: dict[str, object] = {
            "weights": recipe.weights,
            "activations": recipe.activations,
            "compensation": recipe.compensation,
        }
        for number, scope in enumerate(recipe.scopes):
            if matches(scope, node):
                matched[number] = matched[number] or scope.weights is None or node.op.name in LINEAR
                settings |= {key: value for key, value in dataclasses.asdict(scope).items() if value is not None}
        key = (settings["weights"], settings["activations"], settings["compensation"])
        if key not in made:
            made[key] = _choice(*key)
        choices.append(made[key])
    for scope, found in zip(recipe.scopes, matched, strict=True):
        if not found and not scope.optional:
            what = "layer with weights" if scope.weights is not None else "node"
            raise BadInputError(
                f"recipe {recipe.name!r}: the scope of nodes {scope.nodes!r} with operator {scope.operator!r} "
                f"matches no {what}",
                hint="edgeq analyze lists the nodes",
            )
    return choices


def matches(scope: Scope, node: Node) -> bool:
    """Say whether a scope's patterns match a node."""
    return fnmatchcase(node.name, scope.nodes) and fnmatchcase(node.op.name, scope.operator)


def _choice(weights: object, activations: object, compensation: object) -> Choice:
    assert isinstance(compensation, (tuple, list))
    return Choice(
        parse(str(weights), WeightFormat),
        _DTYPES[str(activations)],
        tuple(parse(str(text), Compensation) for text in compensation),
    )

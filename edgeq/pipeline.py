# SPDX-License-Identifier: Apache-2.0
"""The stages joined together: a source file to a Graph, to a quantized Graph, to a Plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeq.board import Board
from edgeq.compile.plan import Plan
from edgeq.compile.planner import make_plan
from edgeq.errors import ModelFormatError, UnsupportedError, UsageError
from edgeq.format.read import read_model
from edgeq.frontends import read_model as read_source_model
from edgeq.ir.graph import ABSENT, Graph
from edgeq.ir.verify import verify_graph
from edgeq.ops.base import Rounding
from edgeq.ops.verify import verify_nodes
from edgeq.quantize.recipe import Recipe
from edgeq.quantize.recipes import BUILT_IN
from edgeq.quantize.static import quantize_for_shape, quantize_static
from edgeq.rewrite.boundary import strip_boundary
from edgeq.rewrite.shrink import Shrunk, shrink
from edgeq.rewrite.simplify import simplify_float

Batches = Iterable[Sequence[np.ndarray]]


@dataclass(frozen=True)
class Converted:
    """A plan, the recipe that made it, every choice filled in, and the quantized graph before it was shrunk."""

    plan: Plan
    recipe: Recipe
    graph: Graph


def read_source(path: Path) -> Graph:
    """Read a source model and check it; float at the boundary of an integer model is turned into ports."""
    graph = read_source_model(path)
    verify_graph(graph)
    verify_nodes(graph)
    return strip_boundary(graph)


def read_plan(data: bytes, path: Path) -> Plan:
    """Read the contents of an .eqm file. Raises ModelFormatError naming the path."""
    try:
        return read_model(data)
    except ModelFormatError as error:
        raise ModelFormatError(f"{str(path)!r}: {error}") from None


def is_quantized(graph: Graph) -> bool:
    """Say whether the graph computes on integers alone already."""
    touched = {index for node in graph.nodes for index in (*node.inputs, *node.outputs) if index != ABSENT}
    return not any(graph.tensors[index].dtype.is_float for index in touched)


def convert_graph(
    graph: Graph,
    *,
    recipe: Recipe,
    batches: Batches | None = None,
    board: Board | None = None,
    keep_tensors: bool = False,
    fit: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Converted:
    """Turn a source graph into a plan; a float graph is quantized with calibration ``batches``.

    Rounding, unless the recipe sets it, is native for what edgeq quantizes and tflite for what came quantized. With
    ``keep_tensors`` nothing is fused, rescaled or removed, and no two tensors share memory.
    Raises UsageError when a float graph comes without data, or with data for a recipe that needs none, and
    UnsupportedError when an integer graph comes with a recipe that chooses more than a rounding.
    """
    if fit and keep_tensors:
        raise UsageError("tensors that stay readable need memory of their own; give --fit or --keep-tensors")
    if is_quantized(graph):
        if dataclasses.replace(recipe, name="int8", rounding=None) not in (Recipe(), BUILT_IN["int8"]):
            raise UnsupportedError(
                f"{graph.name!r} is quantized already, recipe {recipe.name!r} cannot change how",
                hint="give the float model, or leave out --recipe, --observer and --inputs",
            )
        rounding = Rounding(recipe.rounding or "tflite")
        quantized = graph
    else:
        if batches is None and recipe.ranges == "data":
            raise UsageError(
                f"{graph.name!r} is a float model; quantizing it needs samples of its inputs",
                hint="give calibration data with --data samples.npz",
            )
        if batches is not None and recipe.ranges != "data":
            raise UsageError(f"recipe {recipe.name!r} works without data", hint="leave out --data")
        rounding = Rounding(recipe.rounding or "native")
        simplified = graph if keep_tensors else simplify_float(graph)
        quantized = quantize_static(simplified, batches or (), recipe, keep_values=keep_tensors, progress=progress)
    planned = quantized if keep_tensors else shrink(quantized, rounding=rounding).graph
    plan = make_plan(planned, rounding=rounding, board=board, keep_tensors=keep_tensors, fit=fit)
    return Converted(plan, dataclasses.replace(recipe, rounding=rounding.value), quantized)


def plan_without_data(graph: Graph, *, board: Board | None = None, fit: bool = False) -> tuple[Plan, Shrunk]:
    """Plan a graph for its sizes alone; return also the integer graph that was planned.

    A float graph gets made-up ranges, so the results of a run mean nothing. It is not shrunk, since which channels are
    constant depends on the real ranges; its conversion may come out smaller. A plan that is too large for the board is
    no error here. With ``fit`` the arena is as small as it gets.
    """
    if is_quantized(graph):
        integers, rounding = shrink(graph, rounding=Rounding.TFLITE), Rounding.TFLITE
    else:
        integers, rounding = Shrunk(quantize_for_shape(simplify_float(graph))), Rounding.NATIVE
    roomy = None if board is None else dataclasses.replace(board, ram_bytes=None)
    return make_plan(integers.graph, rounding=rounding, board=roomy, fit=fit), integers

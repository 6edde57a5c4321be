# SPDX-License-Identifier: Apache-2.0
"""Recipes: what a file may say, what is written back, and which node gets what."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from graphbuilder import Builder, conv

from edgeq.errors import BadInputError, UsageError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Graph
from edgeq.ops.relu import Relu
from edgeq.quantize.assign import assign
from edgeq.quantize.methods.int8 import Int8
from edgeq.quantize.recipe import Recipe, Scope
from edgeq.quantize.recipes import BUILT_IN, parse_recipe


def write(folder: Path, text: str) -> str:
    path = folder / "own.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_recipes_are_written_and_read_back(name, tmp_path):
    assert parse_recipe(name).name == name
    assert parse_recipe(write(tmp_path, BUILT_IN[name].to_toml())) == BUILT_IN[name]


def test_every_field_survives_a_file(tmp_path):
    recipe = Recipe(
        name="mine",
        observer="percentile:99.9",
        weights="int8:per=tensor",
        activations="int16",
        scales="symmetric",
        transforms=(),
        rounding="tflite",
        share_repeats=False,
        share_states=True,
        ranges="propagated",
        inputs=("0..1",),
        scopes=(Scope('a "quoted" \\ name*', "conv2d", activations="int8"), Scope(weights="int8", optional=True)),
    )
    assert parse_recipe(write(tmp_path, recipe.to_toml())) == recipe


def test_a_file_starts_from_the_recipe_that_it_names(tmp_path):
    found = parse_recipe(write(tmp_path, 'name = "int16x8"\nobserver = "mse"\n'))
    assert found == dataclasses.replace(BUILT_IN["int16x8"], observer="mse")
    assert parse_recipe(write(tmp_path, 'name = "my own"\n')) == dataclasses.replace(BUILT_IN["int8"], name="my own")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('nodes = "x"', "unknown keys nodes"),
        ('[[scopes]]\nnodes = "x"\nweight = "int8"', "a scope has unknown keys weight"),
        ('scopes = "x"', "scopes must be tables"),
        ("weights = 4", "weights must be text"),
        ('weights = "int9"', "weight format 'int9' is unknown"),
        ('weights = "int8:per=row"', "int8"),
        ('transforms = "equalize"', "transforms must be a list"),
        ('compensation = ["magic"]', "compensation 'magic' is unknown"),
        ('observer = "eyes"', "calibration method 'eyes' is unknown"),
        ('activations = "int4"', "activations must be int8 or int16, not 'int4'"),
        ('scales = "odd"', "scales must be asymmetric, symmetric or pot"),
        ('ranges = "guess"', "ranges must be"),
        ('rounding = "up"', "rounding must be native, tflite or tflm"),
        ('inputs = ["1..0"]', "1..0"),
        ("share_repeats = 1", "share_repeats must be true or false"),
        ("name =", "is not TOML"),
    ],
)
def test_mistakes_in_a_file_are_named(text, message, tmp_path):
    with pytest.raises(BadInputError, match=message) as error:
        parse_recipe(write(tmp_path, text))
    assert "own.toml" in str(error.value)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(UsageError, match="there is no recipe 'int5'; built in are int8, "):
        parse_recipe("int5")


def two_layers() -> Graph:
    build = Builder()
    return build.graph(conv(build, build.node(Relu(), conv(build, build.input(1, 6, 6, 3)))))


def test_the_last_scope_that_names_a_choice_counts():
    graph = two_layers()
    first, _, second = graph.nodes
    scopes = (
        Scope(operator="conv2d", weights="int8:per=tensor", activations="int16"),
        Scope(nodes=second.name, weights="int8"),
    )
    found = dict(zip((node.name for node in graph.nodes), assign(graph, Recipe(scopes=scopes)), strict=True))
    assert found[first.name].weights == Int8(per="tensor")
    assert found[second.name].weights == Int8()
    assert [found[node.name].activations for node in graph.nodes] == [DType.S16, DType.S8, DType.S16]


@pytest.mark.parametrize("scope", [Scope("no such*", weights="int8"), Scope(operator="relu", weights="int8")])
def test_a_scope_that_matches_nothing_is_an_error_unless_it_is_optional(scope):
    graph = two_layers()
    with pytest.raises(BadInputError, match="matches no layer with weights"):
        assign(graph, Recipe(scopes=(scope,)))
    assign(graph, Recipe(scopes=(dataclasses.replace(scope, optional=True),)))

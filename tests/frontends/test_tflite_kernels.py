# SPDX-License-Identifier: Apache-2.0
"""Operators for which LiteRT has another kernel by dtype or option: the reader says which in the op's attributes."""

from __future__ import annotations

import pytest
from frontends.tflite_builder import Model, O, T, build

from edgeq.frontends.tflite import read
from edgeq.ir.graph import Graph
from edgeq.ops.base import Op


def one_op(graph: Graph, kind: str) -> Op:
    (node,) = (node for node in graph.nodes if node.op.name == kind)
    return node.op


def image(dtype: str, kind: str, out: tuple[int, ...], options: tuple[str, dict[str, int]] | None = None) -> Graph:
    tensors = [T("x", (1, 4, 4, 2), dtype, scale=0.5, zero=7), T("y", out, dtype, scale=0.5, zero=7)]
    return read(build(Model(tensors, [O(kind, [0], [1], options)], [0], [1])), "m")


@pytest.mark.parametrize(("dtype", "expected"), [("int8", False), ("uint8", True)])
def test_legacy_average_pooling_rounds_ties_up(dtype: str, expected: bool) -> None:
    options = {"StrideH": 2, "StrideW": 2, "FilterHeight": 2, "FilterWidth": 2}
    graph = image(dtype, "AVERAGE_POOL_2D", (1, 2, 2, 2), ("Pool2DOptions", options))
    assert one_op(graph, "average_pool_2d").ties_up is expected


@pytest.mark.parametrize(("dtype", "expected"), [("int8", False), ("uint8", True)])
def test_legacy_normalization_scales_first(dtype: str, expected: bool) -> None:
    assert one_op(image(dtype, "L2_NORMALIZATION", (1, 4, 4, 2)), "l2_normalization").scaled_first is expected


def test_legacy_convolutions_round_the_product_of_scales() -> None:
    tensors = [
        T("x", (1, 2, 2, 1), "uint8", scale=0.1, zero=3), T("y", (1, 2, 2, 1), "uint8", scale=0.7),
        T("w", (1, 1, 1, 1), "uint8", scale=0.3, zero=128, data=b"\xff"),
    ]  # fmt: skip
    for kind, name in (("CONV_2D", "conv2d"), ("DEPTHWISE_CONV_2D", "depthwise_conv2d")):
        graph = read(build(Model(tensors, [O(kind, [0, 2], [1])], [0], [1])), "m")
        assert one_op(graph, name).single_product


def test_legacy_bilinear_resizing_is_said_to_differ() -> None:
    tensors = [
        T("x", (1, 1, 1, 1), "uint8", scale=0.5), T("y", (1, 2, 2, 1), "uint8", scale=0.5),
        T("size", (2,), "int32", data=b"\2\0\0\0\2\0\0\0"),
    ]  # fmt: skip
    with pytest.warns(UserWarning, match="RESIZE_BILINEAR of uint8"):
        read(build(Model(tensors, [O("RESIZE_BILINEAR", [0, 2], [1])], [0], [1])), "m")


@pytest.mark.parametrize("kind", ["ADD", "SUB"])
@pytest.mark.parametrize(
    ("dtype", "options", "expected"),
    [("int16", {}, True), ("int16", {"PotScaleInt16": False}, False), ("int8", {"PotScaleInt16": True}, False)],
)
def test_int16_sums_may_be_taken_by_shifts(kind: str, dtype: str, options: dict[str, bool], expected: bool) -> None:
    tensors = [T(name, (3,), dtype, scale=0.5) for name in "aby"]
    table = f"{kind.title()}Options"
    graph = read(build(Model(tensors, [O(kind, [0, 1], [2], (table, options))], [0, 1], [2])), "m")
    assert one_op(graph, kind.lower()).shifts is expected

# SPDX-License-Identifier: Apache-2.0
"""STRIDED_SLICE with every mask, against NumPy's own indexing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from frontends.tflite_builder import Model, O, T, build

from edgeq.errors import GraphError, UnsupportedError
from edgeq.frontends.tflite import read
from edgeq.ir.graph import Graph

SHAPE = (4, 5, 6)


def sliced(begin: list[int], end: list[int], strides: list[int], shape: tuple[int, ...], **masks: Any) -> Graph:
    lists = [np.array(values, np.int32) for values in (begin, end, strides)]
    tensors = [
        T("x", SHAPE, "float32"),
        *(T(f"c{place}", values.shape, "int32", data=values) for place, values in enumerate(lists)),
        T("y", shape, "float32"),
    ]
    operator = O("STRIDED_SLICE", [0, 1, 2, 3], [4], ("StridedSliceOptions", masks))
    return read(build(Model(tensors, [operator], [0], [4])), "m")


def indexed(rng: np.random.Generator) -> tuple[list[Any], dict[str, list[int]], dict[str, int]]:
    """Draw an index for NumPy, and the same as lists and masks."""
    index: list[Any] = []
    lists: dict[str, list[int]] = {"begin": [], "end": [], "strides": []}
    masks = dict.fromkeys(("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask"), 0)

    def entry(begin: int, end: int, stride: int) -> None:
        for name, value in (("begin", begin), ("end", end), ("strides", stride)):
            lists[name].append(value)

    used, kinds = int(rng.integers(0, 4)), []
    kinds += ["axis"] * used + ["new"] * int(rng.integers(0, 3)) + ["ellipsis"] * int(rng.integers(0, 2))
    rng.shuffle(kinds)
    axis = 0
    for kind in kinds:
        bit = 1 << len(index)
        size = SHAPE[min(axis, 2)]
        if kind == "new":
            masks["NewAxisMask"] |= bit
            index.append(None)
            entry(0, 0, 1)
            continue
        if kind == "ellipsis":
            masks["EllipsisMask"] |= bit
            index.append(Ellipsis)
            entry(0, 0, 1)
            axis += 3 - used
            continue
        if rng.random() < 0.3:
            masks["ShrinkAxisMask"] |= bit
            place = int(rng.integers(-size, size))
            index.append(place)
            entry(place, place + 1, 1)
        else:
            stride = int(rng.choice([-3, -2, -1, 1, 2, 3]))
            begin, end = (int(value) for value in rng.integers(-size - 2, size + 3, size=2))
            first, last = (None if rng.random() < 0.3 else value for value in (begin, end))
            masks["BeginMask"] |= bit * (first is None)
            masks["EndMask"] |= bit * (last is None)
            index.append(slice(first, last, stride))
            entry(begin, end, stride)
        axis += 1
    return index, lists, masks


@pytest.mark.parametrize("seed", range(200))
def test_masks_mean_what_numpy_indexing_means(seed: int) -> None:
    rng = np.random.default_rng(seed)
    index, lists, masks = indexed(rng)
    x = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    expected = x[tuple(index)]
    if expected.size == 0:
        with pytest.raises(GraphError):
            sliced(**lists, shape=(1,), **masks)
        return
    graph = sliced(**lists, shape=expected.shape, **masks)
    (result,) = graph.nodes[0].op.reference([x])
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    ("lists", "masks", "error", "message"),
    [
        (([0], [4], [0]), {}, GraphError, "a stride is 0"),
        (([0] * 4, [1] * 4, [1] * 4), {}, GraphError, "4 axes are sliced, the input has 3"),
        (([0, 0], [1, 1], [1, 1]), {"EllipsisMask": 3}, GraphError, "more than one ellipsis"),
        (([4], [5], [1]), {"ShrinkAxisMask": 1}, GraphError, "element 4 of an axis of 4"),
        (([0], [4, 5], [1]), {}, GraphError, "1 starts, 2 ends and 1 strides"),
        (([0], [4], [1]), {"Offset": True}, UnsupportedError, "offsets from the starts"),
    ],
)
def test_slices_without_meaning_are_refused(
    lists: tuple[list[int], list[int], list[int]], masks: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        sliced(*lists, SHAPE, **masks)

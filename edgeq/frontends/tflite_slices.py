# SPDX-License-Identifier: Apache-2.0
"""Resolve the five masks of a .tflite STRIDED_SLICE into a start, a step and a count for each input axis."""

from __future__ import annotations

from edgeq.errors import GraphError, UnsupportedError
from edgeq.frontends.tflite_call import Call, Mapped
from edgeq.ops.strided_slice import StridedSlice


def strided_slice(call: Call) -> Mapped:
    """Map STRIDED_SLICE. Bit i of a mask speaks of entry i of begin, end and strides.

    ellipsis: the entry stands for as many whole axes as are left over. new_axis: it adds an axis of size 1.
    begin, end: that bound is open. shrink: one element is taken and its axis dropped.
    """
    options = call.options("StridedSliceOptions")
    if options.boolean("Offset"):
        raise UnsupportedError("ends that are offsets from the starts are not supported")
    begin = call.indices(1, "the list of starts")
    end = call.indices(2, "the list of ends")
    strides = call.indices(3, "the list of strides")
    if not len(begin) == len(end) == len(strides):
        raise GraphError(f"{len(begin)} starts, {len(end)} ends and {len(strides)} strides")
    begin_mask, end_mask = options.integer("BeginMask"), options.integer("EndMask")
    ellipsis, new_axis = options.integer("EllipsisMask"), options.integer("NewAxisMask")
    shrink = options.integer("ShrinkAxisMask")
    if ellipsis & (ellipsis - 1):
        raise GraphError("more than one ellipsis")

    source = call.shape()
    entries = range(len(begin))
    named = sum(1 for entry in entries if not (ellipsis | new_axis) >> entry & 1)
    if named > len(source):
        raise GraphError(f"{named} axes are sliced, the input has {len(source)}")
    axes: list[tuple[int, int, int]] = []  # (start, step, count) of each input axis
    shape: list[int] = []

    def whole(count: int) -> None:
        for size in source[len(axes) : len(axes) + count]:
            axes.append((0, 1, size))
            shape.append(size)

    for entry in entries:
        if ellipsis >> entry & 1:
            whole(len(source) - named)
        elif new_axis >> entry & 1:
            shape.append(1)
        elif shrink >> entry & 1:
            axes.append((_element(begin[entry], source[len(axes)], open_start=bool(begin_mask >> entry & 1)), 1, 1))
        else:
            first = None if begin_mask >> entry & 1 else begin[entry]
            last = None if end_mask >> entry & 1 else end[entry]
            axes.append(_range(first, last, strides[entry], source[len(axes)]))
            shape.append(axes[-1][2])
    whole(len(source) - len(axes))
    starts, steps, counts = zip(*axes, strict=True) if axes else ((), (), ())
    return Mapped(StridedSlice(starts, steps, counts, tuple(shape)))


def _element(position: int, size: int, *, open_start: bool) -> int:
    place = 0 if open_start else position + (position < 0) * size
    if not 0 <= place < size:
        raise GraphError(f"element {position} of an axis of {size}")
    return place


def _range(first: int | None, last: int | None, step: int, size: int) -> tuple[int, int, int]:
    """Resolve a range as Python slices do: bounds are clipped to the axis."""
    if step == 0:
        raise GraphError("a stride is 0")
    start, stop, step = slice(first, last, step).indices(size)
    count = len(range(start, stop, step))
    if count == 0:
        raise GraphError(f"the range from {first} to {last} by {step} of an axis of {size} is empty")
    return start, step, count

# SPDX-License-Identifier: Apache-2.0
"""Facts about the operators that move codes: what is copied from where, what is free, what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from stepcall import call_step

from edgeq.errors import GraphError, InvalidValueError, UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.arg_max import ArgMax, ArgMaxStep
from edgeq.ops.base import Activation, Op, Rounding, Step, View
from edgeq.ops.concatenation import Concatenation, ConcatStep
from edgeq.ops.copy import CopyStep
from edgeq.ops.depth_to_space import DepthToSpace
from edgeq.ops.gather import Gather, GatherStep
from edgeq.ops.mirror_pad import MirrorPad
from edgeq.ops.pack import Pack
from edgeq.ops.pad import Pad, PadStep
from edgeq.ops.resize_bilinear import ResizeBilinear, ResizeBilinearStep, positions_of, taps
from edgeq.ops.resize_nearest import ResizeNearest
from edgeq.ops.slice import Slice
from edgeq.ops.space_to_depth import SpaceToDepth
from edgeq.ops.split import Split, SplitStep
from edgeq.ops.strided_slice import StridedSlice
from edgeq.ops.take import TakeStep
from edgeq.ops.transpose import Transpose
from edgeq.ops.unpack import Unpack

QUANT = QuantParams.of(0.25, 3)


def tensor(values: np.ndarray, quant: QuantParams | None = QUANT, *, constant: bool = False) -> Tensor:
    values = np.asarray(values)
    return Tensor("x", values.shape, DType.of_numpy(values.dtype), quant, values if constant else None)


def fold(op: Op, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor] | None = None) -> Step | View:
    first = inputs[0]
    assert first is not None
    made = [Tensor("y", shape, first.dtype, first.quant) for shape in op.infer_shape(inputs)]
    folded = op.fold(inputs, outputs or made, rounding=Rounding.TFLITE)
    return folded if isinstance(folded, View) else folded.step


def run(op: Op, *values: np.ndarray, quant: QuantParams | None = QUANT) -> list[np.ndarray]:
    """Run the twin and C on the values and return their common result."""
    inputs = [tensor(value, quant) for value in values]
    step = fold(op, inputs)
    shapes = op.infer_shape(inputs)
    if isinstance(step, View):
        return [values[0].reshape(shapes[0])]
    expected = step.reference_q(values)
    got = call_step(step, values, [np.empty(shape, values[0].dtype) for shape in shapes])
    for twin, native in zip(expected, got, strict=True):
        np.testing.assert_array_equal(twin.reshape(native.shape), native)
    return got


def counted(*shape: int, dtype: type = np.int8) -> np.ndarray:
    return (np.arange(int(np.prod(shape))) % 251 - 120).astype(dtype).reshape(shape)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.int64])
def test_movement_keeps_codes_of_every_element_size(dtype: type) -> None:
    x = counted(2, 3, 4, dtype=np.int8).astype(dtype)
    quant = None if dtype in (np.int32, np.int64) else QuantParams.of(0.25)
    np.testing.assert_array_equal(run(Transpose((2, 0, 1)), x, quant=quant)[0], x.transpose(2, 0, 1))
    np.testing.assert_array_equal(run(Concatenation(1), x, x, quant=quant)[0], np.concatenate([x, x], axis=1))
    np.testing.assert_array_equal(run(Split(2, (1, 3)), x, quant=quant)[1], x[:, :, 1:])
    np.testing.assert_array_equal(
        run(MirrorPad(((0, 0), (2, 0), (0, 3))), x, quant=quant)[0][0, :, 0], x[0, [2, 1, 0, 1, 2], 0]
    )
    if dtype is not np.int64:
        np.testing.assert_array_equal(run(Pad(((0, 0), (1, 0), (0, 2))), x, quant=quant)[0][:, 1:, :4], x)


def test_transpose_of_six_dimensions_equals_numpy() -> None:
    x = counted(2, 3, 2, 4, 3, 2)
    order = (5, 3, 0, 4, 2, 1)
    np.testing.assert_array_equal(run(Transpose(order), x)[0], x.transpose(order))


def test_moves_of_everything_in_order_are_views() -> None:
    x = tensor(counted(1, 4, 1, 6))
    assert fold(Transpose((2, 1, 0, 3)), [x]) == View()  # only axes of one element change places
    assert fold(Slice((0, 0, 0, 0), (1, -1, 1, 6)), [x]) == View()
    assert fold(StridedSlice((0,) * 4, (1,) * 4, x.shape, (4, 6)), [x]) == View()
    assert fold(SpaceToDepth(1), [x]) == fold(DepthToSpace(1), [x]) == View()
    assert fold(Concatenation(1), [x]) == fold(Split(1, (4,)), [x]) == fold(Pack(0), [x]) == View()
    assert fold(Pad(((0, 0),) * 4), [x]) == fold(MirrorPad(((0, 0),) * 4), [x]) == View()
    assert fold(ResizeNearest((4, 1)), [x]) == fold(ResizeBilinear((4, 1)), [x]) == View()


def test_a_slice_of_whole_rows_is_one_block() -> None:
    step = fold(Slice((0, 2, 0), (1, 3, 8)), [tensor(counted(1, 9, 8))])
    assert step == CopyStep(block_bytes=24, start=16, sizes=(1,) * 6, strides=(0,) * 6)


def test_strided_slice_walks_backwards() -> None:
    x = counted(7, 5)
    got = run(StridedSlice((6, 4), (-2, -1), (4, 5), (4, 5)), x)[0]
    np.testing.assert_array_equal(got, x[::-2, ::-1])


def test_space_to_depth_is_undone_by_depth_to_space() -> None:
    x = counted(2, 6, 4, 3)
    blocks = run(SpaceToDepth(2), x)[0]
    assert blocks.shape == (2, 3, 2, 12)
    assert blocks[0, 0, 0].tolist() == [*x[0, 0, 0], *x[0, 0, 1], *x[0, 1, 0], *x[0, 1, 1]]
    np.testing.assert_array_equal(run(DepthToSpace(2), blocks)[0], x)


def test_concatenation_refuses_inputs_of_another_scale() -> None:
    x = tensor(counted(2, 3))
    other = dataclasses.replace(x, quant=QuantParams.of(0.5, 3))
    with pytest.raises(InvalidValueError, match="must share one scale"):
        fold(Concatenation(0), [x, other])


def test_concatenation_refuses_a_fused_activation() -> None:
    x = tensor(counted(2, 3))
    with pytest.raises(UnsupportedError, match="RELU6"):
        fold(Concatenation(0, Activation.RELU6), [x, x])


def test_pack_and_unpack_of_64_tensors() -> None:
    x = counted(3, 64, 5)
    parts = run(Unpack(1), x)
    assert len(parts) == 64
    np.testing.assert_array_equal(parts[17], x[:, 17])
    np.testing.assert_array_equal(run(Pack(-2), *parts)[0], x)


def test_pad_fills_with_the_zero_point_or_the_given_code() -> None:
    x = counted(2, 2)
    assert run(Pad(((1, 0), (0, 1))), x)[0].tolist() == [[3, 3, 3], [-120, -119, 3], [-118, -117, 3]]
    value = tensor(np.array(-7, np.int8), constant=True)
    step = fold(Pad(((0, 0), (1, 0))), [tensor(x), value])
    assert isinstance(step, PadStep)
    assert step.reference_q([x])[0].reshape(2, 3)[:, 0].tolist() == [-7, -7]


def test_pad_refuses_a_value_computed_at_run_time() -> None:
    x = tensor(counted(2, 2))
    with pytest.raises(UnsupportedError, match="not a constant"):
        fold(Pad(((0, 0), (1, 0))), [x, tensor(np.array(1, np.int8))])


def test_mirror_pad_repeats_the_edge_only_when_symmetric() -> None:
    x = np.array([1, 2, 3], np.int8)
    assert run(MirrorPad(((2, 2),), reflect=True), x)[0].tolist() == [3, 2, 1, 2, 3, 2, 1]
    assert run(MirrorPad(((2, 2),), reflect=False), x)[0].tolist() == [2, 1, 1, 2, 3, 3, 2]
    with pytest.raises(GraphError, match="mirror at most 2"):
        MirrorPad(((3, 0),), reflect=True).infer_shape([tensor(x)])


@pytest.mark.parametrize(
    ("align_corners", "half_pixel", "expected"),
    [(False, False, [0, 0, 1, 1, 2]), (True, False, [0, 1, 1, 2, 2]), (False, True, [0, 0, 1, 2, 2])],
)
def test_resize_nearest_picks_positions(align_corners: bool, half_pixel: bool, expected: list[int]) -> None:
    x = np.arange(3, dtype=np.int8).reshape(1, 1, 3, 1)
    assert run(ResizeNearest((1, 5), align_corners, half_pixel), x)[0].reshape(-1).tolist() == expected


def test_resize_bilinear_rounds_ties_away_from_zero() -> None:
    x = np.array([0, 1, 0, -1], np.int8).reshape(1, 1, 4, 1)
    got = run(ResizeBilinear((1, 7), align_corners=True), x)[0].reshape(-1)
    assert got.tolist() == [0, 1, 1, 1, 0, -1, -1]


@pytest.mark.parametrize(("size", "resized"), [(1, 47), (5, 3), (7, 16), (3, 200), (240, 7)])
@pytest.mark.parametrize(("align_corners", "half_pixel"), [(False, False), (True, False), (False, True)])
def test_bilinear_taps_lie_in_the_image_with_weights_below_one(
    size: int, resized: int, align_corners: bool, half_pixel: bool
) -> None:
    table = taps(positions_of(size, resized, align_corners=align_corners, half_pixel=half_pixel), size)
    assert table[:, :2].min() >= 0
    assert table[:, :2].max() < size
    assert table[:, 2].min() >= 0
    assert table[:, 2].max() < 1024


def test_resize_bilinear_warns_where_litert_reads_outside_the_image() -> None:
    with pytest.warns(UserWarning, match="LiteRT reads past"):
        fold(ResizeBilinear((1, 55)), [tensor(counted(1, 1, 1, 1))])


def test_gather_with_batch_dims_equals_numpy() -> None:
    x = counted(2, 3, 5, 2)
    indices = np.array([[4, 0], [1, 1]], np.int32)
    op = Gather(axis=2, batch_dims=1)
    step = fold(op, [tensor(x), tensor(indices, None)])
    assert isinstance(step, GatherStep)
    expected = np.stack([x[0][:, [4, 0]], x[1][:, [1, 1]]])
    np.testing.assert_array_equal(step.reference_q([x, indices])[0].reshape(expected.shape), expected)
    np.testing.assert_array_equal(call_step(step, [x, indices], [np.empty(expected.shape, np.int8)])[0], expected)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_gather_clamps_indices_computed_at_run_time(dtype: type) -> None:
    x = np.array([10, 20, 30], np.int8)
    info = np.iinfo(dtype)
    indices = np.array([-1, 3, info.min, info.max], dtype)
    step = fold(Gather(), [tensor(x), tensor(indices, None)])
    assert isinstance(step, GatherStep)
    assert step.reference_q([x, indices])[0].tolist() == [10, 30, 10, 30]
    assert call_step(step, [x, indices], [np.empty(4, np.int8)])[0].tolist() == [10, 30, 10, 30]


def test_gather_refuses_a_constant_index_outside_the_axis() -> None:
    indices = tensor(np.array([0, 3], np.int32), None, constant=True)
    with pytest.raises(InvalidValueError, match="index 3 at position 1"):
        fold(Gather(), [tensor(counted(3)), indices])


@pytest.mark.parametrize("dtype", [DType.S32, DType.S64])
def test_arg_max_finds_the_first_of_equals(dtype: DType) -> None:
    x = np.array([[-128, 7, 7], [5, 5, -3]], np.int8)
    for axis, expected in ((-1, [1, 0]), (0, [1, 0, 0])):
        output = Tensor("y", (len(expected),), dtype)
        step = fold(ArgMax(axis, dtype), [tensor(x)], [output])
        assert isinstance(step, ArgMaxStep)
        assert step.reference_q([x])[0].reshape(-1).tolist() == expected
        assert call_step(step, [x], [np.empty(len(expected), dtype.numpy)])[0].tolist() == expected


def test_tensors_of_different_dtypes_are_not_copied() -> None:
    x = tensor(counted(2, 3))
    with pytest.raises(UnsupportedError, match="must share one dtype"):
        fold(Transpose((1, 0)), [x], [Tensor("y", (3, 2), DType.S16, QUANT)])


@pytest.mark.parametrize(
    ("op", "shape"),
    [
        (Transpose((0, 0)), (2, 3)),
        (Slice((0, 2), (2, 2)), (2, 3)),
        (StridedSlice((0, 3), (1, -2), (2, 3), (2, 3)), (2, 4)),
        (Split(1, (2, 2)), (2, 3)),
        (Split(1, (-1, -1)), (2, 3)),
        (Pad(((0, 0), (0, -1))), (2, 3)),
        (SpaceToDepth(2), (1, 3, 2, 1)),
        (DepthToSpace(2), (1, 1, 1, 6)),
        (ResizeNearest((0, 2)), (1, 2, 2, 1)),
        (ArgMax(2), (2, 3)),
        (Unpack(-3), (2, 3)),
    ],
    ids=lambda value: value.name if isinstance(value, Op) else "",
)
def test_attributes_that_do_not_fit_the_shape_are_refused(op: Op, shape: tuple[int, ...]) -> None:
    with pytest.raises(GraphError):
        op.infer_shape([tensor(np.zeros(shape, np.int8))])


def _copy(start: int, stride: int, count: int = 3) -> CopyStep:
    return CopyStep(block_bytes=2, start=start, sizes=(1, 1, 1, 1, 1, count), strides=(0, 0, 0, 0, 0, stride))


def _take(*offsets: int) -> TakeStep:
    return TakeStep(block_bytes=4, sizes=(1, 1, 1, 1, 1, 2), offsets=np.array([0, 0, 0, 0, *offsets], np.int32))


def _bilinear(low: int, high: int, weight: int) -> ResizeBilinearStep:
    return ResizeBilinearStep(1, 1, 2, 1, 1, 1, np.zeros((1, 3), np.int32), np.array([[low, high, weight]], np.int32))


_WORD = np.array([4], np.int32)


@pytest.mark.parametrize(
    ("step", "inputs", "outputs"),
    [
        (_copy(-1, 2), [8], [6]),
        (_copy(3, 2), [8], [6]),
        (_copy(0, -1), [8], [6]),
        (_copy(0, 2**31 - 1), [8], [6]),
        (_copy(0, 2, -3), [8], [6]),
        (_take(0, 0, 5), [8], [8]),
        (_take(-1, 0, 4), [8], [8]),
        (ConcatStep(outer=1, inner_bytes=np.array([4, -4], np.int32)), [4, 4], [4]),
        (ConcatStep(outer=1, inner_bytes=_WORD), [4, 4], [8]),
        (SplitStep(outer=2, inner_bytes=np.array([4, 4], np.int32)), [8], [4, 4]),
        (SplitStep(outer=1, inner_bytes=_WORD), [4], [4, 4]),
        (PadStep(3, 0, (1,) * 6, (0,) * 6, (0,) * 6), [3], [3]),
        (PadStep(1, 0, (1,) * 6, (0,) * 5 + (-1,), (0,) * 5 + (1,)), [1], [1]),
        (PadStep(1, 0, (1,) * 6, (0,) * 6, (0,) * 5 + (2**31 - 1,)), [1], [1]),
        (GatherStep(1, 1, 4, 1, 1, 2), [4, 2], [1]),
        (GatherStep(1, 1, 5, 1, 1, 4), [4, 4], [1]),
        (ArgMaxStep(1, 4, 1, 1, 2), [4], [2]),
        (ArgMaxStep(1, 5, 1, 1, 4), [4], [4]),
        (_bilinear(-1, 0, 0), [2], [1]),
        (_bilinear(0, 2, 0), [2], [1]),
        (_bilinear(0, 1, 1025), [2], [1]),
    ],
    ids=lambda value: value.name if isinstance(value, Step) else "",
)
def test_native_check_refuses_parameters_that_reach_outside(step: Step, inputs: list[int], outputs: list[int]) -> None:
    with pytest.raises(AssertionError, match=f"eq_check_{step.name} refused"):
        call_step(step, [np.zeros(size, np.int8) for size in inputs], [np.zeros(size, np.int8) for size in outputs])

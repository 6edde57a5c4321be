# SPDX-License-Identifier: Apache-2.0
"""How each operator of a .tflite file is said in edgeq's operators: one line each in the table at the end.

A rule gets a Call and returns the Op with the positions of the inputs that it reads; constants that are shapes, axes,
paddings and the like become attributes. A rule may also return an array: the result is then a constant.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from types import MappingProxyType

import numpy as np

from edgeq.errors import GraphError, UnsupportedError
from edgeq.frontends.tflite_call import (
    Call,
    Mapped,
    activation_of,
    as_sizes,
    axis_of,
    padding_of,
    pair_of,
)
from edgeq.frontends.tflite_slices import strided_slice
from edgeq.ir.dtypes import DType
from edgeq.ops.abs import Abs
from edgeq.ops.add import Add, Sub
from edgeq.ops.arg_max import ArgMax
from edgeq.ops.base import Op
from edgeq.ops.batch_matmul import BatchMatmul
from edgeq.ops.concatenation import Concatenation
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depth_to_space import DepthToSpace
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.dequantize import Dequantize
from edgeq.ops.elu import Elu
from edgeq.ops.exp import Exp
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.gather import Gather
from edgeq.ops.gelu import Gelu
from edgeq.ops.hard_swish import HardSwish
from edgeq.ops.l2_normalization import L2Normalization
from edgeq.ops.leaky_relu import LeakyRelu
from edgeq.ops.logistic import Logistic
from edgeq.ops.maximum import Maximum, Minimum
from edgeq.ops.mean import Mean, Sum
from edgeq.ops.mirror_pad import MirrorPad
from edgeq.ops.mul import Mul
from edgeq.ops.pack import Pack
from edgeq.ops.pad import Pad
from edgeq.ops.pool import AveragePool2d, MaxPool2d
from edgeq.ops.prelu import Prelu
from edgeq.ops.quantize import Quantize
from edgeq.ops.reduce_max import ReduceMax, ReduceMin
from edgeq.ops.relu import Relu, Relu6, ReluN1To1
from edgeq.ops.reshape import Reshape
from edgeq.ops.resize_bilinear import ResizeBilinear
from edgeq.ops.resize_nearest import ResizeNearest
from edgeq.ops.rsqrt import Rsqrt
from edgeq.ops.slice import Slice
from edgeq.ops.softmax import Softmax
from edgeq.ops.space_to_depth import SpaceToDepth
from edgeq.ops.split import Split
from edgeq.ops.squared_difference import SquaredDifference
from edgeq.ops.tanh import Tanh
from edgeq.ops.transpose import Transpose
from edgeq.ops.transpose_conv import TransposeConv
from edgeq.ops.unpack import Unpack

Rule = Callable[[Call], "Mapped | np.ndarray"]


def _conv2d(call: Call) -> Mapped:
    options = call.options("Conv2DOptions")
    return Mapped(
        Conv2d(
            stride=pair_of(options, "Stride"),
            padding=padding_of(options),
            dilation=pair_of(options, "Dilation", suffix="Factor"),
            activation=activation_of(options),
            single_product=call.unsigned,
        ),
        (0, 1, 2),
    )


def _depthwise_conv2d(call: Call) -> Mapped:
    options = call.options("DepthwiseConv2DOptions")
    # DepthMultiplier is redundant and wrong in some files; the weights' shape says the same
    return Mapped(
        DepthwiseConv2d(
            stride=pair_of(options, "Stride"),
            padding=padding_of(options),
            dilation=pair_of(options, "Dilation", suffix="Factor"),
            activation=activation_of(options),
            single_product=call.unsigned,
        ),
        (0, 1, 2),
    )


def _transpose_conv(call: Call) -> Mapped:
    options = call.options("TransposeConvOptions")
    return Mapped(
        TransposeConv(
            stride=pair_of(options, "Stride"),
            padding=padding_of(options),
            activation=activation_of(options),
            output_shape=call.indices(0, "the output shape"),
            single_product=call.unsigned,
        ),
        (2, 1, 3),
    )


def _fully_connected(call: Call) -> Mapped:
    options = call.options("FullyConnectedOptions")
    if options.integer("WeightsFormat") != 0:
        raise UnsupportedError("shuffled weights are not supported", hint="convert the model with plain weights")
    return Mapped(FullyConnected(activation_of(options), options.boolean("KeepNumDims")), (0, 1, 2))


def _batch_matmul(call: Call) -> Mapped:
    options = call.options("BatchMatMulOptions")
    return Mapped(BatchMatmul(options.boolean("AdjX"), options.boolean("AdjY")), (0, 1))


def _add_or_sub(call: Call, op: type[Add] | type[Sub], kind: str) -> Mapped:
    options = call.options(kind)
    shifts = call.outputs[0].dtype is DType.S16 and options.boolean("PotScaleInt16", True)
    return Mapped(op(activation_of(options), shifts), (0, 1))


def _mul(call: Call) -> Mapped:
    return Mapped(Mul(activation_of(call.options("MulOptions"))), (0, 1))


def _pool(call: Call, op: Callable[..., Op]) -> Mapped:
    options = call.options("Pool2DOptions")
    kernel = options.integer("FilterHeight"), options.integer("FilterWidth")
    return Mapped(op(kernel, pair_of(options, "Stride"), padding_of(options), activation_of(options)))


def _average_pool(call: Call) -> Mapped:
    return _pool(call, partial(AveragePool2d, ties_up=call.unsigned))


def _concatenation(call: Call) -> Mapped:
    options = call.options("ConcatenationOptions")
    axis = axis_of(options.integer("Axis"), len(call.shape()))
    return Mapped(Concatenation(axis, activation_of(options)), tuple(range(len(call.inputs))))


def _reduce(call: Call, op: Callable[[tuple[int, ...], bool], Op]) -> Mapped:
    return Mapped(op(call.axes(1), call.options("ReducerOptions").boolean("KeepDims")))


def _pad_with_value(call: Call) -> Mapped:
    return Mapped(Pad(call.pairs(1)), (0, 2))


def _mirror_pad(call: Call) -> Mapped:
    mode = call.options("MirrorPadOptions").integer("Mode")
    if mode not in (0, 1):
        raise GraphError(f"mirror mode {mode} is not known, 0 (REFLECT) or 1 (SYMMETRIC) expected")
    return Mapped(MirrorPad(call.pairs(1), mode == 0))


def _reshape(call: Call) -> Mapped:
    if call.has(1) and call.tensor(1).data is not None:
        target = call.indices(1, "the new shape")
    elif call.has(1) and call.tensor(1).elements > 1:
        raise UnsupportedError("the new shape is computed at run time", hint="convert the model with fixed shapes")
    else:
        target = call.options("ReshapeOptions").integers("NewShape") or call.outputs[0].shape
    return Mapped(Reshape(as_sizes(target, call.tensor(0).elements)))


def _squeeze(call: Call) -> Mapped:
    shape = call.shape()
    listed = call.options("SqueezeOptions").integers("SqueezeDims")
    axes = {axis_of(axis, len(shape)) for axis in listed} or {axis for axis, size in enumerate(shape) if size == 1}
    if any(shape[axis] != 1 for axis in axes):
        raise GraphError(f"dimensions {sorted(axes)} of shape {list(shape)} cannot be squeezed: not all are 1")
    return Mapped(Reshape(tuple(size for axis, size in enumerate(shape) if axis not in axes)))


def _expand_dims(call: Call) -> Mapped:
    shape = call.shape()
    axis = axis_of(call.index(1, "the axis"), len(shape) + 1)
    return Mapped(Reshape((*shape[:axis], 1, *shape[axis:])))


def _transpose(call: Call) -> Mapped:
    rank = len(call.shape())
    return Mapped(Transpose(tuple(axis_of(axis, rank) for axis in call.indices(1, "the permutation"))))


def _slice(call: Call) -> Mapped:
    shape, begin, size = call.shape(), call.indices(1, "the list of starts"), call.indices(2, "the list of sizes")
    if not len(shape) == len(begin) == len(size):
        raise GraphError(f"starts {list(begin)} and sizes {list(size)} for an input of shape {list(shape)}")
    sizes = tuple(full - first if count == -1 else count for full, first, count in zip(shape, begin, size, strict=True))
    return Mapped(Slice(begin, sizes))


def _split(call: Call) -> Mapped:
    axis = axis_of(call.index(0, "the axis"), len(call.shape(1)))
    parts, full = len(call.outputs), call.shape(1)[axis]
    stated = call.options("SplitOptions").integer("NumSplits", parts)
    if stated != parts or full % parts != 0:
        raise GraphError(f"{full} elements in {stated} parts for {parts} outputs")
    return Mapped(Split(axis, (full // parts,) * parts), (1,))


def _split_v(call: Call) -> Mapped:
    axis = axis_of(call.index(2, "the axis"), len(call.shape()))
    listed = call.indices(1, "the list of sizes")
    rest = call.shape()[axis] - sum(size for size in listed if size != -1)
    if listed.count(-1) > 1 or len(listed) != len(call.outputs):
        raise GraphError(f"sizes {list(listed)} for {len(call.outputs)} outputs")
    return Mapped(Split(axis, tuple(rest if size == -1 else size for size in listed)))


def _pack(call: Call) -> Mapped:
    axis = axis_of(call.options("PackOptions").integer("Axis"), len(call.shape()) + 1)
    return Mapped(Pack(axis), tuple(range(len(call.inputs))))


def _unpack(call: Call) -> Mapped:
    axis = axis_of(call.options("UnpackOptions").integer("Axis"), len(call.shape()))
    if call.shape()[axis] != len(call.outputs):
        raise GraphError(f"{len(call.outputs)} outputs for {call.shape()[axis]} slices")
    return Mapped(Unpack(axis))


def _resize(call: Call, op: type[ResizeBilinear] | type[ResizeNearest], kind: str) -> Mapped:
    options, size = call.options(kind), call.indices(1, "the size")
    if len(size) != 2:
        raise GraphError(f"the size has {len(size)} entries, 2 expected")
    if call.unsigned and op is ResizeBilinear:
        warnings.warn(
            "RESIZE_BILINEAR of uint8 is done in integers, rounded to nearest; LiteRT does it in float and cuts off",
            stacklevel=2,
        )
    return Mapped(op((size[0], size[1]), options.boolean("AlignCorners"), options.boolean("HalfPixelCenters")))


def _gather(call: Call) -> Mapped:
    options = call.options("GatherOptions")
    rank, batch = len(call.shape()), options.integer("BatchDims")
    return Mapped(Gather(axis_of(options.integer("Axis"), rank), batch + (batch < 0) * len(call.shape(1))), (0, 1))


def _arg_max(call: Call) -> Mapped:
    return Mapped(ArgMax(axis_of(call.index(1, "the axis"), len(call.shape())), call.outputs[0].dtype))


def _dequantize(call: Call) -> Mapped | np.ndarray:
    source = call.tensor(0)
    if source.data is not None and source.dtype is DType.F32:  # float16 weights, widened when they were read
        return source.data
    return Mapped(Dequantize())


def _shape_of(call: Call) -> np.ndarray:
    return np.array(call.shape(), call.outputs[0].dtype.numpy)


def _same(call: Call, op: Callable[[], Op]) -> Mapped:
    """Map an operator without attributes; it reads all inputs."""
    return Mapped(op(), tuple(range(len(call.inputs))))


# file's name -> (newest version whose meaning is known, rule)
RULES: MappingProxyType[str, tuple[int, Rule]] = MappingProxyType(
    {
        "ABS": (5, partial(_same, op=Abs)),
        "ADD": (5, partial(_add_or_sub, op=Add, kind="AddOptions")),
        "ARG_MAX": (3, _arg_max),
        "AVERAGE_POOL_2D": (3, _average_pool),
        "BATCH_MATMUL": (4, _batch_matmul),
        "CONCATENATION": (7, _concatenation),
        "CONV_2D": (8, _conv2d),
        "DEPTHWISE_CONV_2D": (7, _depthwise_conv2d),
        "DEPTH_TO_SPACE": (
            2,
            lambda call: Mapped(DepthToSpace(call.options("DepthToSpaceOptions").integer("BlockSize"))),
        ),
        "DEQUANTIZE": (9, _dequantize),
        "ELU": (1, partial(_same, op=Elu)),
        "EXP": (2, partial(_same, op=Exp)),
        "EXPAND_DIMS": (1, _expand_dims),
        "FULLY_CONNECTED": (14, _fully_connected),
        "GATHER": (8, _gather),
        "GELU": (2, lambda call: Mapped(Gelu(call.options("GeluOptions").boolean("Approximate")))),
        "HARD_SWISH": (1, partial(_same, op=HardSwish)),
        "L2_NORMALIZATION": (
            2,
            lambda call: Mapped(L2Normalization(activation_of(call.options("L2NormOptions")), call.unsigned)),
        ),
        "LEAKY_RELU": (2, lambda call: Mapped(LeakyRelu(call.options("LeakyReluOptions").real("Alpha")))),
        "LOGISTIC": (3, partial(_same, op=Logistic)),
        "MAXIMUM": (4, partial(_same, op=Maximum)),
        "MAX_POOL_2D": (3, partial(_pool, op=MaxPool2d)),
        "MEAN": (3, partial(_reduce, op=Mean)),
        "MINIMUM": (4, partial(_same, op=Minimum)),
        "MIRROR_PAD": (3, _mirror_pad),
        "MUL": (7, _mul),
        "PACK": (5, _pack),
        "PAD": (6, lambda call: Mapped(Pad(call.pairs(1)))),
        "PADV2": (6, _pad_with_value),
        "PRELU": (1, partial(_same, op=Prelu)),
        "QUANTIZE": (6, partial(_same, op=Quantize)),
        "REDUCE_MAX": (3, partial(_reduce, op=ReduceMax)),
        "REDUCE_MIN": (3, partial(_reduce, op=ReduceMin)),
        "RELU": (3, partial(_same, op=Relu)),
        "RELU6": (3, partial(_same, op=Relu6)),
        "RELU_N1_TO_1": (1, partial(_same, op=ReluN1To1)),
        "RESHAPE": (1, _reshape),
        "RESIZE_BILINEAR": (4, partial(_resize, op=ResizeBilinear, kind="ResizeBilinearOptions")),
        "RESIZE_NEAREST_NEIGHBOR": (4, partial(_resize, op=ResizeNearest, kind="ResizeNearestNeighborOptions")),
        "RSQRT": (3, partial(_same, op=Rsqrt)),
        "SHAPE": (1, _shape_of),
        "SLICE": (8, _slice),
        "SOFTMAX": (3, lambda call: Mapped(Softmax(call.options("SoftmaxOptions").real("Beta")))),
        "SPACE_TO_DEPTH": (
            2,
            lambda call: Mapped(SpaceToDepth(call.options("SpaceToDepthOptions").integer("BlockSize"))),
        ),
        "SPLIT": (5, _split),
        "SPLIT_V": (3, _split_v),
        "SQUARED_DIFFERENCE": (2, partial(_same, op=SquaredDifference)),
        "SQUEEZE": (2, _squeeze),
        "STRIDED_SLICE": (8, strided_slice),
        "SUB": (5, partial(_add_or_sub, op=Sub, kind="SubOptions")),
        "SUM": (2, partial(_reduce, op=Sum)),
        "TANH": (3, partial(_same, op=Tanh)),
        "TRANSPOSE": (8, _transpose),
        "TRANSPOSE_CONV": (5, _transpose_conv),
        "UNPACK": (6, _unpack),
    }
)

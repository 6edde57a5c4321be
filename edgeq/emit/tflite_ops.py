# SPDX-License-Identifier: Apache-2.0
"""How each operator of edgeq is said in a .tflite file: the other direction of edgeq/frontends/tflite_ops.py.

A rule gets a Use and returns what is Written; attributes that a file keeps in tensors, such as shapes, axes and
paddings, become constants. Versions are the oldest that know the case, as TensorFlow's converter counts them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from edgeq.emit.flatbuffer import Fields
from edgeq.errors import UnsupportedError
from edgeq.frontends.tflite_call import ACTIVATIONS, PADDINGS
from edgeq.frontends.tflite_tensors import DTYPES
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Activation
from edgeq.ops.folding import quant_of, required

TYPE_CODES = MappingProxyType({dtype: code for code, dtype in DTYPES.items()})
_ACTIVATION_CODES = {activation: code for code, activation in ACTIVATIONS.items()}
_PADDING_CODES = {padding: code for code, padding in PADDINGS.items()}

Input = int | np.ndarray  # a position among the node's inputs, or a constant


@dataclass(frozen=True)
class Use:
    """A node with its tensors."""

    op: Any  # an Op; its rule knows which
    inputs: Sequence[Tensor | None]
    outputs: Sequence[Tensor]

    def has(self, position: int) -> bool:
        return position < len(self.inputs) and self.inputs[position] is not None

    def tensor(self, position: int = 0) -> Tensor:
        return required(self.inputs, position, "input")

    @property
    def all_inputs(self) -> tuple[Input, ...]:
        return tuple(range(len(self.inputs)))


@dataclass(frozen=True)
class Written:
    """An operator of the file; ``version`` is the least it needs beside what its dtype does."""

    kind: str
    inputs: tuple[Input, ...] = (0,)
    options: tuple[str, Fields] | None = None
    version: int = 1


Rule = Callable[[Use], Written]

# kind -> the versions for int8, for int16, and for more than four dimensions; (1, 1, 1) where nothing is said
_VERSIONS: MappingProxyType[str, tuple[int, int, int]] = MappingProxyType(
    {
        **dict.fromkeys(("ABS", "ADD", "AVERAGE_POOL_2D", "BATCH_MATMUL", "CONCATENATION", "LOGISTIC"), (2, 3, 1)),
        **dict.fromkeys(("MAX_POOL_2D", "MEAN", "MIRROR_PAD", "PACK", "REDUCE_MAX", "REDUCE_MIN"), (2, 3, 1)),
        **dict.fromkeys(("RELU", "RELU6", "RSQRT", "SOFTMAX", "TANH"), (2, 3, 1)),
        **dict.fromkeys(("ARG_MAX", "EXP", "L2_NORMALIZATION", "SPACE_TO_DEPTH"), (2, 2, 1)),
        **dict.fromkeys(("GELU", "SPLIT_V", "SQUARED_DIFFERENCE"), (2, 2, 1)),
        **dict.fromkeys(("GATHER", "MUL", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SPLIT"), (2, 4, 1)),
        **dict.fromkeys(("MAXIMUM", "MINIMUM"), (2, 4, 3)),
        **dict.fromkeys(("PAD", "PADV2"), (2, 3, 4)),
        "CONV_2D": (3, 4, 1),
        "DEPTHWISE_CONV_2D": (3, 5, 1),
        "FULLY_CONNECTED": (4, 7, 1),
        "LEAKY_RELU": (1, 2, 1),
        "SLICE": (2, 4, 5),
        "STRIDED_SLICE": (2, 2, 4),
        "SUB": (2, 5, 3),
        "TRANSPOSE": (2, 5, 6),
        "TRANSPOSE_CONV": (3, 3, 1),
        "UNPACK": (2, 4, 1),
    }
)


def _integers(values: Any) -> np.ndarray:
    return np.array(values, np.int32)


def _activation(use: Use) -> Fields:
    return {"FusedActivationFunction": _ACTIVATION_CODES[use.op.activation]}


def _steps(use: Use) -> Fields:
    """Return padding and stride of a sliding window."""
    if use.op.padding not in _PADDING_CODES:
        raise UnsupportedError(f"padding {use.op.padding} is neither SAME nor VALID")
    return {"Padding": _PADDING_CODES[use.op.padding], "StrideH": use.op.stride[0], "StrideW": use.op.stride[1]}


def _refuse_unsigned(flag: bool) -> None:
    if flag:
        raise UnsupportedError("it rounds as LiteRT's kernel for the uint8 model that it was read from")


# ------------------------------------------------------------------------------------------------ layers
# all of which have a bias: edgeq/emit/tflite_nodes.py sees to it


def _check_kernel(use: Use) -> None:
    """Check what LiteRT's convolutions of integers take for granted."""
    _refuse_unsigned(use.op.single_product)
    if any(quant_of(use.tensor(1), "weights").zero_points):
        raise UnsupportedError("its weights have a zero point other than 0")


def _bias_type(use: Use) -> Fields:
    """Return the option by which LiteRT tells int32 from int64 biases of int16 layers; int64 is its default."""
    return {"QuantizedBiasType": TYPE_CODES[DType.S32]} if _has_narrow_bias(use) else {}


def _has_narrow_bias(use: Use) -> bool:
    return use.tensor().dtype is DType.S16 and use.tensor(2).dtype is DType.S32


def _sliding(use: Use) -> Fields:
    dilation = {"DilationHFactor": use.op.dilation[0], "DilationWFactor": use.op.dilation[1]}
    return {**_steps(use), **dilation, **_activation(use)}


def _conv2d(use: Use) -> Written:
    _check_kernel(use)
    grouped = use.tensor().shape[3] != use.tensor(1).shape[3]
    version = 8 if _has_narrow_bias(use) else 6 if grouped else 1
    options = {**_sliding(use), **_bias_type(use)}
    return Written("CONV_2D", (0, 1, 2), ("Conv2DOptions", options), version)


def _depthwise_conv2d(use: Use) -> Written:
    _check_kernel(use)
    if _has_narrow_bias(use):
        raise UnsupportedError("its bias is int32, LiteRT takes int64 where activations are int16")
    options = {**_sliding(use), "DepthMultiplier": use.tensor(1).shape[3] // use.tensor().shape[3]}
    return Written("DEPTHWISE_CONV_2D", (0, 1, 2), ("DepthwiseConv2DOptions", options))


def _transpose_conv(use: Use) -> Written:
    _check_kernel(use)
    shape = _integers(use.op.output_shape)
    version = 5 if _has_narrow_bias(use) else 1 if use.op.activation is Activation.NONE else 4
    options = {**_steps(use), **_activation(use), **_bias_type(use)}
    return Written("TRANSPOSE_CONV", (shape, 1, 0, 2), ("TransposeConvOptions", options), version)


def _fully_connected(use: Use) -> Written:
    version = 11 if _has_narrow_bias(use) else 5 if use.op.keep_dims else 1
    options = {**_activation(use), "KeepNumDims": use.op.keep_dims, **_bias_type(use)}
    return Written("FULLY_CONNECTED", (0, 1, 2), ("FullyConnectedOptions", options), version)


def _batch_matmul(use: Use) -> Written:
    return Written("BATCH_MATMUL", (0, 1), ("BatchMatMulOptions", {"AdjX": use.op.adj_x, "AdjY": use.op.adj_y}))


# ------------------------------------------------------------------------------------------------ arithmetic


def _add_or_sub(use: Use, *, kind: str, table: str) -> Written:
    shifts = {"PotScaleInt16": use.op.shifts} if use.tensor().dtype is DType.S16 else {}
    return Written(kind, (0, 1), (table, {**_activation(use), **shifts}))


def _mul(use: Use) -> Written:
    scales = [quant_of(tensor).scale for tensor in (use.tensor(0), use.tensor(1), use.outputs[0])]
    version = 3 if scales[0] * scales[1] >= scales[2] else 1
    return Written("MUL", (0, 1), ("MulOptions", _activation(use)), version)


def _pool(use: Use, *, kind: str) -> Written:
    _refuse_unsigned(getattr(use.op, "ties_up", False))
    kernel = {"FilterHeight": use.op.kernel[0], "FilterWidth": use.op.kernel[1]}
    return Written(kind, (0,), ("Pool2DOptions", {**_steps(use), **kernel, **_activation(use)}))


def _reduce(use: Use, *, kind: str) -> Written:
    return Written(kind, (0, _integers(use.op.axes)), ("ReducerOptions", {"KeepDims": use.op.keep_dims}))


def _sum(use: Use) -> Written:
    raise UnsupportedError(f"LiteRT's SUM of {use.tensor().dtype.numpy} takes signed codes for unsigned ones")


def _l2_normalization(use: Use) -> Written:
    _refuse_unsigned(use.op.scaled_first)
    return Written("L2_NORMALIZATION", (0,), ("L2NormOptions", _activation(use)))


def _quantize(use: Use) -> Written:
    return Written("QUANTIZE", version=2 if use.outputs[0].dtype is DType.S16 else 1)


def _arg_max(use: Use) -> Written:
    return Written("ARG_MAX", (0, _integers(use.op.axis)), ("ArgMaxOptions", {"OutputType": TYPE_CODES[use.op.dtype]}))


def _same(use: Use, *, kind: str) -> Written:
    """Write an operator without attributes."""
    return Written(kind, use.all_inputs)


# ------------------------------------------------------------------------------------------------ data movement


def _concatenation(use: Use) -> Written:
    return Written("CONCATENATION", use.all_inputs, ("ConcatenationOptions", {"Axis": use.op.axis, **_activation(use)}))


def _pad(use: Use) -> Written:
    paddings = _integers(use.op.paddings)
    return Written("PADV2", (0, paddings, 1)) if use.has(1) else Written("PAD", (0, paddings))


def _mirror_pad(use: Use) -> Written:
    options = {"Mode": 0 if use.op.reflect else 1}
    return Written("MIRROR_PAD", (0, _integers(use.op.paddings)), ("MirrorPadOptions", options))


def _reshape(use: Use) -> Written:
    shape = use.outputs[0].shape
    if not shape:  # LiteRT takes no empty list for a constant
        return Written("RESHAPE")
    return Written("RESHAPE", (0, _integers(shape)), ("ReshapeOptions", {"NewShape": shape}))


def _slice(use: Use) -> Written:
    return Written("SLICE", (0, _integers(use.op.begin), _integers(use.op.size)))


def _strided_slice(use: Use) -> Written:
    """Write a slice that keeps all axes; one that runs down to the first element has an open end."""
    op = use.op
    ends = [first + step * count for first, step, count in zip(op.begin, op.strides, op.sizes, strict=True)]
    open_ends = sum(1 << axis for axis, end in enumerate(ends) if end < 0)
    bounds = (_integers(op.begin), _integers(np.maximum(ends, 0)), _integers(op.strides))
    return Written("STRIDED_SLICE", (0, *bounds), ("StridedSliceOptions", {"EndMask": open_ends}))


def _split(use: Use) -> Written:
    axis, sizes = use.op.axis, [tensor.shape[use.op.axis] for tensor in use.outputs]
    if len(set(sizes)) == 1:
        return Written("SPLIT", (_integers(axis), 0), ("SplitOptions", {"NumSplits": len(sizes)}))
    return Written("SPLIT_V", (0, _integers(sizes), _integers(axis)), ("SplitVOptions", {"NumSplits": len(sizes)}))


def _pack(use: Use) -> Written:
    options = {"ValuesCount": len(use.inputs), "Axis": use.op.axis}
    return Written("PACK", use.all_inputs, ("PackOptions", options))


def _unpack(use: Use) -> Written:
    return Written("UNPACK", (0,), ("UnpackOptions", {"Num": len(use.outputs), "Axis": use.op.axis}))


def _gather(use: Use) -> Written:
    options = {"Axis": use.op.axis, "BatchDims": use.op.batch_dims}
    return Written("GATHER", (0, 1), ("GatherOptions", options), 5 if use.op.batch_dims else 1)


def _resize(use: Use, *, kind: str, table: str) -> Written:
    options = {"AlignCorners": use.op.align_corners, "HalfPixelCenters": use.op.half_pixel}
    return Written(kind, (0, _integers(use.op.size)), (table, options), 3 if any(options.values()) else 1)


# edgeq's name -> rule; not there: dequantize, which stands only between integers and real values
WRITERS: MappingProxyType[str, Rule] = MappingProxyType(
    {
        "abs": partial(_same, kind="ABS"),
        "add": partial(_add_or_sub, kind="ADD", table="AddOptions"),
        "arg_max": _arg_max,
        "average_pool_2d": partial(_pool, kind="AVERAGE_POOL_2D"),
        "batch_matmul": _batch_matmul,
        "concatenation": _concatenation,
        "conv2d": _conv2d,
        "depth_to_space": lambda use: Written(
            "DEPTH_TO_SPACE", (0,), ("DepthToSpaceOptions", {"BlockSize": use.op.block})
        ),
        "depthwise_conv2d": _depthwise_conv2d,
        "elu": partial(_same, kind="ELU"),
        "exp": partial(_same, kind="EXP"),
        "fully_connected": _fully_connected,
        "gather": _gather,
        "gelu": lambda use: Written("GELU", (0,), ("GeluOptions", {"Approximate": use.op.approximate})),
        "hard_swish": partial(_same, kind="HARD_SWISH"),
        "l2_normalization": _l2_normalization,
        "leaky_relu": lambda use: Written("LEAKY_RELU", (0,), ("LeakyReluOptions", {"Alpha": use.op.alpha})),
        "logistic": partial(_same, kind="LOGISTIC"),
        "max_pool_2d": partial(_pool, kind="MAX_POOL_2D"),
        "maximum": partial(_same, kind="MAXIMUM"),
        "mean": partial(_reduce, kind="MEAN"),
        "minimum": partial(_same, kind="MINIMUM"),
        "mirror_pad": _mirror_pad,
        "mul": _mul,
        "pack": _pack,
        "pad": _pad,
        "prelu": partial(_same, kind="PRELU"),
        "quantize": _quantize,
        "reduce_max": partial(_reduce, kind="REDUCE_MAX"),
        "reduce_min": partial(_reduce, kind="REDUCE_MIN"),
        "relu": partial(_same, kind="RELU"),
        "relu6": partial(_same, kind="RELU6"),
        "relu_n1_to_1": partial(_same, kind="RELU_N1_TO_1"),
        "reshape": _reshape,
        "resize_bilinear": partial(_resize, kind="RESIZE_BILINEAR", table="ResizeBilinearOptions"),
        "resize_nearest": partial(_resize, kind="RESIZE_NEAREST_NEIGHBOR", table="ResizeNearestNeighborOptions"),
        "rsqrt": partial(_same, kind="RSQRT"),
        "slice": _slice,
        "softmax": lambda use: Written("SOFTMAX", (0,), ("SoftmaxOptions", {"Beta": use.op.beta})),
        "space_to_depth": lambda use: Written(
            "SPACE_TO_DEPTH", (0,), ("SpaceToDepthOptions", {"BlockSize": use.op.block})
        ),
        "split": _split,
        "squared_difference": partial(_same, kind="SQUARED_DIFFERENCE"),
        "strided_slice": _strided_slice,
        "sub": partial(_add_or_sub, kind="SUB", table="SubOptions"),
        "sum": _sum,
        "tanh": partial(_same, kind="TANH"),
        "transpose": lambda use: Written("TRANSPOSE", (0, _integers(use.op.permutation))),
        "transpose_conv": _transpose_conv,
        "unpack": _unpack,
    }
)


def write_node(use: Use) -> Written:
    """Return the operator that computes what a node does, with the version that its code states.

    Raises UnsupportedError where there is none.
    """
    if use.op.name not in WRITERS:
        raise UnsupportedError("the format has no such operator on integers")
    written = WRITERS[use.op.name](use)
    narrow, wide, large = _VERSIONS.get(written.kind, (1, 1, 1))
    tensors = [tensor for tensor in use.inputs if tensor is not None]
    by_dtype = wide if tensors[0].dtype is DType.S16 else narrow
    by_rank = large if any(len(tensor.shape) > 4 for tensor in tensors) else 1
    return dataclasses.replace(written, version=max(by_dtype, by_rank, written.version))

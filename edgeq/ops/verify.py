# SPDX-License-Identifier: Apache-2.0
"""Check nodes against the meaning of their operators: shapes, quantization parameters, no mixture of float and int."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeq.errors import EdgeqError, GraphError, InvalidValueError, UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Graph, Node, Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.coded_weights import has_coding

_CODES = (DType.S8, DType.U8, DType.S16)  # dtypes whose integers stand for real values
_BOUNDARY = ("quantize", "dequantize")
_LARGEST_RATIO = 2.0**30  # beyond it a requantization multiplier does not fit its shift
_BIAS_TOLERANCE = 0.02  # of an output step; what LiteRT allows

Reason = tuple[str, str, str, str]  # node, operator, reason, hint


def verify_nodes(graph: Graph) -> None:
    """Raise GraphError or InvalidValueError, naming the node, where a node contradicts its operator.

    Output shapes are those that the operator infers. Tensors of codes have scales; zero points lie in the dtype's
    range (0 for int16); only weights have one scale per channel, along the operator's channel axis and with zero
    points of 0; biases have zero point 0 and the scale of input times weights; no ratio of scales exceeds 2^30.
    Raises UnsupportedError for weights that are neither codes nor float32.
    """
    for node in graph.nodes:
        try:
            _verify_shapes(graph, node)
            _verify_dtypes(graph, node)
            _verify_quantization(graph, node)
        except EdgeqError as error:
            error.args = (f'{node.op.name} "{node.name}": {error.args[0]}',)
            raise


def mixed_nodes(graph: Graph) -> list[Reason]:
    """List the hybrid nodes: those that compute on real values with quantized integers among their inputs."""
    reasons = []
    for node in graph.nodes:
        tensors = [tensor for tensor in graph.input_tensors(node) if tensor is not None]
        if node.op.name == "dequantize" and tensors and tensors[0].is_constant:
            reason = f"its input {tensors[0].name!r} is a quantized constant in a float computation"
        elif node.op.name in _BOUNDARY:
            continue
        else:
            tensors += graph.output_tensors(node)
            codes = next((tensor for tensor in tensors if tensor.dtype in _CODES), None)
            real = next((tensor for tensor in tensors if tensor.dtype.is_float), None)
            if codes is None or real is None:
                continue
            real_name, codes_name = (tensor.name.split(";")[0] for tensor in (real, codes))
            reason = f"hybrid: {real_name!r} is float32, {codes_name!r} is {codes.dtype.numpy}"
        hint = "convert from the float model with calibration data instead"
        reasons.append((node.name, node.op.name, reason, hint))
    return reasons


def _verify_shapes(graph: Graph, node: Node) -> None:
    shapes = node.op.infer_shape(graph.input_tensors(node))
    outputs = graph.output_tensors(node)
    if len(shapes) != len(outputs):
        raise GraphError(f"it has {len(outputs)} outputs, {len(shapes)} expected")
    for shape, tensor in zip(shapes, outputs, strict=True):
        if tuple(shape) != tensor.shape:
            raise GraphError(f'output "{tensor.name}" has shape {list(tensor.shape)}, {list(shape)} expected')


def _verify_dtypes(graph: Graph, node: Node) -> None:
    inputs = graph.input_tensors(node)
    for position, allowed in (
        (node.op.weight_input, (DType.S8, DType.F32)),
        (node.op.bias_input, (DType.S32, DType.S64, DType.F32)),
    ):
        tensor = inputs[position] if position is not None and position < len(inputs) else None
        if tensor is None or (position == node.op.weight_input and has_coding(tensor) and tensor.dtype is DType.U8):
            continue
        if tensor.dtype not in allowed:
            names = " or ".join(dtype.numpy.name for dtype in allowed)
            what = "weights" if position == node.op.weight_input else "bias"
            raise UnsupportedError(f"{what} {tensor.name!r} are {tensor.dtype.numpy}, {names} expected")


def _verify_quantization(graph: Graph, node: Node) -> None:
    inputs, outputs = graph.input_tensors(node), graph.output_tensors(node)
    for position, tensor in enumerate((*inputs, *outputs)):
        if tensor is None or tensor.dtype not in _CODES:
            continue
        if tensor.quant is None:
            raise InvalidValueError(f"{tensor.dtype.numpy} tensor {tensor.name!r} has no quantization parameters")
        _verify_zero_points(tensor, tensor.quant)
        if tensor.quant.is_per_channel:
            _verify_channels(node, tensor, tensor.quant, is_weights=position == node.op.weight_input)
    _verify_ratios(node, inputs, outputs)


def _verify_zero_points(tensor: Tensor, quant: QuantParams) -> None:
    low, high = (0, 0) if tensor.dtype is DType.S16 else tensor.dtype.limits
    for zero in quant.zero_points:
        if not low <= zero <= high:
            raise InvalidValueError(
                f"{tensor.dtype.numpy} tensor {tensor.name!r} has zero point {zero}, {low} to {high} expected"
            )


def _verify_channels(node: Node, tensor: Tensor, quant: QuantParams, *, is_weights: bool) -> None:
    axis = node.op.weight_axis
    if not is_weights:
        raise InvalidValueError(f"tensor {tensor.name!r} has {len(quant.scales)} scales, 1 expected")
    channels = tensor.shape[axis] if axis < len(tensor.shape) else 0
    if quant.axis != axis or len(quant.scales) != channels:
        raise InvalidValueError(
            f"per-channel scales of {tensor.name!r} have {len(quant.scales)} entries along dimension {quant.axis}, "
            f"weights have {channels} output channels along dimension {axis}"
        )
    if any(quant.zero_points):
        raise InvalidValueError(f"weights {tensor.name!r} have a zero point per channel, 0 expected")


def _verify_ratios(node: Node, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> None:
    quantized = [tensor for tensor in inputs if tensor is not None and tensor.dtype in _CODES]
    target = outputs[0].quant if outputs[0].dtype in _CODES else None
    if not quantized or target is None:
        return
    products = np.ones(1)
    position = node.op.weight_input
    if position is None:
        products = np.array([max(tensor.quant.scale for tensor in quantized if tensor.quant is not None)])
    else:
        for tensor in quantized:
            if tensor.quant is not None:
                products = products * np.array(tensor.quant.scales)
    ratio = float(products.max() / target.scale)
    if ratio > _LARGEST_RATIO:
        raise InvalidValueError(f"the scales of its inputs are {ratio:.4g} times the output's, more than 2^30")
    bias_at = node.op.bias_input
    bias = inputs[bias_at] if bias_at is not None and bias_at < len(inputs) else None
    if bias is not None and bias.quant is not None:
        _verify_bias(bias, bias.quant, products, target.scale)


def _verify_bias(bias: Tensor, quant: QuantParams, products: np.ndarray, output_scale: float) -> None:
    if any(quant.zero_points):
        raise InvalidValueError(f"bias {bias.name!r} has a zero point other than 0")
    scales = np.array(quant.scales)
    if len(scales) not in (1, len(products)) and len(products) != 1:
        raise InvalidValueError(f"bias {bias.name!r} has {len(scales)} scales, {len(products)} expected")
    wrong = np.abs(scales - products) > _BIAS_TOLERANCE * output_scale
    if wrong.any():
        channel = int(np.argmax(wrong))
        expected, found = (float(np.broadcast_to(values, wrong.shape)[channel]) for values in (products, scales))
        raise InvalidValueError(
            f"bias {bias.name!r} has scale {found:.6g} at channel {channel}, input times weights give {expected:.6g}"
        )

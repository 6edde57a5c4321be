# SPDX-License-Identifier: Apache-2.0
"""An int8 .tflite as an ONNX QDQ graph with uint8 activations, run by ONNX Runtime with one thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgeq.ir.dtypes import DType
from edgeq.ir.graph import ABSENT, Graph, Node, Tensor
from edgeq.ops.base import Activation
from edgeq.ops.convolution import slide
from edgeq.pipeline import read_source

OPSET, IR_VERSION = 17, 9


class Session:
    """ONNX Runtime with a model open. Raises ImportError when onnx or onnxruntime is missing."""

    def __init__(self, path: Path, port: np.dtype) -> None:
        """Convert the model; ``port`` is the dtype of the arrays that will be given."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        graph = _QdqGraph(read_source(path))
        self._session = onnxruntime.InferenceSession(graph.serialized(), options, providers=["CPUExecutionProvider"])
        self._shape = tuple(self._session.get_inputs()[0].shape)
        self._signed = port == np.int8

    def run(self, codes: np.ndarray) -> np.ndarray:
        """Run one inference on codes in the layout of the .tflite (NHWC); return uint8 codes."""
        shifted = (codes.view(np.uint8) ^ 128) if self._signed else codes
        given = shifted.transpose(0, 3, 1, 2) if codes.ndim == 4 else shifted
        found: np.ndarray = self._session.run(None, {"input": np.ascontiguousarray(given)})[0]
        return found


class _QdqGraph:
    """The ONNX nodes of a graph: real-valued operators between pairs of QuantizeLinear and DequantizeLinear."""

    def __init__(self, graph: Graph) -> None:
        import onnx

        self._onnx = onnx
        self._graph = graph
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._real: dict[int, str] = {}  # by tensor: the ONNX value with its real numbers
        source = graph.inputs[0].tensor
        self._real[source] = self._emit("DequantizeLinear", "input", *self._quantization(graph.tensors[source]))
        makers: dict[str, Callable[[Node], str]] = {
            "conv2d": self._convolution, "depthwise_conv2d": self._convolution, "fully_connected": self._dense,
            "add": lambda node: self._emit("Add", *(self._real[index] for index in node.inputs)),
            "average_pool_2d": self._pool, "mean": self._mean,
            "softmax": lambda node: self._emit("Softmax", self._real[node.inputs[0]], axis=-1),
        }  # fmt: skip
        for node in graph.nodes:
            output = node.outputs[0]
            if node.op.name in ("reshape", "quantize"):
                self._real[output] = self._relabelled(node)
                continue
            value = self._activated(makers[node.op.name](node), node)
            quantization = self._quantization(graph.tensors[output])
            self._codes = self._emit("QuantizeLinear", value, *quantization)
            self._real[output] = self._emit("DequantizeLinear", self._codes, *quantization)

    def serialized(self) -> bytes:
        """Return the model; its input and output are uint8 codes."""
        helper, kind = self._onnx.helper, self._onnx.TensorProto.UINT8
        source, target = (self._graph.tensors[ports[0].tensor] for ports in (self._graph.inputs, self._graph.outputs))
        self._nodes.append(helper.make_node("Identity", [self._codes], ["output"]))
        shape = [source.shape[axis] for axis in ((0, 3, 1, 2) if len(source.shape) == 4 else range(len(source.shape)))]
        ports = [helper.make_tensor_value_info("input", kind, shape)]
        results = [helper.make_tensor_value_info("output", kind, target.shape)]
        graph = helper.make_graph(self._nodes, "qdq", ports, results, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = IR_VERSION
        self._onnx.checker.check_model(model)
        data: bytes = model.SerializeToString()
        return data

    def _emit(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind}_{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def _constant(self, values: np.ndarray) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants.append(self._onnx.numpy_helper.from_array(np.array(values, order="C"), name))
        return name

    def _quantization(self, tensor: Tensor) -> tuple[str, str]:
        """Return the scale and the zero point of uint8 codes, 128 above those of int8."""
        assert tensor.quant is not None
        zero = tensor.quant.zero_point + (128 if tensor.dtype is DType.S8 else 0)
        return self._constant(np.array(tensor.quant.scale, np.float32)), self._constant(np.array(zero, np.uint8))

    def _weights(self, index: int, axes: tuple[int, ...]) -> str:
        tensor = self._graph.tensors[index]
        assert tensor.quant is not None
        assert tensor.data is not None
        scales, zeros = np.array(tensor.quant.scales, np.float32), np.array(tensor.quant.zero_points, np.int8)
        if len(scales) == 1:
            scales, zeros = scales[0], zeros[0]
        codes = self._constant(tensor.data.reshape(tensor.shape).transpose(axes))
        more = {"axis": 0} if scales.ndim else {}
        return self._emit("DequantizeLinear", codes, self._constant(scales), self._constant(zeros), **more)

    def _bias(self, node: Node) -> list[str]:
        if len(node.inputs) < 3 or node.inputs[2] == ABSENT:
            return []
        x, w, b = (self._graph.tensors[index] for index in node.inputs)
        assert x.quant is not None
        assert w.quant is not None
        assert b.data is not None
        scales = np.float32(x.quant.scale) * np.array(w.quant.scales, np.float32)
        if len(scales) == 1:
            scales = scales[0]
        more = {"axis": 0} if scales.ndim else {}
        zeros = self._constant(np.zeros(scales.shape, np.int32))
        return [self._emit("DequantizeLinear", self._constant(b.data), self._constant(scales), zeros, **more)]

    def _convolution(self, node: Node) -> str:
        x, w = (self._graph.tensors[index].shape for index in node.inputs[:2])
        op, kernel = node.op, (w[1], w[2])
        window = slide((x[1], x[2]), kernel, stride=op.stride, padding=op.padding, dilation=op.dilation)
        depthwise = op.name == "depthwise_conv2d"
        return self._emit(
            "Conv", self._real[node.inputs[0]],
            self._weights(node.inputs[1], (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)), *self._bias(node),
            group=x[3] if depthwise else 1, strides=op.stride, dilations=op.dilation, kernel_shape=kernel,
            pads=_pads((x[1], x[2]), op.dilation, window),
        )  # fmt: skip

    def _dense(self, node: Node) -> str:
        x = self._real[node.inputs[0]]
        if len(self._graph.tensors[node.inputs[0]].shape) != 2:
            x = self._emit("Flatten", x, axis=1)
        return self._emit("Gemm", x, self._weights(node.inputs[1], (0, 1)), *self._bias(node), transB=1)

    def _pool(self, node: Node) -> str:
        _, height, width, _ = self._graph.tensors[node.inputs[0]].shape
        size = (height, width)
        op, x = node.op, self._real[node.inputs[0]]
        if op.kernel == size:
            return self._emit("GlobalAveragePool", x)
        window = slide(size, op.kernel, stride=op.stride, padding=op.padding)
        pads = _pads(size, (1, 1), window)
        return self._emit("AveragePool", x, kernel_shape=op.kernel, strides=op.stride, pads=pads)

    def _mean(self, node: Node) -> str:
        value = self._emit("GlobalAveragePool", self._real[node.inputs[0]])
        return self._emit("Flatten", value, axis=1) if len(self._graph.tensors[node.outputs[0]].shape) == 2 else value

    def _relabelled(self, node: Node) -> str:
        """Return the same real numbers in another shape or under other codes."""
        before, after = (self._graph.tensors[index] for index in (node.inputs[0], node.outputs[0]))
        value = self._real[node.inputs[0]]
        return self._emit("Flatten", value, axis=1) if len(before.shape) == 4 and len(after.shape) == 2 else value

    def _activated(self, value: str, node: Node) -> str:
        activation = getattr(node.op, "activation", Activation.NONE)
        if activation is Activation.RELU:
            return self._emit("Relu", value)
        if activation is Activation.RELU6:
            return self._emit("Clip", value, *(self._constant(np.array(bound, np.float32)) for bound in (0, 6)))
        assert activation is Activation.NONE
        return value


def _pads(size: tuple[int, int], dilation: tuple[int, int], window: Any) -> list[int]:
    """Return padding at the top, left, bottom, right."""
    after = [
        max(0, (window.output[i] - 1) * window.stride[i] + (window.kernel[i] - 1) * dilation[i] + 1
            - size[i] - window.before[i])
        for i in range(2)
    ]  # fmt: skip
    return [*window.before, *after]

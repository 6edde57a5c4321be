# SPDX-License-Identifier: Apache-2.0
"""Small graphs for tests: one operator, or whatever a test lists."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from edgeq.ir.graph import ABSENT, Graph, Node, Port, Tensor
from edgeq.ops.base import Case, Rounding
from edgeq.ops.coded_weights import has_coding


def graph_of_case(case: Case) -> Graph:
    """Make a graph of one node whose run-time inputs and outputs are the model's."""
    tensors: list[Tensor] = []
    inputs, read = [], []
    for tensor in case.inputs:
        if tensor is None:
            read.append(ABSENT)
            continue
        read.append(len(tensors))
        if tensor.data is None:
            inputs.append(Port(tensor.name, len(tensors), tensor.dtype))
        tensors.append(tensor)
    written = tuple(range(len(tensors), len(tensors) + len(case.outputs)))
    outputs = [Port(tensor.name, index, tensor.dtype) for tensor, index in zip(case.outputs, written, strict=True)]
    tensors += case.outputs
    return Graph(
        case.op.name, tuple(tensors), (Node("node", case.op, tuple(read), written),), tuple(inputs), tuple(outputs)
    )


def with_powers_of_two(case: Case) -> Case:
    """Return a case whose scales are powers of two: those of inputs rounded down, of outputs up."""

    def rounded(tensor: Tensor | None, rule: Callable[[np.ndarray], np.ndarray]) -> Tensor | None:
        if tensor is None or tensor.quant is None:
            return tensor
        scales = tuple(float(2.0**exponent) for exponent in rule(np.log2(tensor.quant.scales)))
        return dataclasses.replace(tensor, quant=dataclasses.replace(tensor.quant, scales=scales))

    inputs = tuple(rounded(tensor, np.floor) for tensor in case.inputs)
    outputs = tuple(tensor for output in case.outputs if (tensor := rounded(output, np.ceil)) is not None)
    return Case(case.op, inputs, outputs)


def random_codes(rng: np.random.Generator, tensor: Tensor) -> np.ndarray:
    """Draw codes over the whole range of a tensor's dtype, extremes included."""
    low, high = tensor.dtype.limits
    codes = rng.integers(low, high + 1, tensor.shape, dtype=np.int64)
    extreme = rng.random(tensor.shape) < 0.1
    return np.where(extreme, rng.choice([low, high], tensor.shape), codes).astype(tensor.dtype.numpy)


def rounding_for(case: Case, wanted: Rounding) -> Rounding:
    """Return the rounding to fold a case with: for low-bit weights there is only the native one."""
    return Rounding.NATIVE if any(has_coding(tensor) for tensor in case.inputs) else wanted

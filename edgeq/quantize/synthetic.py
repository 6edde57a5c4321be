# SPDX-License-Identifier: Apache-2.0
"""Made-up inputs, from nothing but a range or a mean and a standard deviation, for calibration without data.

Layers add up neighbouring values, so what reaches them depends on how smooth inputs are: white noise leaves the ranges
of an image classifier several times too narrow. Here each sample is a smooth random field of its own smoothness,
from white to even, and where the range is known also of its own contrast and brightness, down to flat black and white.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeq.errors import UsageError
from edgeq.ir.graph import Graph
from edgeq.quantize.declared import Declared, Within

COUNT = 256
SHARPEST = 0.3  # standard deviation of the smoothing kernel, in positions; it is log-uniform up to half of the input
CONTRAST = (-1.0, 1.5)  # natural logarithm of the field's standard deviation before it is mapped onto a range


def synthetic_batches(
    graph: Graph, *, inputs: Sequence[Declared], rng: np.random.Generator, count: int = COUNT
) -> list[list[np.ndarray]]:
    """Return one batch of ``count`` samples, as calibration takes them; inputs of integers are all zeros.

    Positions are all axes but the first and the last. Raises UsageError when the declarations are not as many as the
    inputs.
    """
    if len(inputs) != len(graph.inputs):
        raise UsageError(f"{graph.name}: {len(graph.inputs)} inputs, {len(inputs)} declared")
    arrays = []
    for port, declared in zip(graph.inputs, inputs, strict=True):
        tensor = graph.tensors[port.tensor]
        shape = (count, *tensor.shape[1:])
        if tensor.dtype.is_float:
            arrays.append(_samples(shape, declared, rng).astype(tensor.dtype.numpy))
        else:
            arrays.append(np.zeros(shape, tensor.dtype.numpy))
    return [arrays]


def _samples(shape: tuple[int, ...], declared: Declared, rng: np.random.Generator) -> np.ndarray:
    fields = np.array([smooth_field(shape[1:], rng) for _ in range(shape[0])])
    if isinstance(declared, Within):
        each = (shape[0], *(1,) * (len(shape) - 1))
        fields = fields * np.exp(rng.uniform(*CONTRAST, each)) + rng.standard_normal(each)
    return declared.of_normals(fields)


def smooth_field(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return standard normal values of a shape, those of neighbouring positions alike: white noise, blurred."""
    axes = [axis for axis, size in enumerate(shape[:-1]) if size > 1]
    if not axes:
        return rng.standard_normal(shape)
    widest = max(max(shape[axis] for axis in axes) / 2, SHARPEST)
    width = np.exp(rng.uniform(np.log(SHARPEST), np.log(widest)))
    values = rng.standard_normal([3 * size if axis in axes else size for axis, size in enumerate(shape)])
    for axis in axes:
        places = np.arange(3 * shape[axis]) - shape[axis]
        kernel = np.exp(-0.5 * ((np.arange(shape[axis])[:, np.newaxis] - places) / width) ** 2)
        kernel /= np.sqrt(np.sum(kernel**2, axis=1, keepdims=True))  # keeps the variance 1
        values = np.moveaxis(np.tensordot(kernel, values, (1, axis)), 0, axis)
    return values

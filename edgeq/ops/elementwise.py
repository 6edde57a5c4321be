# SPDX-License-Identifier: Apache-2.0
"""What elementwise operators on two tensors share: broadcasting as strides, output multipliers, random cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from edgeq.errors import InvalidValueError, UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import INT32_MAX, Mode
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Case, Op, Shape, Step
from edgeq.ops.folding import broadcast_shape, multiplier, quant_of, require_dtype, required

RANK = 6  # dimensions that an elementwise step loops over


class Geometry(NamedTuple):
    """The loops of an elementwise step, RANK sizes and strides in elements; a stride is 0 where an operand repeats."""

    sizes: Shape
    strides_a: Shape
    strides_b: Shape


class Binary(Op):
    """An operator on pairs of elements, broadcast as NumPy does."""

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        return [broadcast_shape(required(inputs, 0, "first input").shape, required(inputs, 1, "second input").shape)]


class BinaryStep(Step):
    """out[i0]..[i5] = f(a[i . strides_a], b[i . strides_b]); a subclass declares the fields of a Geometry."""

    sizes: tuple[int, ...]
    strides_a: tuple[int, ...]
    strides_b: tuple[int, ...]

    def operands(self, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return both inputs broadcast to the shape of the output, as int64."""
        first, second = (
            np.lib.stride_tricks.as_strided(
                np.ascontiguousarray(array).reshape(-1),
                shape=self.sizes,
                strides=[stride * array.itemsize for stride in strides],
                writeable=False,
            ).astype(np.int64)
            for array, strides in zip(inputs, (self.strides_a, self.strides_b), strict=True)
        )
        return first, second


def broadcast_geometry(first: Shape, second: Shape) -> Geometry:
    """Merge the dimensions of two shapes along which each operand either advances or repeats.

    Raises GraphError for shapes that do not broadcast, UnsupportedError when more than RANK dimensions are left.
    """
    result = broadcast_shape(first, second)
    padded = [(1,) * (len(result) - len(shape)) + tuple(shape) for shape in (first, second)]
    runs: list[tuple[int, bool, bool]] = []  # (size, a advances, b advances)
    for size, in_a, in_b in zip(result, *padded, strict=True):
        if size == 1:
            continue
        advances = (in_a != 1, in_b != 1)
        if runs and runs[-1][1:] == advances:
            runs[-1] = (runs[-1][0] * size, *advances)
        else:
            runs.append((size, *advances))
    if len(runs) > RANK:
        raise UnsupportedError(f"broadcasting {list(first)} with {list(second)} takes more than {RANK} loops")
    runs = [(1, False, False)] * (RANK - len(runs)) + runs

    def strides(operand: int) -> Shape:
        found, next_stride = [], 1
        for run in reversed(runs):
            found.append(next_stride if run[operand] else 0)
            next_stride *= run[0] if run[operand] else 1
        return tuple(reversed(found))

    return Geometry(tuple(run[0] for run in runs), strides(1), strides(2))


def require_equal_dtypes(tensors: Sequence[Tensor], *allowed: DType) -> DType:
    """Return the one dtype of all tensors, which must be one of those allowed."""
    dtype = require_dtype(tensors[0], *allowed)
    for tensor in tensors[1:]:
        require_dtype(tensor, dtype)
    if dtype is DType.S16:
        for tensor in tensors:
            if quant_of(tensor).zero_point != 0:
                raise UnsupportedError(f"int16 tensor {tensor.name!r} has zero point {quant_of(tensor).zero_point}")
    return dtype


def output_multiplier(real: float, mode: Mode, *, peak: int, dtype: DType) -> tuple[int, int]:
    """Split the multiplier of integers of magnitude up to ``peak`` that become codes of ``dtype``.

    A multiplier so large that every integer but 0 saturates is as good as the smallest such one; the two-step mode
    keeps it, wrap and all, because LiteRT does. Raises InvalidValueError where the product could pass int32.
    """
    if mode is not Mode.DOUBLE:
        real = min(real, 2.0 * 2 ** (8 * dtype.bytes))
        if peak * real > INT32_MAX:
            raise InvalidValueError(f"multiplier {real:.6g} is too large for sums of magnitude {peak}")
    return multiplier(real, mode)


def sample_binary(op: Op, rng: np.random.Generator, *, dtype: DType = DType.S8, same_quant: bool = False) -> Case:
    """Draw two shapes that broadcast, constants now and then, and parameters."""
    shape = tuple(int(size) for size in rng.integers(1, 7, size=int(rng.integers(1, 6))))
    shapes = [shape, tuple(size if rng.random() < 0.6 else 1 for size in shape)[int(rng.integers(len(shape))) :]]
    if rng.random() < 0.3:
        shapes[1] = shape
    if rng.random() < 0.4:
        shapes.reverse()

    def draw() -> QuantParams:
        zero_point = int(rng.integers(-128, 128)) if dtype is DType.S8 else 0
        return QuantParams.of(2.0 ** rng.uniform(-8, 0), zero_point)

    quants = [draw()] * 3 if same_quant else [draw() for _ in range(3)]
    inputs = [Tensor(name, size, dtype, quant) for name, size, quant in zip("ab", shapes, quants, strict=False)]
    if rng.random() < 0.3:
        data = rng.integers(dtype.limits[0], dtype.limits[1], inputs[1].shape, dtype.numpy, endpoint=True)
        inputs[1] = Tensor("b", inputs[1].shape, dtype, quants[1], data)
    output = Tensor("y", broadcast_shape(*shapes), dtype, quants[2])
    return Case(op, tuple(inputs), (output,))

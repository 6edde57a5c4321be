# SPDX-License-Identifier: Apache-2.0
"""What operators that move codes unchanged share: which tensors go together, axes, and random cases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeq.errors import GraphError, UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Case, Op, Shape
from edgeq.ops.folding import require_dtype, require_same_quant

MAX_RANK = 6  # loops of the steps that address by dimension

_MOVABLE = (DType.S8, DType.U8, DType.S16, DType.S32, DType.S64, DType.BOOL)


def element_bytes(tensors: Sequence[Tensor]) -> int:
    """Return the element size of tensors between which codes are copied as they are.

    Raises UnsupportedError for dtypes that differ or are not integers, InvalidValueError for scales or zero points that
    differ among the quantized ones.
    """
    for tensor in tensors:
        if require_dtype(tensor, *_MOVABLE) is not tensors[0].dtype:
            raise UnsupportedError(
                f"tensors {tensors[0].name!r} ({tensors[0].dtype.numpy.name}) and {tensor.name!r} "
                f"({tensor.dtype.numpy.name}) must share one dtype"
            )
    quantized = [tensor for tensor in tensors if tensor.quant is not None]
    if quantized:
        require_same_quant(quantized)
    return tensors[0].dtype.bytes


def axis_of(axis: int, rank: int) -> int:
    """Return an axis counted from the front; raises GraphError when the rank has no such axis."""
    if not -rank <= axis < rank:
        raise GraphError(f"axis {axis} of a tensor with {rank} dimensions")
    return axis % rank


def volume(sizes: Sequence[int]) -> int:
    """Return the number of elements of a shape."""
    return int(np.prod(sizes, dtype=np.int64))


def sample_shape(rng: np.random.Generator, low: int = 1, high: int = MAX_RANK) -> Shape:
    """Draw a shape with ``low`` to ``high`` dimensions."""
    rank = int(rng.integers(low, high + 1))
    return tuple(int(size) for size in rng.integers(1, 6 if rank > 4 else 9, size=rank))


def sample_tensor(rng: np.random.Generator, shape: Shape, *, dtype: DType | None = None) -> Tensor:
    """Draw the dtype (int8 more often than int16) and parameters of an input."""
    dtype = dtype or (DType.S16 if rng.random() < 0.25 else DType.S8)
    zero_point = int(rng.integers(-128, 128)) if dtype is DType.S8 else 0
    return Tensor("x", shape, dtype, QuantParams.of(2.0 ** rng.uniform(-12, 2), zero_point))


def case_of(op: Op, inputs: Sequence[Tensor | None]) -> Case:
    """Complete a random case: outputs take the dtype and parameters of the first input."""
    source = inputs[0]
    assert source is not None
    shapes = op.infer_shape(inputs)
    outputs = tuple(Tensor(f"y{i}", shape, source.dtype, source.quant) for i, shape in enumerate(shapes))
    return Case(op, tuple(inputs), outputs)

# SPDX-License-Identifier: Apache-2.0
"""BATCH_MATMUL: products of two computed tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import GraphError, InvalidValueError, UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.fixed_point import INT32_MAX, Mode, requant
from edgeq.ir.graph import Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Activation, Case, Fold, Op, Rounding, Shape, Step, constant, ints
from edgeq.ops.folding import (
    activation_bounds,
    broadcast_shape,
    f32,
    multiplier,
    quant_of,
    require_dtype,
    required,
    shifts_alone,
)
from edgeq.ops.linear import MAX_DEPTH, PATCHES, exact_multiplier

BATCH_AXES = 3
Triple = tuple[int, int, int]


@dataclass(frozen=True)
class BatchMatmulStep(Step):
    """Products of int8 matrices (rows, depth) and (depth, columns), over three batch axes."""

    name: ClassVar[str] = "batch_matmul"
    code: ClassVar[int] = 5

    rows: int
    columns: int
    depth: int
    a_transposed: int  # 1 when a is stored as (depth, rows)
    b_transposed: int  # 1 when b is stored as (columns, depth)
    a_zero: int
    b_zero: int
    output_zero: int
    act_min: int
    act_max: int
    mode: int
    batch: Triple = ints(BATCH_AXES)
    a_batch: Triple = ints(BATCH_AXES)  # sizes of a's batch axes: those of batch, or 1 to broadcast
    b_batch: Triple = ints(BATCH_AXES)
    bias: np.ndarray = constant(DType.S32)  # (columns,)
    multipliers: np.ndarray = constant(DType.S32)  # (columns,)
    shifts: np.ndarray = constant(DType.S8)  # (columns,)

    def reference_q(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        a = inputs[0].reshape(*self.a_batch, *self._stored(self.rows, self.depth, self.a_transposed))
        b = inputs[1].reshape(*self.b_batch, *self._stored(self.depth, self.columns, self.b_transposed))
        a = a.swapaxes(-1, -2) if self.a_transposed else a
        b = b.swapaxes(-1, -2) if self.b_transposed else b
        sums = ((a.astype(np.float64) - self.a_zero) @ (b.astype(np.float64) - self.b_zero)).astype(np.int64)
        scaled = requant(sums + self.bias, self.multipliers, self.shifts, self.mode) + self.output_zero
        return [np.clip(scaled, self.act_min, self.act_max).astype(np.int8)]

    @staticmethod
    def _stored(rows: int, columns: int, transposed: int) -> tuple[int, int]:
        return (columns, rows) if transposed else (rows, columns)

    def scratch_bytes(self) -> int:
        b = 0 if self.b_transposed else self.columns * self.depth
        a = PATCHES * self.depth if self.a_transposed else 0
        return 4 * self.columns + b + a

    def macs(self) -> int:
        return int(np.prod(self.batch, dtype=np.int64)) * self.rows * self.columns * self.depth


def fold_product(
    a: Tensor,
    b: Tensor,
    y: Tensor,
    *,
    sizes: tuple[int, int, int],
    transposed: tuple[bool, bool],
    real: float,
    bias: np.ndarray,
    activation: Activation,
    mode: Mode,
    batches: tuple[Shape, Shape] = ((), ()),
) -> Fold:
    """Fold the product of two int8 tensors; sizes are (rows, columns, depth), bias (columns,) int64.

    batches are the batch axes of a and b, at most three. Raises InvalidValueError when an accumulator could overflow.
    """
    for tensor in (a, b, y):
        require_dtype(tensor, DType.S8)
    rows, columns, depth = sizes
    shape = broadcast_shape(*batches)
    if max(len(shape), len(batches[0]), len(batches[1])) > BATCH_AXES or depth > MAX_DEPTH:
        raise UnsupportedError(
            f"{len(shape)} batch axes and {depth} products per output, at most {BATCH_AXES} and {MAX_DEPTH} expected"
        )
    m, shift = multiplier(real, mode)
    zeros = quant_of(a, "input").zero_point, quant_of(b, "input").zero_point
    folded = bias if m != 0 else np.zeros_like(bias)
    peak = depth * (128 + abs(zeros[0])) * (128 + abs(zeros[1])) + int(np.abs(folded).max(initial=0))
    if m != 0 and peak << max(shift, 0) > INT32_MAX:
        raise InvalidValueError(f"the accumulator can reach {peak}, more than int32 holds ({INT32_MAX})")
    quant = quant_of(y, "output")
    act_min, act_max = activation_bounds(activation, quant, y.dtype)
    if mode is Mode.EXACT:
        m = exact_multiplier(real, (m, shift), peak=peak, zero=quant.zero_point, bounds=(act_min, act_max))
    return Fold(
        shifts_alone(
            BatchMatmulStep(
                batch=_padded(shape),
                a_batch=_padded(batches[0]),
                b_batch=_padded(batches[1]),
                rows=rows,
                columns=columns,
                depth=depth,
                a_transposed=int(transposed[0]),
                b_transposed=int(transposed[1]),
                a_zero=zeros[0],
                b_zero=zeros[1],
                output_zero=quant.zero_point,
                act_min=act_min,
                act_max=act_max,
                mode=int(mode),
                bias=folded.astype(np.int32),
                multipliers=np.full(columns, m, np.int32),
                shifts=np.full(columns, shift, np.int8),
            )
        ),
        (0, 1),
    )


def _padded(shape: Shape) -> Triple:
    first, second, third = (1,) * (BATCH_AXES - len(shape)) + tuple(shape)
    return first, second, third


@dataclass(frozen=True)
class BatchMatmul(Op):
    """Product of a (..., M, K) and b (..., K, N); adj_x and adj_y say that the last two axes come swapped."""

    name: ClassVar[str] = "batch_matmul"

    adj_x: bool = False
    adj_y: bool = False

    def _sizes(self, a: Shape, b: Shape) -> tuple[int, int, int]:
        if min(len(a), len(b)) < 2:
            raise GraphError(f"shapes {list(a)} and {list(b)} are not matrices")
        rows, depth = a[-2:][:: -1 if self.adj_x else 1]
        other, columns = b[-2:][:: -1 if self.adj_y else 1]
        if depth != other:
            raise GraphError(f"matrices of {depth} columns and {other} rows do not go together")
        return rows, columns, depth

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        a, b = required(inputs, 0, "input").shape, required(inputs, 1, "input").shape
        rows, columns, _ = self._sizes(a, b)
        return [(*broadcast_shape(a[:-2], b[:-2]), rows, columns)]

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        a, b = np.asarray(inputs[0]), np.asarray(inputs[1])
        return [(a.swapaxes(-1, -2) if self.adj_x else a) @ (b.swapaxes(-1, -2) if self.adj_y else b)]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        a, b, y = required(inputs, 0, "input"), required(inputs, 1, "input"), outputs[0]
        sizes = self._sizes(a.shape, b.shape)
        product = f32(quant_of(a, "input").scale * quant_of(b, "input").scale)
        return fold_product(
            a,
            b,
            y,
            sizes=sizes,
            transposed=(self.adj_x, self.adj_y),
            real=product / quant_of(y, "output").scale,
            bias=np.zeros(sizes[1], np.int64),
            activation=Activation.NONE,
            mode=rounding.mode,
            batches=(a.shape[:-2], b.shape[:-2]),
        )

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        rows, columns, depth = (int(size) for size in rng.integers(1, 40, size=3))
        batch = tuple(int(size) for size in rng.integers(1, 4, size=int(rng.integers(0, 4))))
        own = [tuple(1 if rng.random() < 0.3 else size for size in batch)[int(rng.integers(0, 2)) :] for _ in range(2)]
        op = cls(bool(rng.integers(2)), bool(rng.integers(2)))
        a = (*own[0], *((depth, rows) if op.adj_x else (rows, depth)))
        b = (*own[1], *((columns, depth) if op.adj_y else (depth, columns)))
        quants = [QuantParams.of(2.0 ** rng.uniform(-8, 0), int(rng.integers(-128, 128))) for _ in range(2)]
        scale = quants[0].scale * quants[1].scale * 5000 * np.sqrt(depth) * 2.0 ** rng.uniform(-2, 2)
        inputs = (Tensor("a", a, DType.S8, quants[0]), Tensor("b", b, DType.S8, quants[1]))
        (shape,) = op.infer_shape(inputs)
        return Case(op, inputs, (Tensor("y", shape, DType.S8, QuantParams.of(scale, int(rng.integers(-128, 128)))),))

# SPDX-License-Identifier: Apache-2.0
"""GELU: x times the normal distribution function of x, exact or by its tanh approximation; by table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Case, Fold, Rounding
from edgeq.ops.folding import required
from edgeq.ops.unary import RealUnary, sample_unary, transcendental


@dataclass(frozen=True)
class Gelu(RealUnary):
    """x * (1 + erf(x / sqrt(2))) / 2, or with tanh(sqrt(2 / pi) * (x + 0.044715 x^3)) for the erf."""

    name: ClassVar[str] = "gelu"

    approximate: bool = False

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        x = np.asarray(inputs[0])
        real = x.dtype.type
        if self.approximate:
            inner = real(math.sqrt(2 / math.pi)) * (x + real(0.044715) * x * x * x)
            gate = transcendental(np.tanh, inner)
        else:
            gate = transcendental(_erf, x * real(math.sqrt(0.5)))
        return [real(0.5) * x * (real(1) + gate)]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold:
        if rounding is Rounding.TFLITE and required(inputs, 0, "input").dtype is DType.S16:
            raise UnsupportedError(
                "int16 gelu: LiteRT's table depends on the last bit of its C library's erf and tanh",
                hint="convert with --rounding native",
            )
        return super().fold(inputs, outputs, rounding=rounding)

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        return sample_unary(cls(bool(rng.integers(2))), rng)


def _erf(x: np.ndarray) -> np.ndarray:
    return np.array([math.erf(value) for value in x.ravel()]).reshape(x.shape)

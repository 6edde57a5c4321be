# SPDX-License-Identifier: Apache-2.0
"""ELU: x, or exp(x) - 1 where x is negative; by table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ops.unary import RealUnary, transcendental


@dataclass(frozen=True)
class Elu(RealUnary):
    """x where x >= 0, exp(x) - 1 elsewhere."""

    name: ClassVar[str] = "elu"

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        x = np.asarray(inputs[0])
        return [np.where(x < 0, transcendental(np.expm1, np.minimum(x, 0)), x)]

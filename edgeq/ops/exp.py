# SPDX-License-Identifier: Apache-2.0
"""EXP: e to the power of x, by table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ops.unary import RealUnary, transcendental


@dataclass(frozen=True)
class Exp(RealUnary):
    """The exponential function."""

    name: ClassVar[str] = "exp"

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        return [transcendental(np.exp, np.asarray(inputs[0]))]

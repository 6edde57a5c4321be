# SPDX-License-Identifier: Apache-2.0
"""Transform: rewriting a float graph so that it quantizes better, its outputs unchanged or nearly so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.ir.graph import Graph

Samples = list[list[np.ndarray]]  # batches, each one array (n, ...) per input


@dataclass(frozen=True)
class Transform:
    """A rewriting of float graphs; subclasses are frozen dataclasses whose fields are the options."""

    name: ClassVar[str]

    def apply(self, graph: Graph, samples: Samples) -> Graph:
        """Return the rewritten graph. Tensors whose values change get another name. ``samples`` may be empty for a
        transform that needs no data; others raise BadInputError then."""
        raise NotImplementedError

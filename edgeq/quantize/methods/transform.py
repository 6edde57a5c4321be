# SPDX-License-Identifier: Apache-2.0
"""Transform: rewriting a float graph so that it quantizes better, its outputs unchanged or nearly so."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import BadInputError
from edgeq.ir.graph import Graph

Samples = list[list[np.ndarray]]  # batches, each one array (n, ...) per input


def require_samples(name: str, samples: Samples) -> None:
    """Raise BadInputError for the transform of this name when there is no sample."""
    if not any(len(batch[0]) for batch in samples):
        raise BadInputError(
            f"transform {name!r}: it needs samples of the model's inputs, none were given",
            hint='leave it out of transforms, or set ranges to "data", or "synthetic" for made-up samples',
        )


@dataclass(frozen=True)
class Transform(ABC):
    """A rewriting of float graphs; subclasses are frozen dataclasses whose fields are the options."""

    name: ClassVar[str]

    @abstractmethod
    def apply(self, graph: Graph, samples: Samples) -> Graph:
        """Return the rewritten graph. Tensors whose values change get another name. ``samples`` may be empty for a
        transform that needs no data; others raise BadInputError then."""

    def variants(self, graph: Graph, samples: Samples) -> list[Graph]:
        """Return rewritten graphs of which the one is kept that comes out nearest to the float graph once quantized.

        The graph itself may be among them. Without choice there is one.
        """
        return [self.apply(graph, samples)]

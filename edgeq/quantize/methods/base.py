# SPDX-License-Identifier: Apache-2.0
"""The two halves of a calibration method: Method, its options, and Observer, what it has seen of one tensor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from edgeq.errors import BadInputError, InvalidValueError


def require_finite(values: np.ndarray, what: str) -> None:
    """Raise InvalidValueError naming the first flat index that holds a NaN or an infinity."""
    finite = np.isfinite(values)
    if not finite.all():
        index = int(np.argmin(finite.reshape(-1)))
        raise InvalidValueError(f"{what}: value {values.reshape(-1)[index]} at flat index {index} is not finite")


class Observer(ABC):
    """Statistics of one tensor over any number of batches, in constant memory.

    Subclasses implement ``observe``, ``absorb`` and ``choose``; none of them sees an empty or a non-finite batch.
    """

    def __init__(self, tensor: str) -> None:
        self.tensor = tensor
        self.seen = 0  # values

    def update(self, batch: np.ndarray) -> None:
        """Take in one batch, first axis = samples (an array of one axis is one sample); an empty one is ignored.

        Raises InvalidValueError for a batch with a non-finite value, and then stays as it was.
        """
        values = np.asarray(batch, np.float32)
        if values.size:
            require_finite(values, f"tensor {self.tensor!r}")
            self.observe(values.reshape(len(values) if values.ndim > 1 else 1, -1))
            self.seen += values.size

    def merge(self, other: Self) -> None:
        """Take in all that another observer of the same method saw, as if its batches came after one's own."""
        if other.seen:
            self.absorb(other)
            self.seen += other.seen

    def range(self) -> tuple[float, float]:
        """Return the (lowest, highest) real value to represent. Raises BadInputError when nothing was seen."""
        if not self.seen:
            raise BadInputError(f"tensor {self.tensor!r}: no calibration data", hint="give at least one sample")
        return self.choose()

    @abstractmethod
    def observe(self, values: np.ndarray) -> None:
        """Take in finite float32 values (samples, n), neither of them 0."""

    @abstractmethod
    def absorb(self, other: Self) -> None:
        """Merge another observer, which has seen values; this one may have seen none."""

    @abstractmethod
    def choose(self) -> tuple[float, float]:
        """Return the range; something has been seen."""


@dataclass(frozen=True)
class Method(ABC):
    """A way to choose ranges; subclasses are frozen dataclasses whose fields are the options."""

    name: ClassVar[str]

    @abstractmethod
    def observer(self, tensor: str) -> Observer:
        """Return a fresh observer for the tensor of this name."""

    def ranges(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and highest values (R,) to represent of each of rows (R, K), all finite, K >= 1.

        Methods that can, work on the values themselves and on all rows at once, not on histograms of them.
        """
        found = np.empty((2, len(rows)))
        for index, row in enumerate(rows):
            observer = self.observer("row")
            observer.update(row)
            found[:, index] = observer.range()
        return found[0], found[1]

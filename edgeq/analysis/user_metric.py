# SPDX-License-Identifier: Apache-2.0
"""A metric that is a function of the user's, named as FILE.py:FUNCTION.

    def within_a_degree(outputs, labels):       # outputs (n, ...) float, labels (n, ...), both NumPy arrays
        return abs(outputs[:, 0] - labels) < 1  # n scores: the metric is their mean

It returns one score per sample, (n,), or one number for all n. Larger is better unless the function has an attribute
``larger_is_better`` that is False. Scores are asked for batch by batch, and only they are kept; if they are truth
values, the metric is a proportion. A function that returns one number for the first batch, or fails on it, is given
everything at the end, and then 1000 resamples of it for the interval: n samples drawn with repetition, in any order.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgeq.errors import BadInputError, EdgeqError, StorageError, UsageError
from edgeq.quantize.data import call_script


def names_function(text: str) -> bool:
    """Say whether a metric's name means a function in a file."""
    return ".py:" in text


def load_function(text: str) -> UserFunction:
    """Run the file of FILE.py:FUNCTION, with the rights of the caller, and return the function.

    Raises StorageError for a file that cannot be read, BadInputError for one that fails, UsageError when it has no such
    function.
    """
    name, _, wanted = text.rpartition(":")
    path = Path(name)
    if not path.is_file():
        raise StorageError(f"{path}: there is no such file")
    found = call_script(path, lambda: runpy.run_path(str(path)))
    if not callable(found.get(wanted)):
        functions = sorted(key for key, value in found.items() if callable(value) and not key.startswith("_"))
        raise UsageError(f"{path} has no function {wanted!r}", hint=f"it has {', '.join(functions) or 'none'}")
    return UserFunction(text, path, found[wanted])


class UserFunction:
    """A user's function as a metric, which learns from the first batch whether it scores samples."""

    def __init__(self, name: str, path: Path, function: Callable[..., Any]) -> None:
        self.name = name
        self.larger_is_better = bool(getattr(function, "larger_is_better", True))
        self._path = path
        self._function = function
        self._scores_samples: bool | None = None

    def keep(self, output: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the scores of a batch, (n,), or the batch itself when the function scores all samples together."""
        if self._scores_samples is None:
            scores = self._first_scores(output, labels)
            self._scores_samples = scores is not None
        else:
            scores = self._call(output, labels) if self._scores_samples else None
        if scores is None:
            return output, labels
        if scores.shape != (len(output),):
            raise self._wrong(scores, f"{len(output)} scores for as many samples, or one number,")
        return (scores if scores.dtype == bool else scores.astype(np.float64),)

    def number(self, outputs: np.ndarray, labels: np.ndarray) -> float:
        """Return the function's one number for all these samples."""
        found = self._call(outputs, labels)
        if found.ndim != 0:
            raise self._wrong(found, "one number")
        return float(found)

    def _first_scores(self, output: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
        """Return the scores of the first batch; None for one number, or where the function fails.

        Then it may need more samples, and if not, it fails again when it is given all.
        """
        try:
            found = self._call(output, labels)
        except EdgeqError:
            return None
        return found if found.ndim > 0 else None

    def _call(self, outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        found = call_script(self._path, lambda: np.asarray(self._function(outputs, labels)))
        if found.dtype.kind not in "biuf":
            raise self._wrong(found, "numbers")
        if not np.isfinite(found).all():
            raise BadInputError(f"{self.name} returned a value that is not finite")
        return np.asarray(found)

    def _wrong(self, found: np.ndarray, expected: str) -> BadInputError:
        return BadInputError(
            f"{self.name}: {expected} expected, it returned {found.dtype} of shape {list(found.shape)}"
        )

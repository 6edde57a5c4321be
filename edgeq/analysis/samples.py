# SPDX-License-Identifier: Apache-2.0
"""Run many samples through a model that takes a fixed number of them per inference."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgeq.errors import BadInputError

Feed = list[np.ndarray]  # one array per input
Runner = Callable[[list[Feed]], Sequence[Sequence[np.ndarray]]]  # the outputs of an inference on each feed


def leading_size(shapes: Sequence[tuple[int, ...]]) -> int:
    """Return the common first size of input shapes, the samples of one run. Raises BadInputError when they differ."""
    sizes = {shape[:1] for shape in shapes}
    if len(sizes) != 1 or () in sizes:
        raise BadInputError(
            f"inputs of shapes {', '.join(str(list(shape)) for shape in shapes)} have no common batch axis"
        )
    return sizes.pop()[0]


def one_by_one(run: Callable[[Feed], Sequence[np.ndarray]]) -> Runner:
    """Make a runner of something that runs one inference."""
    return lambda feeds: [run(feed) for feed in feeds]


def run_samples(run: Runner, inputs: Sequence[np.ndarray], *, size: int) -> list[np.ndarray]:
    """Run samples, ``size`` in each inference; the last inference is filled up by repeating the last sample.

    ``inputs`` holds one array (n, ...) per input, n > 0. Returns one array (n, ...) per output; an output without a
    batch axis gains one when ``size`` is 1. Raises BadInputError for one that has none otherwise.
    """
    count = len(inputs[0])
    rows = np.minimum(np.arange(-(-count // size) * size), count - 1).reshape(-1, size)
    results = run([[array[chosen] for array in inputs] for chosen in rows])
    parts = [[_per_sample(output, size) for output in outputs] for outputs in results]
    return [np.concatenate(outputs)[:count] for outputs in zip(*parts, strict=True)]


def _per_sample(output: np.ndarray, size: int) -> np.ndarray:
    if output.shape[:1] == (size,):
        return output
    if size != 1:
        raise BadInputError(f"an output of shape {list(output.shape)} has no entry for each of {size} samples")
    return output[np.newaxis]

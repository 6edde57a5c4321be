# SPDX-License-Identifier: Apache-2.0
"""Calibration: run samples through the float graph and let observers see every tensor."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from edgeq.errors import BadInputError
from edgeq.ir.graph import Graph
from edgeq.ops.execute import Observe, run_float
from edgeq.quantize.data import align_batch
from edgeq.quantize.methods.base import Method, Observer
from edgeq.rewrite.batch import evaluation_batch

BATCH = 32  # samples that run at once; enough to keep BLAS busy, little enough to stay in memory


def run_batches(
    graph: Graph, batches: Iterable[Sequence[np.ndarray]], *, observe: Observe | None = None, precise: bool = False
) -> Iterator[list[np.ndarray]]:
    """Run a float graph on batches of any size (one array per input, first axis = samples); yield outputs part by part.

    Each part has at most 32 samples, or as many as the graph takes where it cannot run several at once. ``observe``
    and ``precise`` are those of ``run_float``. Raises BadInputError for arrays that the inputs do not take.
    """
    rebuilt: dict[int, tuple[Graph, int]] = {}
    for batch in batches:
        arrays = align_batch(graph, batch)
        count = len(arrays[0])
        start = 0
        while start < count:
            wanted = min(BATCH, count - start)
            if wanted not in rebuilt:
                rebuilt[wanted] = evaluation_batch(graph, wanted)
            runner, size = rebuilt[wanted]
            if start + size > count:
                raise BadInputError(f"{graph.name}: runs on {size} samples at once, {count - start} are left")
            yield run_float(runner, [array[start : start + size] for array in arrays], observe=observe, precise=precise)
            start += size


def calibrate(
    graph: Graph,
    batches: Iterable[Sequence[np.ndarray]],
    tensors: Iterable[int],
    *,
    method: Method,
    progress: Callable[[int], None] | None = None,
) -> dict[int, Observer]:
    """Return an observer for each of the tensors that has seen all batches.

    The graph runs in float64, so that the ranges do not depend on how a host orders its sums. ``progress`` is called
    with the number of samples done. Warns when there is one sample only; raises BadInputError when there is none.
    """
    observers = {index: method.observer(graph.tensors[index].name) for index in tensors}

    def observe(index: int, values: np.ndarray) -> None:
        if index in observers:
            observers[index].update(values)

    samples = 0
    for batch in batches:
        for _ in run_batches(graph, [batch], observe=observe, precise=True):
            pass
        samples += len(align_batch(graph, batch)[0])
        if progress is not None:
            progress(samples)
    if not samples:
        raise no_samples(graph)
    if samples == 1:
        warnings.warn(
            f"{graph.name}: calibrated on one sample; ranges will not cover what other inputs need, give 100 or more",
            stacklevel=3,
        )
    return observers


def no_samples(graph: Graph) -> BadInputError:
    """Return the error for calibration data without a sample."""
    return BadInputError(f"{graph.name}: the calibration data hold no sample", hint="give at least one, better 100")

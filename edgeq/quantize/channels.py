# SPDX-License-Identifier: Apache-2.0
"""What samples show of the channels of a float graph's tensors."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from edgeq.ir.graph import Graph
from edgeq.quantize.calibrate import run_batches


@dataclass(frozen=True, eq=False)
class Channels:
    """Sums and extremes over all positions of each channel, the last axis: (C,) float64."""

    count: int  # positions
    sums: np.ndarray
    absolutes: np.ndarray  # sums of absolute values
    squares: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        return np.asarray(self.sums / self.count)

    @property
    def variance(self) -> np.ndarray:
        return np.asarray(np.maximum(self.squares / self.count - self.mean**2, 0))


def measure_channels(graph: Graph, batches: list[list[np.ndarray]], wanted: Collection[int]) -> dict[int, Channels]:
    """Run a float graph on batches in float64; return what the channels of the wanted tensors hold."""
    found: dict[int, Channels] = {}

    def observe(index: int, values: np.ndarray) -> None:
        if index in wanted:
            rows = values.reshape(-1, values.shape[-1])
            seen = Channels(
                len(rows),
                rows.sum(axis=0),
                np.abs(rows).sum(axis=0),
                np.sum(rows * rows, axis=0),
                rows.min(axis=0, initial=np.inf),
                rows.max(axis=0, initial=-np.inf),
            )
            found[index] = _joined(found[index], seen) if index in found else seen

    for _ in run_batches(graph, batches, observe=observe, precise=True):
        pass
    return found


def _joined(one: Channels, other: Channels) -> Channels:
    return Channels(
        one.count + other.count,
        one.sums + other.sums,
        one.absolutes + other.absolutes,
        one.squares + other.squares,
        np.minimum(one.low, other.low),
        np.maximum(one.high, other.high),
    )

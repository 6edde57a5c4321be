# SPDX-License-Identifier: Apache-2.0
"""Ranges of weights by any calibration method: of each channel, or of each group of its inputs."""

from __future__ import annotations

import numpy as np

from edgeq.quantize.methods.base import Method


def ranges_of_rows(method: Method, rows: np.ndarray, *, group: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest value to represent of each of rows (C, K), all finite, K >= 1: (C,) float64.

    With ``group`` > 0 each row has a range for every so many of its inputs, the last from what is left:
    (C, ceil(K / group)).
    """
    if not group:
        return method.ranges(rows)
    whole = rows.shape[1] // group * group
    parts = []
    if whole:
        parts.append([ends.reshape(len(rows), -1) for ends in method.ranges(rows[:, :whole].reshape(-1, group))])
    if whole < rows.shape[1]:
        parts.append([ends[:, np.newaxis] for ends in method.ranges(rows[:, whole:])])
    low, high = (np.concatenate(ends, axis=1) for ends in zip(*parts, strict=True))
    return low, high

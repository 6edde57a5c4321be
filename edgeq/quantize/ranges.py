# SPDX-License-Identifier: Apache-2.0
"""Ranges of weights by any calibration method: of the whole tensor, of each channel, of each group of inputs."""

from __future__ import annotations

import numpy as np

from edgeq.errors import InvalidValueError, UsageError
from edgeq.quantize.methods.base import Method, require_finite


def ranges_of(
    method: Method, weights: np.ndarray, *, name: str, axis: int | None = 0, group: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest value to represent, as float64 arrays of one shape.

    ``axis`` is that of the C output channels, and the shape is (C,); without one the tensor has one range, (1,). With
    ``group`` the other axes in their order make up K inputs, and each channel has a range for every so many of them:
    (C, ceil(K / group)), the last from what is left. ``name`` is for messages. Raises InvalidValueError for weights
    that are empty or not finite, UsageError for a group that is not positive or has no channels.
    """
    if not weights.size:
        raise InvalidValueError(f"weights {name!r} of shape {list(weights.shape)} hold no value")
    require_finite(weights, f"weights {name!r}")
    if axis is None:
        if group is not None:
            raise UsageError(f"weights {name!r}: groups of {group} inputs given without an axis of channels")
        return method.ranges(weights.reshape(1, -1))
    rows = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)  # (C, K)
    if group is None:
        return method.ranges(rows)
    if group < 1:
        raise UsageError(f"weights {name!r}: groups of {group} inputs given, at least 1 expected")
    whole = rows.shape[1] // group * group
    parts = []
    if whole:
        parts.append([ends.reshape(len(rows), -1) for ends in method.ranges(rows[:, :whole].reshape(-1, group))])
    if whole < rows.shape[1]:
        parts.append([ends[:, np.newaxis] for ends in method.ranges(rows[:, whole:])])
    low, high = (np.concatenate(ends, axis=1) for ends in zip(*parts, strict=True))
    return low, high

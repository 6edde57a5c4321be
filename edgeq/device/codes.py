# SPDX-License-Identifier: Apache-2.0
"""Inputs and outputs of a program as devices take and give them: codes back to back, little-endian."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeq.compile.plan import Plan
from edgeq.errors import BadInputError


def pack_inputs(plan: Plan, samples: Sequence[Sequence[np.ndarray]]) -> bytes:
    """Return the codes of samples, each all inputs in order. Raises BadInputError for another dtype or size."""
    parts = []
    for codes in samples:
        for port, array in zip(plan.inputs, codes, strict=True):
            value = plan.values[port.value]
            if array.dtype != value.dtype.numpy or array.size * array.itemsize != value.bytes:
                raise BadInputError(
                    f"input {port.name!r} is {array.dtype} {list(array.shape)}, the program takes "
                    f"{value.dtype.numpy} {list(port.shape)}"
                )
            parts.append(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return b"".join(parts)


def output_bytes(plan: Plan) -> int:
    """Return the size of all outputs of one inference."""
    return sum(plan.values[port.value].bytes for port in plan.outputs)


def unpack_outputs(plan: Plan, stored: bytes) -> tuple[np.ndarray, ...]:
    """Return the outputs of one inference in their shapes."""
    arrays, start = [], 0
    for port in plan.outputs:
        value = plan.values[port.value]
        little = value.dtype.numpy.newbyteorder("<")
        piece = stored[start : start + value.bytes]
        arrays.append(np.frombuffer(piece, little).astype(value.dtype.numpy).reshape(port.shape))
        start += value.bytes
    return tuple(arrays)

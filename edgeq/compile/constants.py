# SPDX-License-Identifier: Apache-2.0
"""The constants of a plan as one blob, the same in a model file and in emitted C."""

from __future__ import annotations

import numpy as np

from edgeq.compile.plan import ALIGNMENT


class ConstantPool:
    """The constants section while it is written: equal arrays are stored once."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._offsets: dict[bytes, int] = {}

    def add(self, array: np.ndarray) -> tuple[int, int]:
        """Store an array (little-endian, 16-byte aligned); return its (offset, bytes)."""
        raw = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        if raw not in self._offsets:
            self.data += bytes(-len(self.data) % ALIGNMENT)
            self._offsets[raw] = len(self.data)
            self.data += raw
        return self._offsets[raw], len(raw)

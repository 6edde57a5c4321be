# SPDX-License-Identifier: Apache-2.0
"""Element types, with the permanent codes that the model file uses."""

from __future__ import annotations

import enum

import numpy as np


class DType(enum.Enum):
    """An element type; the value is (permanent code, NumPy name)."""

    S8 = (1, "int8")
    U8 = (2, "uint8")
    S16 = (3, "int16")
    S32 = (4, "int32")
    S64 = (5, "int64")
    F32 = (6, "float32")
    BOOL = (7, "bool")

    @property
    def code(self) -> int:
        return self.value[0]

    @property
    def numpy(self) -> np.dtype:
        return np.dtype(self.value[1])

    @property
    def bytes(self) -> int:
        return self.numpy.itemsize

    @property
    def is_float(self) -> bool:
        return self is DType.F32

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest storable integer; integers only."""
        info = np.iinfo(self.numpy)
        return int(info.min), int(info.max)

    @classmethod
    def of_code(cls, code: int) -> DType:
        """Return the dtype with this permanent code; raises KeyError for an unknown one."""
        return _BY_CODE[code]

    @classmethod
    def of_numpy(cls, dtype: np.dtype | type | str) -> DType:
        """Return the dtype of a NumPy dtype; raises KeyError for one that edgeq has no name for."""
        return _BY_NUMPY[np.dtype(dtype).name]


_BY_CODE = {dtype.code: dtype for dtype in DType}
_BY_NUMPY = {dtype.value[1]: dtype for dtype in DType}

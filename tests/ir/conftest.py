# SPDX-License-Identifier: Apache-2.0
"""The inline functions of the C library, called on arrays."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgeq.paths import native_dir

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """Build the C functions and return a caller: arrays become pointers, the first result array is made here."""
    target = tmp_path_factory.mktemp("shim") / "fixed_point.so"
    sources = [ROOT / "native" / "fixed_point_shim.c", native_dir() / "kernels" / "fixed_point.c"]
    command = ["cc", "-std=c11", "-O2", "-fPIC", "-shared", f"-I{native_dir() / 'include'}"]
    subprocess.run([*command, *map(str, sources), "-o", str(target)], check=True)
    library = ctypes.CDLL(str(target))

    def call(name, *arguments):
        count = next(argument.size for argument in arguments if isinstance(argument, np.ndarray))
        out = np.empty(count, np.int32)
        passed = [argument.ctypes.data_as(ctypes.c_void_p) if isinstance(argument, np.ndarray) else argument
                  for argument in (out, *arguments)]  # fmt: skip
        getattr(library, f"shim_{name}")(*passed, count)
        return out

    return call

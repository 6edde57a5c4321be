# SPDX-License-Identifier: Apache-2.0
"""Which operators are supported with which dtypes, found by folding random legal cases of each."""

from __future__ import annotations

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ops import all_ops
from edgeq.ops.base import Op, Rounding

_CASES = 60  # enough that a dtype drawn once in ten is missed with probability 0.002


def operator_dtypes() -> dict[str, tuple[str, ...]]:
    """Map each operator to the dtypes of the first input with which it has an integer form.

    Those without one, which convert real values at a model's boundary, are left out.
    """
    found = {op.name: _dtypes(op) for op in all_ops() if op.sample.__func__ is not Op.sample.__func__}  # type: ignore[attr-defined]
    return {name: dtypes for name, dtypes in found.items() if dtypes}


def _dtypes(op: type[Op]) -> tuple[str, ...]:
    rng = np.random.default_rng(0)
    found: set[str] = set()
    for _ in range(_CASES):
        case = op.sample(rng)
        first = next(tensor for tensor in case.inputs if tensor is not None)
        if first.dtype.numpy.name in found:
            continue
        try:
            op.fold(case.op, case.inputs, case.outputs, rounding=Rounding.NATIVE)
        except EdgeqError:
            continue
        found.add(first.dtype.numpy.name)
    return tuple(sorted(found, key=lambda name: (len(name), name)))

# SPDX-License-Identifier: Apache-2.0
"""The operator registry: every module of this folder is read, every Op and Step in it is known by name and code."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache

from edgeq.errors import InternalError
from edgeq.ops.base import Op, Step


@cache
def _classes() -> tuple[tuple[type[Op], ...], tuple[type[Step], ...]]:
    ops: list[type[Op]] = []
    steps: list[type[Step]] = []
    for module_info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        for _, found in sorted(inspect.getmembers(module, inspect.isclass)):
            if found.__module__ != module.__name__ or not hasattr(found, "name"):
                continue
            if issubclass(found, Op):
                ops.append(found)
            elif issubclass(found, Step):
                steps.append(found)
    for kind, names in (("operator", [op.name for op in ops]), ("step", [step.name for step in steps])):
        if len(set(names)) != len(names):
            raise InternalError(f"two {kind} classes share a name: {sorted(names)}")
    if len({step.code for step in steps}) != len(steps):
        raise InternalError(f"two steps share a code: {sorted((step.code, step.name) for step in steps)}")
    return tuple(sorted(ops, key=lambda op: op.name)), tuple(sorted(steps, key=lambda step: step.code))


def all_ops() -> tuple[type[Op], ...]:
    """Return every operator class, by name."""
    return _classes()[0]


def all_steps() -> tuple[type[Step], ...]:
    """Return every step class, by code."""
    return _classes()[1]


def step_of_code(code: int) -> type[Step]:
    """Return the step class with this code; raises KeyError when there is none."""
    return {step.code: step for step in all_steps()}[code]

# SPDX-License-Identifier: Apache-2.0
"""Name what a test needs beyond the base install: missing, the test is skipped on a laptop and fails in CI."""

from __future__ import annotations

import importlib
import os
import shutil
from types import ModuleType
from typing import NoReturn

import pytest


def needs_module(name: str) -> ModuleType:
    """Import a module, or skip the test saying that it is missing; fail when the variable CI is set."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing(f"needs the Python module {name} ({error})")


def needs_program(name: str) -> str:
    """Return a program's path, or skip the test saying that it is missing; fail when the variable CI is set."""
    path = shutil.which(name)
    if path is None:
        missing(f"needs the program {name}, which is not on PATH")
    return path


def missing(reason: str) -> NoReturn:
    """Skip the test for this reason; fail when the variable CI is set, where nothing may go unchecked."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; in CI nothing may be missing")
    pytest.skip(reason)

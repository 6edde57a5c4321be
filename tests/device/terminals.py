# SPDX-License-Identifier: Apache-2.0
"""A pseudo terminal in the place of a serial port."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def serial_port() -> Iterator[str]:
    """Give the name of a port that can be opened, with nobody at its other end."""
    ours, theirs = os.openpty()
    name = os.ttyname(theirs)
    os.close(theirs)
    try:
        yield name
    finally:
        os.close(ours)

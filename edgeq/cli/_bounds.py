# SPDX-License-Identifier: Apache-2.0
"""Bounds as the command line takes them: fractions, in percent or not, and sizes in bytes."""

from __future__ import annotations

import math
import re

from edgeq.errors import UsageError

_UNITS = {"": 1, "k": 1000, "kB": 1000, "KiB": 1024, "M": 10**6, "MB": 10**6, "MiB": 1 << 20}


def read_bound(text: str | None, option: str, *, is_fraction: bool) -> float | None:
    """Read a bound; as a fraction it is 0 to 1 or has a percent sign, so that 1 is never mistaken for 1 %.

    Raises UsageError for what is no such number, and for a negative drop.
    """
    if text is None:
        return None
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise UsageError(f"{option} is a number, {text!r} found") from None
    if not is_fraction and text.endswith("%"):
        raise UsageError(f"{option} {text} is in percent, the metric is no fraction", hint="give it in its own units")
    largest = 1.0 if option == "--min" or text.endswith("%") else 0.999999
    if is_fraction and not 0 <= value <= largest:
        raise UsageError(f"{option} {text} is no fraction of 1", hint="write 0.01 or 1% for one in a hundred")
    if not math.isfinite(value) or (option == "--max-drop" and value < 0):
        wanted = "number of at least 0" if option == "--max-drop" else "finite number"
        raise UsageError(f"{option} is a {wanted}, {text!r} found")
    return value


def read_size(text: str | None, option: str) -> int | None:
    """Read a number of bytes, such as 38400, 38.4kB or 64KiB. Raises UsageError for anything else, and for none."""
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)", text)
    if found is None or found[2] not in _UNITS or float(found[1]) == 0:
        raise UsageError(f"{option} is a number of bytes, {text!r} found", hint="write 38400, 38.4kB or 64KiB")
    return int(float(found[1]) * _UNITS[found[2]])

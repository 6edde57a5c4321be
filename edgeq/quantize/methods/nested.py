# SPDX-License-Identifier: Apache-2.0
"""A weight format as an option of another method."""

from __future__ import annotations

from edgeq.quantize.methods import parse
from edgeq.quantize.methods.weights import WeightFormat


def parse_weights(text: str) -> WeightFormat:
    """Make a weight format from ``int:bits=4;group=64``: as ``parse`` reads it, with semicolons for commas."""
    return parse(text.replace(";", ","), WeightFormat)

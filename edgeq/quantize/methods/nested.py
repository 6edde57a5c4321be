# SPDX-License-Identifier: Apache-2.0
"""A method as an option of another one, spelled with semicolons for commas."""

from __future__ import annotations

from edgeq.quantize.methods import parse
from edgeq.quantize.methods.base import Method
from edgeq.quantize.methods.weights import WeightFormat


def parse_weights(text: str) -> WeightFormat:
    """Make a weight format from ``int:bits=4;group=64``: as ``parse`` reads it, with semicolons for commas."""
    return parse(text.replace(";", ","), WeightFormat)


def parse_ranges(text: str) -> Method:
    """Make a calibration method from ``mse:bits=4;symmetric=true``, likewise."""
    return parse(text.replace(";", ","), Method)

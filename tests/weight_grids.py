# SPDX-License-Identifier: Apache-2.0
"""Grids of weights by the text of their format."""

from __future__ import annotations

import numpy as np

from edgeq.quantize.methods import parse
from edgeq.quantize.methods.weights import Grid, WeightFormat


def fit(text: str, weights: np.ndarray, importance: np.ndarray | None = None) -> Grid:
    """Return the grid that a format, spelled as in a recipe, chooses for weights (O, K)."""
    return parse(text, WeightFormat).fit(np.asarray(weights, np.float64), importance=importance)


def rounded(grid: Grid, weights: np.ndarray) -> np.ndarray:
    """Return weights rounded to a grid."""
    return grid.values(grid.nearest(weights))

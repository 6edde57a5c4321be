# SPDX-License-Identifier: Apache-2.0
"""Open the model that a command names: an .eqm file, or a source model converted on the fly."""

from __future__ import annotations

from pathlib import Path

from edgeq import api
from edgeq.errors import UsageError
from edgeq.format.read import is_model
from edgeq.ir.graph import Graph
from edgeq.paths import read_bytes
from edgeq.pipeline import is_quantized, read_source


def open_model(path: Path, *, board: str | None = None) -> api.Model:
    """Load an .eqm file, told by its first bytes, or convert a source model that needs no data.

    Raises what ``api.load`` and ``api.convert`` raise; UsageError for a float model.
    """
    if is_model(read_bytes(path)):
        return api.load(path)
    if read_float(path) is not None:
        raise UsageError(f"{str(path)!r} is a float model", hint="convert it first, with edgeq convert and --data")
    return api.convert(path, board=board)


def read_float(path: Path) -> Graph | None:
    """Return the graph of a float source model, None for an .eqm file or a quantized model."""
    if is_model(read_bytes(path)):
        return None
    graph = read_source(path)
    return None if is_quantized(graph) else graph

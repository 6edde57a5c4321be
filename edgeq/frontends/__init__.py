# SPDX-License-Identifier: Apache-2.0
"""The registry of source formats: every module of this folder that names ``SUFFIXES`` is one.

Such a module has ``SUFFIXES``, file name endings in lower case, and ``read(data, name) -> Graph``. A format that its
bytes give away has ``matches(data) -> bool`` too. The other modules are their parts.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path
from types import ModuleType

from edgeq.errors import BadInputError, InternalError
from edgeq.ir.graph import Graph
from edgeq.paths import read_bytes


@cache
def frontends() -> tuple[ModuleType, ...]:
    """Return the modules that read a source format, by name."""
    found: list[ModuleType] = []
    for module_info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        if hasattr(module, "SUFFIXES"):
            found.append(module)
    suffixes = supported_suffixes(tuple(found))
    if len(set(suffixes)) != len(suffixes):
        raise InternalError(f"two source formats share a suffix: {suffixes}")
    return tuple(found)


def supported_suffixes(modules: tuple[ModuleType, ...] | None = None) -> list[str]:
    """List the file name endings that can be read."""
    return [suffix for module in modules or frontends() for suffix in module.SUFFIXES]


def read_model(path: Path) -> Graph:
    """Read a model file; the graph is named after the file.

    The format is that of the suffix; a file without a known suffix is read as what its contents look like. Raises
    StorageError for a file that cannot be read, BadInputError for one of no known format or whose contents belong to
    another suffix, and what the format's reader raises.
    """
    data = read_bytes(path)
    by_suffix = [module for module in frontends() if path.suffix.lower() in module.SUFFIXES]
    by_content = [module for module in frontends() if hasattr(module, "matches") and module.matches(data)]
    if not by_suffix and not by_content:
        raise BadInputError(
            f"{str(path)!r} is not a model that edgeq reads", hint=f"it reads {', '.join(supported_suffixes())} files"
        )
    chosen = (by_suffix or by_content)[0]
    if by_suffix and by_content and chosen not in by_content:
        raise BadInputError(
            f"{str(path)!r} holds a model of another kind than its suffix says",
            hint=f"rename it to end in {by_content[0].SUFFIXES[0]}",
        )
    try:
        graph = chosen.read(data, path.stem)
    except BadInputError as error:
        error.args = (f"{str(path)!r}: {error.args[0]}",)
        raise
    assert isinstance(graph, Graph)
    return graph

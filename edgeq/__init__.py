# SPDX-License-Identifier: Apache-2.0
"""edgeq: trained models to verified integer-only programs on edge devices."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeq.analysis.accuracy import Accuracy
    from edgeq.api import Model, Session, connect, convert, evaluate, load
    from edgeq.errors import EdgeqError
    from edgeq.runtime.native import Arena

__version__ = "0.1.0"
__all__ = [
    "Accuracy", "Arena", "EdgeqError", "Model", "Session", "__version__", "connect", "convert", "evaluate", "load",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    # Public names are loaded on first use, so that importing one part of the package does not import all of it.
    if name == "EdgeqError":
        from edgeq.errors import EdgeqError

        return EdgeqError
    if name in __all__:
        from edgeq import api

        return getattr(api, name)
    raise AttributeError(f"module 'edgeq' has no attribute {name!r}")

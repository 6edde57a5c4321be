# SPDX-License-Identifier: Apache-2.0
"""The import rule of the package: a module imports only from layers below its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent / "edgeq"
LAYERS = (
    "errors", "paths", "ir board", "ops", "frontends rewrite", "quantize", "compile", "format emit", "runtime",
    "device", "pipeline", "analysis", "report", "api", "cli",
)  # fmt: skip
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names.split()}
MODULES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))


def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            if node.module == "edgeq":
                names |= {f"edgeq.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    parts = [name.split(".") for name in names if name.startswith("edgeq.")]
    return {part[1] for part in parts}


@pytest.mark.parametrize("module", [m for m in MODULES if m.name != "__init__.py" or len(m.parts) > 1], ids=str)
def test_imports_point_down(module: Path) -> None:
    own = module.parts[0].removesuffix(".py")
    assert own in RANK, f"{module} is in no layer"
    for other in _imported(ROOT / module) & set(RANK):
        below = RANK[other] < RANK[own] or other == own
        assert below, f"edgeq/{module} imports edgeq.{other}, which is not below it"

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fit the costs from which edgeq analyze predicts cycles, and write edgeq/analysis/costs/<cpu>.toml.

Every int8 model, and layers made up for the purpose, are profiled on a core's emulated board. Each kind of step gets
coefficients that are never negative and minimise the squared errors of its steps, each weighed by the root of its
cycles. The published error is that of predicting each model from a fit to the others.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import layers
import numpy as np

import edgeq.analysis.predict as predict
from edgeq import api
from edgeq.analysis.predict import FEATURES, OTHER, CostTable, features, kind_of
from edgeq.board import load_board
from edgeq.device.cycle_model import PACKAGE, find_tools
from edgeq.errors import EdgeqError

BOARDS = {"a53": "raspberry-pi-3", "a72": "raspberry-pi-4", "a76": "raspberry-pi-5"}
FIT = {  # which features may have a cost, so that few steps do not fix many coefficients
    "conv2d/pointwise": ("call", "row", "output", "mac"),
    "conv2d/window": ("call", "row", "output", "mac", "patch", "edge"),
    "conv2d/few_channels": ("call", "output", "mac", "patch", "edge"),
    "conv2d/dense": ("call", "output", "mac"),
    "depthwise_conv2d": ("call", "row", "output", "mac", "edge"),
}
FIT_ELSE = ("call", "output", "byte")


@dataclass(frozen=True)
class Sample:
    """One step of one model with its modelled cycles; a layer that was made up for the fit has no model's name."""

    model: str
    kind: str
    features: Mapping[str, float]
    cycles: float


def measure(board: str, paths: Sequence[Path]) -> tuple[list[Sample], str]:
    """Profile each model; return the samples and the kernels that ran. Models that do not convert are named."""
    samples: list[Sample] = []
    isa = ""
    made_up = [("", layers.convert(graph, board)) for graph in layers.assorted()]
    for name, model in [*_converted(paths, board), *made_up]:
        with api.connect(board) as device:
            device.load(model)
            profile = device.profile()
        isa = profile.isa
        for planned, step in zip(model.plan.steps, profile.steps, strict=True):
            found = features(model.plan, planned)
            samples.append(Sample(name, kind_of(planned), found, step.measures[predict.UNIT]))
    return samples, isa


def _converted(paths: Sequence[Path], board: str) -> Iterator[tuple[str, api.Model]]:
    for path in paths:
        try:
            yield path.stem, api.convert(path, board=board)
        except EdgeqError as error:
            print(f"{path.name} is left out: {error}", file=sys.stderr)


def fit(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """Return coefficients by kind and feature; OTHER is fitted to all steps without products."""
    kinds = {sample.kind for sample in samples}
    groups = {kind: [sample for sample in samples if sample.kind == kind] for kind in sorted(kinds)}
    groups[OTHER] = [sample for sample in samples if not sample.features["mac"]] or list(samples)
    return {kind: _fit_kind(group, FIT.get(kind, FIT_ELSE)) for kind, group in groups.items()}


def _fit_kind(samples: Sequence[Sample], names: Sequence[str]) -> dict[str, float]:
    matrix = np.array([[sample.features[name] for name in names] for sample in samples])  # (samples, features)
    cycles = np.array([sample.cycles for sample in samples])
    weights = 1 / np.sqrt(np.maximum(cycles, 1))
    costs = non_negative_least_squares(matrix * weights[:, None], cycles * weights)
    return {name: float(f"{cost:.4g}") for name, cost in zip(names, costs, strict=True) if cost > 0}


def non_negative_least_squares(matrix: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the x >= 0 with the least |matrix x - target|, by trying every set of positive entries (a few columns)."""
    best, best_error = np.zeros(matrix.shape[1]), float(np.sum(target**2))
    scale = np.maximum(np.abs(matrix).max(axis=0), 1e-300)
    for size in range(1, matrix.shape[1] + 1):
        for columns in itertools.combinations(range(matrix.shape[1]), size):
            chosen = list(columns)
            found, *_ = np.linalg.lstsq(matrix[:, chosen] / scale[chosen], target, rcond=None)
            error = float(np.sum((matrix[:, chosen] / scale[chosen] @ found - target) ** 2))
            if found.min() >= 0 and error < best_error * (1 - 1e-9):
                best = np.zeros(matrix.shape[1])
                best[chosen] = found / scale[chosen]
                best_error = error
    return best


def predicted(samples: Sequence[Sample], kinds: Mapping[str, Mapping[str, float]]) -> float:
    """Return the sum of the predicted cycles of some steps."""
    return sum(
        sum(cost * sample.features[name] for name, cost in kinds.get(sample.kind, kinds[OTHER]).items())
        for sample in samples
    )


def cross_validated(samples: Sequence[Sample]) -> dict[str, float]:
    """Return measured over predicted cycles of each model, predicted from a fit to the other models."""
    ratios = {}
    for model in sorted({sample.model for sample in samples} - {""}):
        own = [sample for sample in samples if sample.model == model]
        others = [sample for sample in samples if sample.model != model]
        ratios[model] = sum(sample.cycles for sample in own) / predicted(own, fit(others))
    return ratios


def table_of(samples: Sequence[Sample], source: str) -> CostTable:
    """Fit a table and find its error."""
    ratios = cross_validated(samples)
    low, high = min(1.0, *ratios.values()), max(1.0, *ratios.values())
    return CostTable(source=source, low=low, high=high, kinds=fit(samples), models=ratios)


def as_toml(table: CostTable) -> str:
    """Write a table as TOML."""
    lines = [
        "# Written by tools/fit_costs.py; edgeq/analysis/predict.py says what it means.",
        f'source = "{table.source}"',
        f"low = {table.low:.3f}",
        f"high = {table.high:.3f}",
        "",
        "[models]",
        *(f'"{name}" = {ratio:.3f}' for name, ratio in table.models.items()),
    ]
    for kind, costs in table.kinds.items():
        lines += ["", f'[kinds."{kind}"]', *(f"{name} = {costs[name]:.4g}" for name in FEATURES if name in costs)]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Fit the cores asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", default=",".join(BOARDS), help=f"which of {','.join(BOARDS)}")
    parser.add_argument("--models", type=Path, help="the folder of models; $EDGEQ_SHARED/models without it")
    options = parser.parse_args()
    folder = options.models or Path(os.environ.get("EDGEQ_SHARED", "shared")) / "models"
    paths = sorted(folder.glob("*_int8.tflite"))
    if len(paths) < 3:
        parser.error(f"{folder} holds {len(paths)} models called *_int8.tflite, at least 3 are needed")
    unknown = [core for core in options.cores.split(",") if core not in BOARDS]
    if unknown:
        parser.error(f"there is no core {unknown[0]!r}; cores are {', '.join(BOARDS)}")
    if find_tools() is None:
        parser.error(f"cycles are modelled with llvm-mca, which is not installed; apt-get install {PACKAGE}")
    for core in options.cores.split(","):
        board = load_board(BOARDS[core])
        samples, isa = measure(board.name, paths)
        table = table_of(
            samples, f"{len(samples)} steps of {len(paths)} int8 models and of single layers, {isa} kernels, llvm-mca"
        )
        (predict.COSTS / f"{board.cpu}.toml").write_text(as_toml(table))
        print(f"{board.cpu}: measured over predicted {table.low:.3f} to {table.high:.3f}")
        for name, ratio in table.models.items():
            print(f"  {name:32} {ratio:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

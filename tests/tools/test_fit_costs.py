# SPDX-License-Identifier: Apache-2.0
"""The tool that fits the costs of steps."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgeq.analysis.predict import FEATURES, OTHER, CostTable

TOOLS = Path(__file__).resolve().parent.parent.parent / "tools"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("fit_costs")


def _samples(tool: ModuleType, rng: np.random.Generator, *, noise: float = 0.0) -> list[object]:
    samples = []
    for number in range(60):
        found = dict.fromkeys(FEATURES, 0.0) | {"call": 1.0, "row": 4.0, "mac": float(rng.integers(100, 10**6))}
        found["output"] = float(rng.integers(10, 10**4))
        cycles = (50 + 2 * found["output"] + 0.25 * found["mac"]) * (1 + noise * rng.uniform(-1, 1))
        samples.append(tool.Sample(f"model{number % 4}", "conv2d/pointwise", found, cycles))
        plain = {**found, "mac": 0.0, "byte": found["output"]}
        samples.append(tool.Sample(f"model{number % 4}", "lut", plain, 7 * found["output"]))
    return samples


def test_costs_that_made_the_samples_are_found_again(tool: ModuleType) -> None:
    costs = tool.fit(_samples(tool, np.random.default_rng(0)))
    assert costs["conv2d/pointwise"]["mac"] == pytest.approx(0.25, rel=0.01)
    assert costs["conv2d/pointwise"]["output"] == pytest.approx(2, rel=0.01)
    assert sum(costs["lut"].values()) == pytest.approx(7, rel=0.01)
    assert costs[OTHER] == costs["lut"]


def test_the_error_is_that_of_models_which_were_not_fitted(tool: ModuleType) -> None:
    table = tool.table_of(_samples(tool, np.random.default_rng(1), noise=0.2), "made up")
    assert set(table.models) == {"model0", "model1", "model2", "model3"}
    assert table.low == min(1.0, *table.models.values())
    assert table.high == max(1.0, *table.models.values())
    assert 0.8 < table.low < table.high < 1.2


@pytest.mark.parametrize("seed", range(5))
def test_least_squares_keep_every_cost_from_being_negative(tool: ModuleType, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix, target = rng.normal(size=(20, 4)), rng.normal(size=20)
    found = tool.non_negative_least_squares(matrix, target)
    assert found.min() >= 0
    gradient = matrix.T @ (matrix @ found - target)
    assert gradient.min() > -1e-9  # no cost could grow and help ...
    assert abs(gradient[found > 0]).max(initial=0) < 1e-9  # ... and none that is positive could shrink


def test_a_table_is_read_back_as_it_was_written(tool: ModuleType) -> None:
    table = tool.table_of(_samples(tool, np.random.default_rng(2), noise=0.1), "made up")
    read = CostTable(**tomllib.loads(tool.as_toml(table)))
    assert read.kinds == table.kinds
    assert read.source == "made up"
    assert read.low == pytest.approx(table.low, abs=5e-4)
    assert read.models == pytest.approx(table.models, abs=5e-4)

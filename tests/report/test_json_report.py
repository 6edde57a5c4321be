# SPDX-License-Identifier: Apache-2.0
"""The keys of every schema, which never change within one number."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
from small_models import small_model, small_plan

from edgeq.analysis.accuracy import Accuracy, Comparison
from edgeq.analysis.compare import Difference, Element, Verification
from edgeq.analysis.cost import Cost, Unsupported, cost_of_plan
from edgeq.analysis.diff import diff_models
from edgeq.analysis.profiling import profile
from edgeq.board import load_board
from edgeq.ir.result import Spread
from edgeq.report import json_report

PLAN = small_plan()
MEMORY = ["arena_bytes", "arena_lower_bound_bytes", "runtime_bytes", "stack_bytes", "model_bytes", "code_bytes"]


def _parsed(report: dict[str, Any], schema: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(json_report.to_text(report))
    assert parsed["schema"] == schema
    return parsed


def test_profile() -> None:
    found = profile(PLAN, lambda codes: np.array([4, 6]), [], isa="scalar", model_bytes=9, inferences=3)
    report = _parsed(json_report.profile_report(found), "edgeq.profile/1")
    assert list(report) == [
        "schema", "model", "board", "isa", "threads", "emulated", "inferences", "macs", "unit", "total", "measures",
        "layers", "memory", "notes",
    ]  # fmt: skip
    assert report["unit"] == "ns"
    assert report["total"] == report["measures"]["ns"] == {"min": 10, "median": 10, "p90": 10}
    assert list(report["layers"][0]) == [
        "index", "name", "op", "median", "measures", "macs", "bytes_moved", "peak_fraction",
    ]  # fmt: skip
    assert report["layers"][0]["median"] == 4
    assert report["layers"][0]["peak_fraction"] is None
    assert list(report["memory"]) == MEMORY
    assert report["emulated"] is False


def test_an_emulated_profile_has_every_measure() -> None:
    found = profile(PLAN, lambda codes: np.array([4, 6]), [], isa="scalar", model_bytes=9, inferences=3)
    steps = tuple(
        dataclasses.replace(step, measures={"instructions": 3.0, "cycles:modelled": 2.5}, peak_fraction=0.25)
        for step in found.steps
    )
    totals = {"instructions": Spread(6, 6, 6), "cycles:modelled": Spread(5, 5, 5)}
    emulated = dataclasses.replace(found, emulated=True, totals=totals, steps=steps, notes=("a note",))
    report = _parsed(json_report.profile_report(emulated), "edgeq.profile/1")
    assert (report["unit"], report["emulated"], report["notes"]) == ("instructions", True, ["a note"])
    assert report["measures"]["cycles:modelled"] == {"min": 5, "median": 5, "p90": 5}
    layer = report["layers"][0]
    assert layer["median"] == layer["measures"]["instructions"] == 3
    assert layer["measures"]["cycles:modelled"] == 2.5
    assert layer["peak_fraction"] == 0.25


def test_analyze() -> None:
    cost = cost_of_plan(PLAN, model_bytes=1360, board=load_board("host"))
    report = _parsed(json_report.analyze_report(cost), "edgeq.analyze/1")
    assert list(report) == [
        "schema", "macs", "parameters", "unsupported", "memory", "peak", "flash_bytes", "firmware", "time", "fits",
        "layers",
    ]  # fmt: skip
    assert list(report["memory"]) == MEMORY
    assert report["fits"] is True
    assert report["time"] is None
    assert report["unsupported"] == []


def test_analyze_for_a_core_with_known_costs() -> None:
    cost = cost_of_plan(PLAN, model_bytes=1360, board=load_board("raspberry-pi-5"))
    report = _parsed(json_report.analyze_report(cost), "edgeq.analyze/1")
    assert list(report["time"]) == ["unit", "median", "low", "high"]
    assert report["time"]["unit"] == "cycles:modelled"
    assert report["time"]["low"] < report["time"]["median"] < report["time"]["high"]
    assert sum(layer["cycles"] for layer in report["layers"]) == report["time"]["median"]


def test_analyze_of_an_unsupported_model() -> None:
    cost = Cost("m", None, (Unsupported("stem", "LSTM", "no integer form", "use a GRU"),))
    report = _parsed(json_report.analyze_report(cost), "edgeq.analyze/1")
    assert report["unsupported"] == [{"node": "stem", "op": "LSTM", "reason": "no integer form", "hint": "use a GRU"}]
    assert report["macs"] is None
    assert report["memory"]["arena_bytes"] is None


def test_eval() -> None:
    report = _parsed(json_report.eval_report(Accuracy("top1", 0.5, (0.1, 0.9), 4)), "edgeq.eval/1")
    assert report == {
        "schema": "edgeq.eval/1", "metric": "top1", "value": 0.5, "interval": [0.1, 0.9], "samples": 4,
        "larger_is_better": True, "source": None,
    }  # fmt: skip


def test_eval_against_a_source() -> None:
    source = Accuracy("mse", 2.0, (1.0, 3.0), 4, larger_is_better=False, is_fraction=False)
    against = Comparison(source, 0.5, (-float("inf"), 1.0), None, 30.0)
    found = dataclasses.replace(source, value=2.5, against=against)
    report = _parsed(json_report.eval_report(found), "edgeq.eval/1")
    assert report["larger_is_better"] is False
    assert report["source"] == {
        "value": 2.0, "interval": [1.0, 3.0], "difference": {"value": 0.5, "interval": [None, 1.0]}, "drop": 0.5,
        "agreement": None, "equal": False, "sqnr_db": 30.0,
    }  # fmt: skip
    equal = dataclasses.replace(found, against=dataclasses.replace(against, sqnr_db=float("inf")))
    report = _parsed(json_report.eval_report(equal), "edgeq.eval/1")
    assert (report["source"]["equal"], report["source"]["sqnr_db"]) == (True, None)


def test_an_infinite_interval_is_null() -> None:
    report = _parsed(json_report.eval_report(Accuracy("mse", 0.5, (-float("inf"), float("inf")), 1)), "edgeq.eval/1")
    assert report["interval"] == [None, None]


def test_verify() -> None:
    keys = ["schema", "equal", "steps", "inferences", "elements", "first_difference"]
    equal = _parsed(json_report.verify_report(Verification(2, 3, 4)), "edgeq.verify/1")
    assert list(equal) == keys
    assert equal["equal"] is True
    assert equal["first_difference"] is None
    element = Element("y", 3, 1, 2, 1, 9)
    other = Verification(2, 3, 4, Difference(1, 0, "stem", "conv2d", 11, 12, element))
    report = _parsed(json_report.verify_report(other), "edgeq.verify/1")
    assert report["equal"] is False
    assert report["first_difference"] == {
        "inference": 1, "step": 0, "name": "stem", "op": "conv2d", "expected_crc": 11, "found_crc": 12,
        "element": {"tensor": "y", "index": 3, "expected": 1, "found": 2, "differing": 1, "elements": 9},
    }  # fmt: skip


def test_inspect() -> None:
    report = _parsed(json_report.inspect_report(PLAN, file_bytes=len(small_model())), "edgeq.inspect/1")
    assert [step["step"] for step in report["steps"]] == ["conv2d", "lut"]
    assert report["weights"] == "portable"
    assert report["inputs"][0]["dtype"] == "float32"
    assert report["inputs"][0]["stored_dtype"] == "int8"
    assert [tensor["name"] for tensor in report["tensors"]] == ["image", "stem", "gate"]


def test_boards() -> None:
    report = _parsed(json_report.boards_report([load_board("raspberry-pi-4")]), "edgeq.boards/1")
    assert report["boards"][0]["cpu"] == "cortex-a72"


def test_diff() -> None:
    found = diff_models(PLAN, small_plan(seed=1), bytes_a=1, bytes_b=2)
    report = _parsed(json_report.diff_report(found), "edgeq.diff/1")
    assert list(report) == ["schema", "kind", "equal", "unit", "changes", "layers"]
    assert report["changes"] == [{"what": "model_bytes", "a": 1, "b": 2}]
    assert report["layers"][0]["fields"] == ["weights", "bias"]

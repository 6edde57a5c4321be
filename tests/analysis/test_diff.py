# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest
from small_models import small_plan

from edgeq.analysis.diff import diff_models, diff_profiles, is_profile
from edgeq.errors import BadInputError


def _profile(**changes: Any) -> bytes:
    report = {
        "schema": "edgeq.profile/1",
        "model": "m",
        "board": "host",
        "isa": "scalar",
        "threads": 1,
        "emulated": False,
        "macs": 10,
        "unit": "ns",
        "measures": {"ns": {"min": 1, "median": 2, "p90": 3}},
        "layers": [{"name": "a", "op": "conv2d", "measures": {"ns": 2}}],
        "memory": {"arena_bytes": 16},
    }
    return json.dumps(report | changes).encode()


def test_a_model_equals_itself() -> None:
    assert diff_models(small_plan(), small_plan(), bytes_a=1, bytes_b=1).equal


def test_changed_weights_are_named_by_layer_and_field() -> None:
    found = diff_models(small_plan(), small_plan(seed=1), bytes_a=1, bytes_b=1)
    assert [(layer.name, layer.status, layer.fields) for layer in found.layers] == [
        ("stem", "changed", ("weights", "bias"))
    ]
    assert found.changes == ()


def test_sizes_that_differ_are_listed() -> None:
    found = diff_models(small_plan(), small_plan(channels=4), bytes_a=10, bytes_b=20)
    assert {"macs", "arena_bytes", "model_bytes", "outputs"} <= {change.what for change in found.changes}


def test_a_layer_that_is_in_one_only_is_listed() -> None:
    layers = [{"name": name, "op": "add", "measures": {"ns": 2}} for name in ("a", "b")]
    found = diff_profiles(_profile(layers=layers[:1]), _profile(layers=layers))
    assert [(layer.name, layer.status, layer.a, layer.b) for layer in found.layers] == [("b", "only in B", None, 2)]


def test_profiles_are_compared_in_a_unit_that_both_have() -> None:
    both = {"ns": {"min": 1, "median": 2, "p90": 3}, "instructions": {"min": 9, "median": 9, "p90": 9}}
    found = diff_profiles(_profile(measures=both), _profile())
    assert found.unit == "ns"
    assert found.equal


@pytest.mark.parametrize("other", [b"{}", b"[1]", b"{", b'{"schema": "edgeq.profile/1"}'])
def test_other_json_is_refused(other: bytes) -> None:
    with pytest.raises(BadInputError):
        diff_profiles(_profile(), other)


def test_profiles_without_a_common_unit_are_refused() -> None:
    with pytest.raises(BadInputError, match="no unit"):
        diff_profiles(_profile(), _profile(unit="instructions", measures={"instructions": {}}))


def test_json_is_told_from_a_model() -> None:
    assert is_profile(b' \n{"a": 1}')
    assert not is_profile(b"EQM1")

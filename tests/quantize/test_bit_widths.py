# SPDX-License-Identifier: Apache-2.0
"""The search for a bit width per kind of number, on scores that are made up."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq.errors import UsageError
from edgeq.quantize.bit_widths import WIDTHS, BitWidths, search_bit_widths

KINDS = ("convolutions", "fully connected", "activations")


class Scores:
    """A score of 0.9 less a loss per kind and width, and the calls that asked for it."""

    def __init__(self, losses: Mapping[str, Mapping[int, float]]) -> None:
        self.losses = losses
        self.calls: list[dict[str, int]] = []

    def __call__(self, bits: Mapping[str, int]) -> float:
        self.calls.append(dict(bits))
        return 0.9 - sum(self.losses[kind][width] for kind, width in bits.items())


def test_each_kind_gets_its_smallest_width_within_the_margin():
    scores = Scores({
        "convolutions": {16: 0, 8: 0.001, 4: 0.3},
        "fully connected": {16: 0, 8: 0, 4: 0.002, 2: 0.002},
        "activations": {16: 0.001, 8: 0.004, 4: 0.02},
    })  # fmt: skip
    found = search_bit_widths(KINDS, scores)
    assert found.bits == {"convolutions": 8, "fully connected": 2, "activations": 8}
    assert found.score == pytest.approx(0.893)
    assert found.within
    assert {"activations": 2} not in scores.calls


def test_most_sensitive_kind_is_raised_until_all_together_are_within_the_margin():
    losses = {16: 0.0, 8: 0.004, 4: 0.008, 2: 0.5}
    worse = {16: 0.0, 8: 0.005, 4: 0.009, 2: 0.5}
    scores = Scores({"a": losses, "b": worse})
    found = search_bit_widths(["a", "b"], scores)
    assert scores.calls[-3:] == [{"a": 4, "b": 4}, {"a": 4, "b": 8}, {"a": 8, "b": 8}]
    assert found == BitWidths({"a": 8, "b": 8}, pytest.approx(0.891), within=True)


def test_kind_that_always_misses_stays_at_sixteen_bits_and_is_said_to_miss():
    found = search_bit_widths(["a", "b"], Scores({"a": {16: 0.2}, "b": dict.fromkeys(WIDTHS, 0.0)}))
    assert found == BitWidths({"a": 16, "b": 16}, pytest.approx(0.7), within=False)


def test_score_that_is_not_a_number_misses_the_margin():
    scores = {16: 0.5, 8: float("nan"), 4: 0.5, 2: 0.5}
    found = search_bit_widths(["a"], lambda bits: scores[bits.get("a", 16)])
    assert found == BitWidths({"a": 16}, 0.5, within=True)
    found = search_bit_widths(["a"], lambda bits: float("nan") if bits else 0.5)
    assert (found.bits, found.within) == ({"a": 16}, False)


losses = st.lists(st.floats(0, 0.02), min_size=4, max_size=4).map(sorted)


@given(st.lists(losses, min_size=1, max_size=3), st.floats(0, 0.03))
def test_result_is_within_the_margin_whenever_sixteen_bits_are(tables, margin):
    scores = Scores({str(index): dict(zip(WIDTHS, table, strict=True)) for index, table in enumerate(tables)})
    found = search_bit_widths(list(scores.losses), scores, margin=margin)
    least = scores({}) - margin
    assert found.score == scores(found.bits)
    assert found.within == (found.score >= least)
    assert found.within == any(
        scores(dict(zip(scores.losses, widths, strict=True))) >= least
        for widths in itertools.product(WIDTHS, repeat=len(tables))
    )


@pytest.mark.parametrize(("kinds", "margin"), [([], 0.01), (["a", "a"], 0.01), (["a"], -0.1), (["a"], float("nan"))])
def test_nothing_to_search_and_negative_margins_are_refused(kinds, margin):
    with pytest.raises(UsageError, match="expected"):
        search_bit_widths(kinds, lambda bits: 1.0, margin=margin)

# SPDX-License-Identifier: Apache-2.0
"""The accuracy of a model, and how far it is from its source model, for people."""

from __future__ import annotations

import math

from rich.console import Console

from edgeq.analysis.accuracy import Accuracy
from edgeq.analysis.estimates import Interval
from edgeq.report.table import count, facts


def show_accuracy(console: Console, accuracy: Accuracy, *, model: str, source: str | None = None) -> None:
    """Print an accuracy and, when it was measured against a source model, that model's and the difference."""
    rows = [("model", model), (accuracy.metric, _value(accuracy)), ("samples", count(accuracy.samples))]
    against = accuracy.against
    if against is not None:
        agreement = "-" if against.agreement is None else f"{against.agreement:.2%} have the same argmax"
        rows += [
            ("source model", source or "-"),
            (f"its {accuracy.metric}", _value(against.source)),
            ("difference", _difference(against.difference, against.interval, is_fraction=accuracy.is_fraction)),
            ("agreement", agreement),
            ("output SQNR", "equal outputs" if against.sqnr_db == math.inf else f"{against.sqnr_db:.1f} dB"),
        ]
    facts(console, rows)


def _value(accuracy: Accuracy) -> str:
    spec = ".2%" if accuracy.is_fraction else ".6g"
    return _with_interval(*(format(number, spec) for number in (accuracy.value, *accuracy.interval)))


def _difference(value: float, interval: Interval, *, is_fraction: bool) -> str:
    """Write a difference with its sign; that of fractions in percentage points."""
    if not is_fraction:
        return _with_interval(*(f"{number:+.6g}" for number in (value, *interval)))
    points = _with_interval(*(f"{100 * number:+.2f}" for number in (value, *interval)))
    return f"{points} percentage points"


def _with_interval(value: str, low: str, high: str) -> str:
    return f"{value} (95 % interval {low} to {high})"

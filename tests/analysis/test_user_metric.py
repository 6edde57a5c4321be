# SPDX-License-Identifier: Apache-2.0
"""Metrics that are functions in a user's file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeq.analysis.accuracy import Accuracy, Subject, evaluate
from edgeq.analysis.estimates import normal_interval, wilson_interval
from edgeq.errors import BadInputError, StorageError, UsageError
from edgeq.quantize.data import Batch, DataSet

OUTPUTS = np.random.default_rng(0).normal(size=(70, 3)).astype(np.float32)
LABELS = np.random.default_rng(1).normal(size=70)


def _subject(outputs: np.ndarray = OUTPUTS) -> Subject:
    parts = [slice(start, start + 32) for start in range(0, 70, 32)]
    batches = [Batch([outputs[part]], LABELS[part]) for part in parts]
    return Subject(lambda feeds: feeds, 1, DataSet("samples", 70, lambda: iter(batches)))


def _evaluate(code: str, folder: Path, *, source: Subject | None = None) -> Accuracy:
    path = folder / "metric.py"
    path.write_text(f"import numpy as np\n\n{code}")
    return evaluate(_subject(), metric=f"{path}:score", source=source)


def test_a_score_per_sample_is_averaged(tmp_path: Path) -> None:
    found = _evaluate("def score(outputs, labels):\n    return abs(outputs[:, 0] - labels)\n", tmp_path)
    scores = abs(OUTPUTS[:, 0].astype(np.float64) - LABELS)
    assert (found.metric, found.samples) == (f"{tmp_path / 'metric.py'}:score", 70)
    assert found.value == pytest.approx(scores.mean())
    assert found.interval == pytest.approx(normal_interval(scores))
    assert (found.larger_is_better, found.is_fraction) == (True, False)


def test_a_truth_value_per_sample_is_a_proportion(tmp_path: Path) -> None:
    found = _evaluate("def score(outputs, labels):\n    return abs(outputs[:, 0] - labels) < 1\n", tmp_path)
    hits = int((abs(OUTPUTS[:, 0] - LABELS) < 1).sum())
    assert (found.value, found.interval) == (hits / 70, wilson_interval(hits, 70))


def test_scores_are_asked_for_batch_by_batch(tmp_path: Path) -> None:
    code = "def score(outputs, labels):\n    assert outputs.shape == (len(labels), 3) and len(labels) <= 32\n"
    found = _evaluate(code + "    return [float(len(labels))] * len(labels)\n", tmp_path)
    assert found.value == pytest.approx((32 * 32 + 32 * 32 + 6 * 6) / 70)


def test_scores_are_asked_for_once(tmp_path: Path) -> None:
    code = "calls = []\n\ndef score(outputs, labels):\n    calls.append(1)\n    return [len(calls)] * len(labels)\n"
    assert _evaluate(code, tmp_path).value == pytest.approx((1 * 32 + 2 * 32 + 3 * 6) / 70)


CORRELATION = """
def score(outputs, labels):
    if len(labels) < 70:
        raise ValueError("too few")
    return np.corrcoef(outputs[:, 0], labels)[0, 1]
"""


def test_one_number_is_that_of_all_samples_with_resamples_around_it(tmp_path: Path) -> None:
    found = _evaluate(CORRELATION, tmp_path)
    expected = np.corrcoef(OUTPUTS[:, 0], LABELS)[0, 1]
    assert found.value == pytest.approx(expected)
    assert found.interval[0] < found.value < found.interval[1]
    assert found.interval == pytest.approx((expected - 1.96 / 70**0.5, expected + 1.96 / 70**0.5), abs=0.1)
    assert _evaluate(CORRELATION, tmp_path) == found


def test_one_number_is_compared_on_the_same_resamples(tmp_path: Path) -> None:
    against = _evaluate(CORRELATION, tmp_path, source=_subject(OUTPUTS * 2 + 1)).against
    assert against is not None
    assert against.difference == pytest.approx(0, abs=1e-6)
    assert against.interval == pytest.approx((0, 0), abs=1e-6)


def test_an_attribute_says_that_smaller_is_better(tmp_path: Path) -> None:
    code = "def score(outputs, labels):\n    return 1.0\nscore.larger_is_better = False\n"
    assert not _evaluate(code, tmp_path).larger_is_better


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def score(outputs, labels):\n    return 1 / 0\n", "ZeroDivisionError"),
        ("def score(outputs):\n    return 1.0\n", "TypeError"),
        ("def score(outputs, labels):\n    return None\n", "numbers expected, it returned object"),
        ("def score(outputs, labels):\n    return outputs\n", r"32 scores .* of shape \[32, 3\]"),
        ("def score(outputs, labels):\n    return outputs[:5, 0]\n", r"32 scores .* of shape \[5\]"),
        ("def score(outputs, labels):\n    return outputs[:, 0] * np.nan\n", "not finite"),
        ("def score(outputs, labels):\n    return float('inf')\n", "not finite"),
        ("def score(outputs, labels):\n    return 'good'\n", "numbers expected"),
        ("def score(outputs, labels):\n    raise SystemExit\n", "SystemExit"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("def score(outputs, labels)\n", "SyntaxError"),
        ("def score(outputs, labels):\n    return 1.0 if len(labels) < 40 else labels\n", "one number expected"),
    ],
)
def test_a_function_that_gives_no_score_is_refused(code: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=rf"(?s)metric\.py.*{message}"):
        _evaluate(code, tmp_path)


def test_a_file_or_function_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no function 'score'; it has other"):
        _evaluate("def other(outputs, labels):\n    return 1.0\n", tmp_path)
    with pytest.raises(StorageError, match=r"absent\.py: there is no such file"):
        evaluate(_subject(), metric=f"{tmp_path}/absent.py:score")

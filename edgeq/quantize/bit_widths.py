# SPDX-License-Identifier: Apache-2.0
"""The search for a bit width per kind of number: weights of convolutions, of fully connected layers, activations.

Source: Gysel et al., "Ristretto", arXiv 1604.03168.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgeq.errors import UsageError

WIDTHS = (16, 8, 4, 2)


@dataclass(frozen=True)
class BitWidths:
    """The width of each kind of number, the score with all of them at once, and whether it is within the margin."""

    bits: dict[str, int]
    score: float
    within: bool


def search_bit_widths(
    kinds: Sequence[str], evaluate: Callable[[Mapping[str, int]], float], *, margin: float = 0.01
) -> BitWidths:
    """Return the smallest widths of 16, 8, 4 and 2 bits whose joint score is at most ``margin`` below the float score.

    ``evaluate`` takes the widths of some kinds, the others staying float, and returns a score, the larger the better;
    of no kind it is the float score. Each kind is tried alone from 16 bits down, and keeps the last width before it
    leaves the margin, at most 16. Then all are tried together, and as long as they miss the margin the most sensitive
    kind that is not at 16 bits, the one with the lowest score alone, gets the next larger width. The score may miss the
    margin when all are at 16.
    """
    if not kinds or len(set(kinds)) != len(kinds):
        raise UsageError(f"bit widths of {list(kinds)} asked for, at least one kind and each once expected")
    if not margin >= 0:
        raise UsageError(f"a margin of {margin:g} given, 0 or more expected")
    least = evaluate({}) - margin
    alone: dict[str, dict[int, float]] = {}  # scores by width
    chosen: dict[str, int] = {}
    for kind in kinds:
        alone[kind] = {}
        chosen[kind] = WIDTHS[0]
        for width in WIDTHS:
            alone[kind][width] = evaluate({kind: width})
            if not alone[kind][width] >= least:
                break
            chosen[kind] = width
    while True:
        score = evaluate(dict(chosen))
        narrow = [kind for kind in kinds if chosen[kind] != WIDTHS[0]]
        if score >= least or not narrow:
            return BitWidths(chosen, score, score >= least)
        worst = min(narrow, key=lambda kind: alone[kind][chosen[kind]])
        chosen[worst] = WIDTHS[WIDTHS.index(chosen[worst]) - 1]

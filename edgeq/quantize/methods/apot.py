# SPDX-License-Identifier: Apache-2.0
"""Weights that are sums of two or three powers of two times a scale."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.quantize.methods.blocks import blocks, check_blocks
from edgeq.quantize.methods.shift_tables import shifts_coding
from edgeq.quantize.methods.weights import Grid, WeightFormat

# by bits of magnitude: the negated exponents that each term chooses from, besides being absent
_TERMS: dict[int, tuple[tuple[int, ...], ...]] = {
    2: ((1, 2, 3),),
    3: ((1, 2, 4), (3,)),
    4: ((1, 3, 5), (2, 4, 6)),
    5: ((1, 3, 6), (2, 4, 7), (5,)),
    6: ((1, 4, 7), (2, 5, 8), (3, 6, 9)),
}


@dataclass(frozen=True)
class Apot(WeightFormat):
    """Additive powers of two, 3 to 7 bits with the sign, with the best scale per channel, tensor or group.

    Two terms up to 5 bits, three beyond; the sets of exponents are those of the authors' code. Source: Li et al.,
    "Additive powers-of-two quantization", arXiv 1909.13144. Left out: training of the clip and weight normalization.
    """

    name: ClassVar[str] = "apot"

    bits: int = 4
    group: int = 0
    per: str = "channel"

    def __post_init__(self) -> None:
        self.require(self.bits - 1 in _TERMS, f"{self.bits} bits", "3 to 7")
        check_blocks(self, per=self.per, group=self.group)

    def fit(self, weights: np.ndarray, *, importance: np.ndarray | None = None) -> Grid:
        terms = _TERMS[self.bits - 1]
        finest = max(max(choices) for choices in terms)
        chosen = itertools.product(*((None, *choices) for choices in terms))
        magnitudes = [tuple(finest - power for power in powers if power is not None) for powers in chosen]
        cut = blocks(weights, per=self.per, group=self.group, importance=importance)
        return cut.fit(shifts_coding(magnitudes))

# SPDX-License-Identifier: Apache-2.0
"""MIRROR_PAD: a border that mirrors the tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import GraphError
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Case, Fold, Op, RangeRule, Rounding, Shape, View
from edgeq.ops.folding import required
from edgeq.ops.movement import case_of, sample_shape, sample_tensor
from edgeq.ops.pad import padded_shape
from edgeq.ops.take import fold_take


@dataclass(frozen=True)
class MirrorPad(Op):
    """Add (before, after) mirrored elements along each axis; ``reflect`` leaves the edge itself out of the image."""

    name: ClassVar[str] = "mirror_pad"
    range_rule: ClassVar[RangeRule] = RangeRule.SAME

    paddings: tuple[tuple[int, int], ...] = ()
    reflect: bool = True

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = required(inputs, 0, "input").shape
        padded = padded_shape(shape, self.paddings)
        for size, pair in zip(shape, self.paddings, strict=True):
            if max(pair) > size - self.reflect:
                raise GraphError(f"{size} elements mirror at most {size - self.reflect}, paddings are {list(pair)}")
        return [padded]

    @property
    def _mode(self) -> str:
        return "reflect" if self.reflect else "symmetric"

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        assert inputs[0] is not None
        return [np.pad(inputs[0], self.paddings, mode=self._mode)]  # type: ignore[call-overload]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold | View:
        source = required(inputs, 0, "input")
        positions = []
        for size, pair in zip(source.shape, self.paddings, strict=True):
            mirrored = [
                *(self.reflect + i for i in reversed(range(pair[0]))),
                *range(size),
                *(size - 1 - self.reflect - i for i in range(pair[1])),
            ]
            positions.append(np.array(mirrored, np.int64))
        return fold_take(source, outputs[0], positions)

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        reflect = bool(rng.random() < 0.5)
        shape = tuple(size + 1 for size in sample_shape(rng, 1, 4))
        paddings = [[int(count) for count in rng.integers(0, size + 1 - reflect, size=2)] for size in shape]
        for axis in np.flatnonzero(rng.random(len(paddings)) < 0.4):
            paddings[axis] = [0, 0]
        if not np.any(paddings):
            paddings[0][0] = 1
        op = cls(tuple((before, after) for before, after in paddings), reflect)
        return case_of(op, [sample_tensor(rng, shape)])

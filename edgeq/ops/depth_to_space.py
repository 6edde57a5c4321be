# SPDX-License-Identifier: Apache-2.0
"""DEPTH_TO_SPACE: channels laid out as blocks of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.errors import GraphError
from edgeq.ir.graph import Tensor
from edgeq.ops.base import Case, Fold, Op, RangeRule, Rounding, Shape, View
from edgeq.ops.copy import fold_strided
from edgeq.ops.folding import required
from edgeq.ops.movement import case_of, sample_tensor


@dataclass(frozen=True)
class DepthToSpace(Op):
    """(N, H, W, block * block * C) -> (N, H * block, W * block, C)."""

    name: ClassVar[str] = "depth_to_space"
    range_rule: ClassVar[RangeRule] = RangeRule.SAME

    block: int = 2

    def infer_shape(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = required(inputs, 0, "input").shape
        block = self.block
        if len(shape) != 4 or block < 1 or shape[3] % (block * block):
            raise GraphError(f"the channels of shape {list(shape)} do not form blocks of {block} x {block}")
        return [(shape[0], shape[1] * block, shape[2] * block, shape[3] // (block * block))]

    def reference(self, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        x = inputs[0]
        assert x is not None
        n, rows, columns, depth = x.shape
        block = self.block
        channels = depth // (block * block)
        blocks = x.reshape(n, rows, columns, block, block, channels).transpose(0, 1, 3, 2, 4, 5)
        return [blocks.reshape(n, rows * block, columns * block, channels)]

    def fold(self, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], *, rounding: Rounding) -> Fold | View:
        source = required(inputs, 0, "input")
        n, rows, columns, depth = source.shape
        run = depth // self.block  # the channels of one row of a block
        dims = [(n * rows, columns * depth), (self.block, run), (columns, depth), (run, 1)]
        return fold_strided(source, outputs[0], start=0, dims=dims)

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Case:
        n, rows, columns, channels = (int(size) for size in rng.integers(1, 6, size=4))
        block = int(rng.integers(1, 4))
        return case_of(cls(block), [sample_tensor(rng, (n, rows, columns, channels * block * block))])

# SPDX-License-Identifier: Apache-2.0
"""A small program for device tests: a convolution and a table after it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeq.compile.plan import Plan
from edgeq.compile.planner import make_plan
from edgeq.format.write import write_model
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Graph, Node, Port, Tensor
from edgeq.ir.qparams import QuantParams
from edgeq.ops.base import Activation, Rounding
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.logistic import Logistic


@dataclass(frozen=True)
class Program:
    """A plan, its file and three samples of its input."""

    plan: Plan
    model: bytes
    samples: list[list[np.ndarray]]


def program(seed: int = 20) -> Program:
    """Make a program of two steps that computes on random weights."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(-127, 128, (8, 3, 3, 3)).astype(np.int8)  # (O, H, W, I)
    bias = rng.integers(-2000, 2000, 8).astype(np.int32)
    scales = np.float32(0.01) * rng.uniform(0.5, 1.5, 8).astype(np.float32)
    image, feature = QuantParams.of(1 / 128, 3), QuantParams.of(0.05, -7)
    tensors = (
        Tensor("image", (1, 12, 10, 3), DType.S8, image),
        Tensor("weights", weights.shape, DType.S8, QuantParams.per_channel(scales, 0), weights),
        Tensor("bias", (8,), DType.S32, QuantParams.per_channel(scales * np.float32(1 / 128), 0), bias),
        Tensor("feature", (1, 12, 10, 8), DType.S8, feature),
        Tensor("probability", (1, 12, 10, 8), DType.S8, QuantParams.of(1 / 256, -128)),
    )
    convolution = Conv2d(stride=(1, 1), padding="same", dilation=(1, 1), activation=Activation.NONE)
    nodes = (Node("stem", convolution, (0, 1, 2), (3,)), Node("gate", Logistic(), (3,), (4,)))
    ports = (Port("image", 0, DType.S8),), (Port("probability", 4, DType.S8),)
    plan = make_plan(Graph("small", tensors, nodes, *ports), rounding=Rounding.NATIVE)
    samples = [[rng.integers(-128, 128, (1, 12, 10, 3)).astype(np.int8)] for _ in range(3)]
    return Program(plan, write_model(plan), samples)

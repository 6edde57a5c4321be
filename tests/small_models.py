# SPDX-License-Identifier: Apache-2.0
"""Small integer models made by hand, for tests that need no source file."""

from __future__ import annotations

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
from edgeq.ops.reshape import Reshape


def small_graph(*, seed: int = 0, channels: int = 3, port: DType = DType.F32) -> Graph:
    """Return image (1, 6, 6, 2) -> conv2d "stem" -> logistic "gate" -> reshape -> scores (1, 36 * channels)."""
    rng = np.random.default_rng(seed)
    scales = QuantParams.per_channel(np.linspace(0.01, 0.02, channels), 0)
    act = QuantParams.of(0.05, 3)
    tensors = (
        Tensor("image", (1, 6, 6, 2), DType.S8, QuantParams.of(0.1, -5)),
        Tensor("stem/w", (channels, 3, 3, 2), DType.S8, scales, _codes(rng, (channels, 3, 3, 2))),
        Tensor("stem/b", (channels,), DType.S32, None, rng.integers(-200, 200, channels).astype(np.int32)),
        Tensor("stem", (1, 6, 6, channels), DType.S8, act),
        Tensor("gate", (1, 6, 6, channels), DType.S8, QuantParams.of(1 / 256, -128)),
        Tensor("scores", (1, 36 * channels), DType.S8, QuantParams.of(1 / 256, -128)),
    )
    nodes = (
        Node("stem", Conv2d((1, 1), "same", (1, 1), Activation.RELU6), (0, 1, 2), (3,)),
        Node("gate", Logistic(), (3,), (4,)),
        Node("flatten", Reshape((1, 36 * channels)), (4,), (5,)),
    )
    return Graph("small", tensors, nodes, (Port("image", 0, port),), (Port("scores", 5, port),))


def _codes(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(-127, 128, shape).astype(np.int8)


def small_plan(*, seed: int = 0, channels: int = 3, keep_tensors: bool = False, port: DType = DType.F32) -> Plan:
    """Return the plan of ``small_graph``."""
    graph = small_graph(seed=seed, channels=channels, port=port)
    return make_plan(graph, rounding=Rounding.NATIVE, keep_tensors=keep_tensors)


def small_model(*, seed: int = 0, channels: int = 3, keep_tensors: bool = False, port: DType = DType.F32) -> bytes:
    """Return the .eqm file of ``small_graph``."""
    return write_model(small_plan(seed=seed, channels=channels, keep_tensors=keep_tensors, port=port))

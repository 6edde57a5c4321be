# SPDX-License-Identifier: Apache-2.0
"""Small integer models made by hand, for tests that need no source file."""

from __future__ import annotations

import struct

import numpy as np
from loader import header_offsets, mended

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


def filled_model(seed: int, *, n_bytes: int, board_class: int = 0, version: int = 0) -> bytes:
    """Return a model file of a given size (a multiple of 16) that copies four codes; random metadata fill it up."""
    codes = QuantParams.of(0.1, 0)
    tensors = (Tensor("in", (1, 4), DType.S8, codes), Tensor("out", (4, 1), DType.S8, codes))
    nodes = (Node("copy", Reshape((4, 1)), (0,), (1,)),)
    graph = Graph("copy", tensors, nodes, (Port("in", 0, DType.S8),), (Port("out", 1, DType.S8),))
    plan = make_plan(graph, rounding=Rounding.NATIVE)
    whole = write_model(plan, board_class=board_class, model_version=version)
    offsets = header_offsets()
    start = int.from_bytes(whole[offsets["metadata_offset"][0] :][:4], "little")
    filled = bytearray(whole[:start] + np.random.default_rng(seed).bytes(n_bytes - start))
    sizes = {"file_bytes": n_bytes, "metadata_size": n_bytes - start, "golden_offset": n_bytes}
    for name, value in {**sizes, "signature_offset": n_bytes}.items():
        struct.pack_into("<I", filled, offsets[name][0], value)
    return mended(filled)

# SPDX-License-Identifier: Apache-2.0
"""Random models of one operator, by kind and seed: the same seed gives the same file and inputs everywhere."""

from __future__ import annotations

import itertools
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
from conformance import kinds_arithmetic as arithmetic
from conformance import kinds_matrix as matrix
from conformance import kinds_movement as movement
from conformance.draft import Draft, Draw
from needs import needs_module

from edgeq.errors import BadInputError
from edgeq.runtime.litert import ReferenceInterpreter

FIRST_SEED = int(os.environ.get("EDGEQ_SEED", "0"))

Kind = Callable[[Draft, str], list[int]]


@dataclass(frozen=True)
class Generated:
    """A model and the inputs for one run of it."""

    kind: str
    seed: int
    file: bytes
    inputs: list[np.ndarray]
    expected: list[np.ndarray] | None  # None: what LiteRT gives

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.seed}"


_OPERATORS: dict[str, Kind] = {
    **{
        name: partial(arithmetic.unary, op=name.upper())
        for name in ("abs", "elu", "exp", "gelu", "hard_swish", "leaky_relu", "logistic", "relu", "relu6")
    },
    **{name: partial(arithmetic.unary, op=name.upper()) for name in ("relu_n1_to_1", "rsqrt", "tanh")},
    **{
        name: partial(arithmetic.binary, op=name.upper())
        for name in ("add", "maximum", "minimum", "mul", "squared_difference", "sub")
    },
    **{name: partial(arithmetic.reduction, op=name.upper()) for name in ("mean", "reduce_max", "reduce_min", "sum")},
    **{name: partial(arithmetic.pool, op=name.upper()) for name in ("average_pool_2d", "max_pool_2d")},
    "prelu": arithmetic.prelu,
    "quantize": arithmetic.quantize,
    "softmax": arithmetic.softmax,
    "l2_normalization": arithmetic.l2_normalization,
    "conv2d": matrix.conv2d,
    "grouped_conv2d": partial(matrix.conv2d, grouped=True),
    "depthwise_conv2d": matrix.depthwise_conv2d,
    "transpose_conv": matrix.transpose_conv,
    "fully_connected": matrix.fully_connected,
    "batch_matmul": matrix.batch_matmul,
    "arg_max": movement.arg_max,
    "concatenation": movement.concatenation,
    "depth_to_space": partial(movement.space_and_depth, op="DEPTH_TO_SPACE", table="DepthToSpaceOptions"),
    "dequantize": movement.dequantize,
    "expand_dims": movement.expand_dims,
    "float_boundary": movement.float_boundary,
    "gather": movement.gather,
    "mirror_pad": movement.mirror_pad,
    "pack": movement.pack,
    "pad": movement.pad,
    "padv2": partial(movement.pad, valued=True),
    "reshape": movement.reshape,
    "resize_bilinear": partial(movement.resize, op="RESIZE_BILINEAR", table="ResizeBilinearOptions"),
    "resize_nearest": partial(movement.resize, op="RESIZE_NEAREST_NEIGHBOR", table="ResizeNearestNeighborOptions"),
    "slice": movement.slice_,
    "space_to_depth": partial(movement.space_and_depth, op="SPACE_TO_DEPTH", table="SpaceToDepthOptions"),
    "split": movement.split,
    "split_v": movement.split_v,
    "squeeze": movement.squeeze,
    "strided_slice": movement.strided_slice,
    "transpose": movement.transpose,
    "unpack": movement.unpack,
}


# operators of which LiteRT has no kernel for a dtype
_WITHOUT = {
    "int8": frozenset(),
    "int16": frozenset({
        "arg_max", "depth_to_space", "elu", "hard_swish", "l2_normalization", "relu_n1_to_1", "space_to_depth",
        "squared_difference",
    }),
    "uint8": frozenset({"abs", "batch_matmul", "elu", "exp", "rsqrt", "squared_difference"}),
}  # fmt: skip


def _kinds() -> dict[str, Callable[[Draft], list[int]]]:
    kinds = {}
    for dtype, without in _WITHOUT.items():
        for name, function in _OPERATORS.items():
            if name not in without:
                kinds[name if dtype == "int8" else f"{name}_{dtype}"] = partial(function, dtype=dtype)
    for op in ("ADD", "SUB"):
        kinds[f"shifted_{op.lower()}_int16"] = partial(arithmetic.shifted_sum, dtype="int16", op=op)
    kinds["quantize_int8_to_int16"] = partial(arithmetic.quantize, dtype="int8", target="int16")
    kinds["quantize_int16_to_int8"] = partial(arithmetic.quantize, dtype="int16", target="int8")
    return kinds


KINDS = MappingProxyType(_kinds())


def generate(kind: str, seed: int) -> Generated:
    """Return the case of a kind that belongs to a seed."""
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode())])
    while True:
        draft = Draft(Draw(rng))
        outputs = KINDS[kind](draft)
        if draft.has_inputs:
            return Generated(kind, seed, draft.file(outputs), draft.arrays, draft.expected)


def accepted(kind: str, count: int) -> Iterator[tuple[Generated, list[np.ndarray]]]:
    """Draw cases with their expected outputs, skipping those that LiteRT refuses."""
    needs_module("ai_edge_litert")
    found = 0
    for seed in itertools.count(FIRST_SEED):
        assert seed < FIRST_SEED + 100 * count, f"{kind}: LiteRT refuses nearly every case"
        case = generate(kind, seed)
        try:
            # ELU is missing among the reference kernels
            interpreter = ReferenceInterpreter(case.file, reference_kernels=kind != "elu")
            outputs = interpreter.run(case.inputs)
        except BadInputError:
            continue
        yield case, outputs if case.expected is None else case.expected
        found += 1
        if found == count:
            return

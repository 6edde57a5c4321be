# SPDX-License-Identifier: Apache-2.0
"""The orders in which packed weights lie in a model file; native/kernels/packed.h describes and makes the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PORTABLE = 0  # row-major, as scalar C reads them
CHAIN_LIMIT = 255  # 128 * 255 < 2^15: products of weights whose |w| add up to it can be added in int16
LONGEST_CHAIN = 255


@dataclass(frozen=True)
class Layout:
    """Output channels in groups of ``channels``, inputs in blocks of ``depth``."""

    name: str
    channels: int
    depth: int


LAYOUTS = {  # the keys are permanent codes of the model file
    1: Layout("c4k16", 4, 16),  # NEON without dot products, 64-bit and 32-bit
    2: Layout("c8k4", 8, 4),  # NEON dot products, AVX2
    3: Layout("c8k8", 8, 8),  # NEON 8-bit matrix products
    4: Layout("c16k4", 16, 4),  # AVX-512 VNNI
}
LAYOUT_NAMES = {PORTABLE: "portable", **{code: layout.name for code, layout in LAYOUTS.items()}}
_CHAINED = 1  # the layout whose head says how many products may be chained


def layout_code(name: str) -> int:
    """Return the code of a layout. Raises KeyError for a name that is not there."""
    return {known: code for code, known in LAYOUT_NAMES.items()}[name]


def reads_layout(board: str, layout: int) -> bool:
    """Say whether a board whose fastest kernels read the layout called ``board`` has kernels for another one.

    On ARM every ISA builds on those whose layouts have lower codes.
    """
    return layout <= layout_code(board)


def packed_bytes(layout: int, n: int, k: int) -> int:
    """Return the size of an n x k matrix in a layout that is not portable."""
    form = LAYOUTS[layout]
    return -(-n // form.channels) * form.channels * (4 + -(-k // form.depth) * form.depth)


def pack_weights(weights: np.ndarray, layout: int) -> np.ndarray:
    """Pack weights (n, k) int8 into the bytes of a layout, as an int8 array (packed_bytes,)."""
    form = LAYOUTS[layout]
    n, k = weights.shape
    groups, blocks = -(-n // form.channels), -(-k // form.depth)
    padded = np.zeros((groups * form.channels, blocks * form.depth), np.int8)
    padded[:n, :k] = weights
    heads = np.zeros((groups, form.channels), "<i4")
    if layout == _CHAINED:
        heads[:, 0] = _gemm_chains(padded.reshape(groups, form.channels, -1))
    else:
        heads[:] = padded.astype(np.int64).sum(axis=1).reshape(groups, -1)
    blocked = padded.reshape(groups, form.channels, blocks, form.depth).transpose(0, 2, 1, 3)
    return np.concatenate([heads.view(np.int8).reshape(groups, -1), blocked.reshape(groups, -1)], axis=1).reshape(-1)


def unpack_weights(packed: np.ndarray, layout: int, n: int, k: int) -> np.ndarray:
    """Return the weights (n, k) int8 of ``pack_weights``."""
    form = LAYOUTS[layout]
    groups, blocks = -(-n // form.channels), -(-k // form.depth)
    body = packed.reshape(groups, -1)[:, 4 * form.channels :]
    blocked = body.reshape(groups, blocks, form.channels, form.depth).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(blocked.reshape(groups * form.channels, -1)[:n, :k])


def _gemm_chains(weights: np.ndarray) -> np.ndarray:
    """How many products of the same place in neighbouring 8-byte halves may be chained, for each group."""
    groups, channels, k = weights.shape
    halves = np.abs(weights.astype(np.int32)).reshape(groups, channels, k // 8, 8)
    halves = np.pad(halves, ((0, 0), (0, 0), (0, -(k // 8) % 8), (0, 0)))
    chains = np.ones(groups, np.int32)
    for chain in (2, 4, 8):
        sums = halves.reshape(groups, channels, -1, chain, 8).sum(axis=3)
        chains[sums.max(axis=(1, 2, 3), initial=0) <= CHAIN_LIMIT] = chain
    return chains


def depthwise_chains(weights: np.ndarray) -> np.ndarray:
    """Return for every 8 channels of weights (taps, channels) how many neighbouring taps may be chained, as uint8."""
    taps, channels = weights.shape
    totals = np.cumsum(np.pad(np.abs(weights.astype(np.int64)), ((1, 0), (0, -channels % 8))), axis=0)
    longest = np.ones(totals.shape[1] // 8, np.uint8)
    for chain in range(2, min(taps, LONGEST_CHAIN) + 1):
        largest = (totals[chain:] - totals[:-chain]).max(axis=0).reshape(-1, 8).max(axis=1)
        longest[largest <= CHAIN_LIMIT] = chain
    return longest

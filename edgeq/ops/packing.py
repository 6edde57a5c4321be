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
    """Output channels in groups of ``channels``, inputs in blocks of ``depth``.

    ``order`` is the order of a block's weights, numbered channel by channel; empty for that order itself.
    """

    name: str
    channels: int
    depth: int
    head_bytes: int = 4  # of a channel
    tail_bytes: int = 0  # of the matrix
    order: tuple[int, ...] = ()


LAYOUTS = {  # the keys are permanent codes of the model file
    1: Layout("c4k16", 4, 16),  # NEON without dot products, 64-bit and 32-bit
    2: Layout("c8k4", 8, 4),  # NEON dot products, AVX2
    3: Layout("c8k8", 8, 8),  # NEON 8-bit matrix products
    4: Layout("c16k4", 16, 4),  # AVX-512 VNNI
    5: Layout("c2k4", 2, 4, head_bytes=0, tail_bytes=4, order=(0, 4, 2, 6, 1, 5, 3, 7)),  # Cortex-M with DSP
}
LAYOUT_NAMES = {PORTABLE: "portable", **{code: layout.name for code, layout in LAYOUTS.items()}}
_CHAINED = 1  # the layout whose head says how many products may be chained
_DSP = 5


def layout_code(name: str) -> int:
    """Return the code of a layout. Raises KeyError for a name that is not there."""
    return {known: code for code, known in LAYOUT_NAMES.items()}[name]


def reads_layout(board: str, layout: int) -> bool:
    """Say whether a board whose fastest kernels read the layout called ``board`` has kernels for another one.

    On ARM every ISA that runs Linux builds on those whose layouts have lower codes.
    """
    code = layout_code(board)
    return layout in (PORTABLE, _DSP) if code == _DSP else layout <= code


def packed_bytes(layout: int, n: int, k: int) -> int:
    """Return the size of an n x k matrix in a layout that is not portable."""
    form = LAYOUTS[layout]
    depth = -(-k // form.depth) * form.depth
    return -(-n // form.channels) * form.channels * (form.head_bytes + depth) + form.tail_bytes


def pack_weights(weights: np.ndarray, layout: int) -> np.ndarray:
    """Pack weights (n, k) int8 into the bytes of a layout, as an int8 array (packed_bytes,)."""
    form = LAYOUTS[layout]
    n, k = weights.shape
    groups, blocks = -(-n // form.channels), -(-k // form.depth)
    padded = np.zeros((groups * form.channels, blocks * form.depth), np.int8)
    padded[:n, :k] = weights
    heads = np.zeros((groups, form.channels if form.head_bytes else 0), "<i4")
    if layout == _CHAINED:
        heads[:, 0] = _gemm_chains(padded.reshape(groups, form.channels, -1))
    elif form.head_bytes:
        heads[:] = padded.astype(np.int64).sum(axis=1).reshape(groups, -1)
    blocked = padded.reshape(groups, form.channels, blocks, form.depth).transpose(0, 2, 1, 3)
    if form.order:
        blocked = blocked.reshape(groups, blocks, -1)[:, :, list(form.order)]
    body = np.concatenate([heads.view(np.int8).reshape(groups, -1), blocked.reshape(groups, -1)], axis=1)
    return np.concatenate([body.reshape(-1), np.zeros(form.tail_bytes, np.int8)])


def unpack_weights(packed: np.ndarray, layout: int, n: int, k: int) -> np.ndarray:
    """Return the weights (n, k) int8 of ``pack_weights``."""
    form = LAYOUTS[layout]
    groups, blocks = -(-n // form.channels), -(-k // form.depth)
    body = packed[: packed.size - form.tail_bytes].reshape(groups, -1)[:, form.head_bytes * form.channels :]
    if form.order:
        body = body.reshape(groups, blocks, -1)[:, :, np.argsort(form.order)]
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

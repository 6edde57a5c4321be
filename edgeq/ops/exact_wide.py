# SPDX-License-Identifier: Apache-2.0
"""Multipliers of int16 layers that round as float64 ones do, as LiteRT's FULLY_CONNECTED has them.

An accumulator reaches code k + 1 where it times the multiplier reaches the tie k + 1/2. Two roundings agree where the
same accumulator is the first to reach every tie; ties that lie far from whole accumulators cannot tell them apart.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np

from edgeq.ir.fixed_point import INT32_MAX, Mode, quantize_multiplier, requant_wide, round_away
from edgeq.ops.conv2d_s16 import Conv2dS16Step

BLOCK = 4096  # ties that are looked at together
CODES = 32768  # magnitudes of int16 codes
REACH = 2.0**-29  # relative; a multiplier of 31 bits and its neighbours lie less than 1.5 * 2^-30 from the real one
TRIED = 32  # scales of those within reach
_TIES = np.arange(CODES) + 0.5


@functools.lru_cache(maxsize=65536)
def exact_wide_multiplier(real: float, *, peak: int, bound: int = CODES) -> int | None:
    """Return the m that in mode EXACT equals round_away(acc * real) in float64 wherever |acc| <= peak, if there is one.

    The shift is that of ``quantize_multiplier``. Results are clipped to magnitudes up to ``bound``; both sides are odd
    and monotone.
    """
    nearest, shift = quantize_multiplier(real, mode=Mode.EXACT)
    if nearest == 0:
        return 0 if round_away(peak * real) == 0 else None
    least, most = nearest - 1, min(nearest + 1, INT32_MAX)
    scale = 2.0 ** (31 - shift)
    sums = []
    for end in range(min(bound, math.ceil(peak * real + 1)), 0, -BLOCK):  # the last ties leave the least choice
        ties = _TIES[max(end - BLOCK, 0) : end]
        places = ties / real
        whole = np.rint(places)
        near = np.abs(places - whole) <= places * REACH
        ties, whole = ties[near], whole[near]
        first = whole + (whole * real < ties)  # the first accumulator that reaches the tie, as float64 computes it
        before = np.minimum(first - 1, peak)
        reached = first <= peak
        least = max(least, math.ceil(np.max(ties[reached] / first[reached], initial=0.0) * scale))
        bounds = ties[before > 0] / before[before > 0] * scale
        most = min(most, math.ceil(np.min(bounds, initial=INT32_MAX + 1.0)) - 1)
        if least > most:
            return None
        sums += [before, first[reached]]
    codes = np.concatenate([np.zeros(0), *sums]).astype(np.int64)
    found = min(max(nearest, least), most)
    expected = np.minimum(round_away(codes * real), bound)
    scaled = requant_wide(codes, np.array(found), np.array(shift), Mode.EXACT)
    return found if np.array_equal(np.minimum(scaled, bound), expected) else None


def prove_wide(step: Conv2dS16Step, reals: np.ndarray) -> tuple[Conv2dS16Step, list[int]]:
    """Apply exact_wide_multiplier to every channel, over the accumulators that its weights and bias allow.

    Returns with the step the channels without such a multiplier, which keep the nearest one.
    """
    weights = np.abs(step.weights.reshape(len(reals), -1).astype(np.int64)).sum(axis=1)
    peaks = np.abs(step.bias) + CODES * weights
    bound = max(step.act_max, -step.act_min)
    found = [
        exact_wide_multiplier(float(real), peak=int(peak), bound=bound) for real, peak in zip(reals, peaks, strict=True)
    ]
    kept = zip(found, step.multipliers, strict=True)
    multipliers = np.array([old if new is None else new for new, old in kept], np.int32)
    return dataclasses.replace(step, multipliers=multipliers), [o for o, new in enumerate(found) if new is None]


def exact_weight_scale(scale: float, *, source: float, target: float) -> float:
    """Return a float32 scale of weights near ``scale`` with which a channel's multiplier has an exact form.

    ``source`` and ``target`` are the scales of input and output. A multiplier serves that lies within about 2^-40 of
    one of 31 bits, so one of some thousand neighbours of the scale does; it is ``scale`` itself where none does.
    """
    for reach in (0, 2**10, 2**14):
        codes = np.float32(scale).view(np.int32) + np.arange(-reach, reach + 1)
        scales = np.maximum(codes, 1).astype(np.int32).view(np.float32).astype(np.float64)
        reals = source * scales / target
        fractions = np.frexp(reals)[0]  # in [1/2, 1)
        misses = np.abs(fractions - np.rint(fractions * 2**31) / 2**31)
        for index in np.argsort(misses)[:TRIED]:
            real = float(reals[index])
            if real < 2.0**14 and exact_wide_multiplier(real, peak=2**47) is not None:
                return float(scales[index])
    return scale

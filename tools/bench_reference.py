#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Time edgeq's C runtime beside LiteRT's reference kernels on int8 models: CPU time, interleaved rounds, one thread."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgeq.api import convert
from edgeq.runtime.litert import ReferenceInterpreter


def cpu_seconds(run: Callable[[], object], repeats: int) -> float:
    """Return the CPU seconds of one call, as the mean of several."""
    start = time.process_time()
    for _ in range(repeats):
        run()
    return (time.process_time() - start) / repeats


def main() -> int:
    """Print one row a model; exit 1 when a ratio is below the least one asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL[:RATIO]")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    failed = False
    print(f"{'model':28} {'LiteRT ref us':>14} {'edgeq us':>10} {'ratio':>6}  medians of {options.rounds} rounds")
    for argument in options.models:
        text, _, least = str(argument).partition(":")
        path = Path(text)
        model = convert(path)
        litert = ReferenceInterpreter(path.read_bytes())
        port = model.inputs[0]
        low, high = port.dtype.limits
        x = np.random.default_rng(0).integers(low, high + 1, port.shape).astype(port.dtype.numpy)
        repeats = max(1, int(0.05 / cpu_seconds(lambda: litert.run([x]), 2)))  # noqa: B023
        pairs = [
            (cpu_seconds(lambda: litert.run([x]), repeats), cpu_seconds(lambda: model.run([x]), repeats))  # noqa: B023
            for _ in range(options.rounds)
        ]
        theirs, ours = (float(np.median([pair[i] for pair in pairs])) for i in (0, 1))
        ratio = float(np.median([a / b for a, b in pairs]))
        failed |= bool(least) and ratio < float(least)
        print(f"{path.stem:28} {theirs * 1e6:14.1f} {ours * 1e6:10.1f} {ratio:6.2f}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Time edgeq beside LiteRT (XNNPACK) and ONNX Runtime on int8 models: CPU time, one thread, interleaved rounds.

"C" calls eq_run and LiteRtRunCompiledModel in a loop of C; "Python" goes from array to array.
ONNX Runtime runs a QDQ graph of the same network with uint8 activations, the form that its kernels like best.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import litert_c
import numpy as np
import qdq

from edgeq import api
from edgeq.board import load_board
from edgeq.device.toolchain import compile_sources, find_compiler, link_library

MODELS = (
    "ad01_int8.tflite", "kws_ref_int8.tflite", "vww_96_int8.tflite", "resnet8_int8.tflite",
    "mobilenet_v2_1.0_224_int8.tflite",
)  # fmt: skip
ROUNDS = 15
ROUND_SECONDS = 0.05
EDGEQ_C, LITERT_C, EDGEQ, LITERT, ORT = "edgeq C", "LiteRT C", "edgeq Python", "LiteRT Python", "ORT Python"
PAIRS = ((EDGEQ_C, LITERT_C), (EDGEQ, LITERT), (EDGEQ, ORT))
Timer = Callable[[int], float]  # repeats to CPU seconds of all of them


@dataclass(frozen=True)
class Comparison:
    """One model: CPU seconds of an inference (medians), the medians of ratios within a round, and what was absent."""

    model: str
    isa: str
    seconds: Mapping[str, float]
    ratios: Mapping[tuple[str, str], float]
    absent: tuple[str, ...]

    def ratio(self) -> float:
        """Return edgeq's time over LiteRT's, from C to C."""
        return self.ratios[EDGEQ_C, LITERT_C]

    def summary(self) -> str:
        """Return all medians in microseconds."""
        return f"{self.isa}; us: " + ", ".join(f"{name} {1e6 * value:.1f}" for name, value in self.seconds.items())


def compare(path: Path, *, rounds: int = ROUNDS) -> Comparison:
    """Time one model on every runtime that is installed; LiteRT must be. Raises ImportError when it is not."""
    model = api.convert(path, board="host")
    value = model.plan.values[model.inputs[0].value]
    low, high = value.dtype.limits
    x = np.random.default_rng(0).integers(low, high + 1, model.inputs[0].shape).astype(value.dtype.numpy)
    timers: dict[str, Timer] = {EDGEQ_C: _edgeq_c(model, x), LITERT_C: _litert_c(path, x)}
    timers |= {EDGEQ: _called(lambda: model.run([x])), LITERT: _litert(path, x)}
    absent = []
    try:
        session = qdq.Session(path, model.inputs[0].dtype.numpy)
        timers[ORT] = _called(lambda: session.run(x))
    except ImportError as error:
        absent.append(f"ONNX Runtime: {error}")
    repeats = {name: max(1, int(ROUND_SECONDS / (timer(3) / 3))) for name, timer in timers.items()}
    found: dict[str, list[float]] = {name: [] for name in timers}
    for number in range(rounds):
        for name in list(timers)[:: 1 if number % 2 == 0 else -1]:  # drifts of the machine hit all alike
            found[name].append(timers[name](repeats[name]) / repeats[name])
    return Comparison(
        model=path.stem,
        isa=model.native.isa,
        seconds={name: float(np.median(values)) for name, values in found.items()},
        ratios={
            (ours, theirs): float(np.median(np.divide(found[ours], found[theirs])))
            for ours, theirs in PAIRS
            if theirs in found
        },
        absent=tuple(absent),
    )


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean."""
    return math.exp(sum(map(math.log, values)) / len(values))


def _called(run: Callable[[], object]) -> Timer:
    def timer(repeats: int) -> float:
        start = time.process_time()
        for _ in range(repeats):
            run()
        return time.process_time() - start

    return timer


@cache
def _loops() -> ctypes.CDLL:
    """Build and load tools/bench_loop.c."""
    compiler = find_compiler(load_board("host"))
    objects = compile_sources(compiler, [Path(__file__).with_name("bench_loop.c")], includes=())
    library = ctypes.CDLL(str(link_library(compiler, objects, "bench_loop.so")))
    for name in ("loop_edgeq", "loop_litert"):
        getattr(library, name).restype = ctypes.c_double
    return library


def _edgeq_c(model: api.Model, x: np.ndarray) -> Timer:
    codes = model.encode([x])[0]
    runner = model.native
    ffi, lib = runner._ffi, runner._lib
    pointers = [ffi.addressof(lib, "eq_run"), runner._runner, lib.eq_input(runner._runner, 0)]
    run, handle, place = (ctypes.c_void_p(int(ffi.cast("uintptr_t", pointer))) for pointer in pointers)
    given = (ctypes.c_void_p(codes.ctypes.data), ctypes.c_size_t(codes.nbytes))

    def timer(repeats: int) -> float:
        assert codes.flags.c_contiguous  # and kept alive here
        return float(_loops().loop_edgeq(run, handle, place, *given, ctypes.c_int(repeats)))

    return timer


def _litert_c(path: Path, x: np.ndarray) -> Timer:
    compiled = litert_c.CompiledModel(path)
    compiled.feed(0, x)
    sizes = [ctypes.c_size_t(len(handles)) for handles in (compiled.inputs, compiled.outputs)]

    def timer(repeats: int) -> float:
        run = ctypes.c_void_p(compiled.run_address)
        arguments = (compiled.compiled, sizes[0], compiled.inputs, sizes[1], compiled.outputs, ctypes.c_int(repeats))
        seconds = float(_loops().loop_litert(run, *arguments))
        if seconds < 0:
            raise RuntimeError(f"LiteRT fails on {path}")
        return seconds

    return timer


def _litert(path: Path, x: np.ndarray) -> Timer:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]["index"]
    wanted = [detail["index"] for detail in interpreter.get_output_details()]

    def run() -> None:
        interpreter.set_tensor(given, x)
        interpreter.invoke()
        for index in wanted:
            interpreter.get_tensor(index)

    return _called(run)


def main() -> int:
    """Print a table of medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, help="int8 .tflite files; those of $EDGEQ_SHARED without any")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    folder = Path(os.environ.get("EDGEQ_SHARED", "shared")) / "models"
    paths = options.models or [folder / name for name in MODELS]
    results: list[Comparison] = []
    columns = "".join(f"{name:>14}" for name in (EDGEQ_C, LITERT_C, EDGEQ, LITERT, ORT))
    print(f"{'us':26}{columns}  {'C ratio':>8}{'Python':>8}{'to ORT':>8}   medians of {options.rounds} rounds")
    for path in paths:
        if not path.is_file():
            print(f"{path.stem:26}absent from {path.parent}")
            continue
        try:
            found = compare(path, rounds=options.rounds)
        except ImportError as error:
            sys.exit(f"bench_peers: LiteRT is needed: {error}")
        results.append(found)
        times = (f"{1e6 * found.seconds[n]:14.1f}" if n in found.seconds else f"{'absent':>14}" for n in
                 (EDGEQ_C, LITERT_C, EDGEQ, LITERT, ORT))  # fmt: skip
        ratios = (f"{found.ratios[pair]:8.3f}" if pair in found.ratios else f"{'-':>8}" for pair in PAIRS)
        print(f"{path.stem:26}{''.join(times)}  {''.join(ratios)}   {found.isa}", flush=True)
    for pair in PAIRS:
        values = [found.ratios[pair] for found in results if pair in found.ratios]
        if values:
            print(f"geometric mean of {pair[0]} over {pair[1]}: {geometric_mean(values):.3f} ({len(values)} models)")
    for line in sorted({line for found in results for line in found.absent}):
        print(f"absent: {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

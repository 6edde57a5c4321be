# SPDX-License-Identifier: Apache-2.0
"""Write small model files for the fuzzer to start from: every operator's samples, and graphs of several steps."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from graphbuilder import Builder
from graphs import graph_of_case, rounding_for, with_powers_of_two
from loader import mended, with_longer_header

from edgeq.compile.plan import Plan, PlannedStep, Value
from edgeq.compile.planner import make_plan
from edgeq.format import layout
from edgeq.format.write import write_model
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import Graph
from edgeq.ops import all_ops
from edgeq.ops.add import Add
from edgeq.ops.base import Rounding
from edgeq.ops.concatenation import Concatenation
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.logistic import Logistic
from edgeq.ops.lut import LutStep
from edgeq.ops.mean import Mean
from edgeq.ops.split import Split
from edgeq.ops.transpose import Transpose
from edgeq.quantize.static import quantize_for_shape

MAX_BYTES = 8192
BOUNDARY_ONLY = {"dequantize"}  # has no integer form
SAMPLES = 5  # of each operator
MORE_SAMPLES = 25  # of each operator, kept while a kind of step is rare


def plans() -> Iterator[tuple[str, Plan]]:
    """Yield small plans with a name for each; the same on every call."""
    kinds: Counter[str] = Counter()
    for op in [op for op in all_ops() if op.name not in BOUNDARY_ONLY]:
        for seed in range(MORE_SAMPLES):
            case = op.sample(np.random.default_rng([seed, len(op.name)]))
            rounding = rounding_for(case, list(Rounding)[seed % 3])
            plan = make_plan(graph_of_case(case), rounding=rounding, keep_tensors=seed == 0)
            rare = any(kinds[planned.step.name] < SAMPLES for planned in plan.steps)
            if seed < SAMPLES or rare:
                kinds.update(planned.step.name for planned in plan.steps)
                yield f"{op.name}_{seed}", plan
    for op in (Conv2d, Add, Mean):
        case = with_powers_of_two(op.sample(np.random.default_rng(0)))
        yield f"{op.name}_by_shifts", make_plan(graph_of_case(case), rounding=Rounding.NATIVE)
    yield "wide_concat", make_plan(_wide_concat(40), rounding=Rounding.NATIVE)
    yield "unused_tensors", _unused_tensors(300)
    yield "pixels", _pixels()
    yield "divided_pixels", _divided(_pixels())
    for keep in (False, True):
        for size in range(1, 6):
            graph = quantize_for_shape(_network(size))
            yield f"network_{size}_{keep}", make_plan(graph, rounding=Rounding.NATIVE, keep_tensors=keep)


def _pixels() -> Plan:
    """Convolutions of single pixels, whose outputs follow their inputs, and a look-up in place."""
    rng = np.random.default_rng(0)
    b = Builder()
    x = b.input(1, 8, 8, 16)
    for _ in range(3):
        x = b.node(Conv2d(), x, b.constant(rng.standard_normal((16, 1, 1, 16))))
    return make_plan(quantize_for_shape(b.graph(b.node(Logistic(), x))), rounding=Rounding.NATIVE)


def _divided(plan: Plan) -> Plan:
    """Divide what works in place; convolutions that follow their inputs must stay whole."""
    steps = [dataclasses.replace(planned, parts=2 if planned.step.in_place else 1) for planned in plan.steps]
    return dataclasses.replace(plan, steps=tuple(steps))


def _network(size: int) -> Graph:
    """Two inputs and outputs, a skip connection, scratch memory, in-place and multi-output steps."""
    rng = np.random.default_rng(size)
    b = Builder()
    x, y = b.input(1, size, size, 2), b.input(1, size, size, 2)
    weights = b.constant(rng.standard_normal((2, 3, 3, 2)))
    convolved = b.node(Conv2d(padding="same"), x, weights, b.constant(rng.standard_normal(2)))
    total = b.node(Add(), convolved, x)
    joined = b.node(Concatenation(3), b.node(Logistic(), total), y)
    left = b.node(Split(3, (2, 2)), joined)
    turned = b.node(Transpose((0, 2, 1, 3)), left)
    return b.graph(b.node(Add(), turned, left + 1), b.node(Logistic(), total))


def _wide_concat(count: int) -> Graph:
    """More inputs of one step than a mask of 32 bits has places for."""
    b = Builder()
    return quantize_for_shape(b.graph(b.node(Concatenation(0), *[b.input(1) for _ in range(count)])))


def _unused_tensors(count: int) -> Plan:
    """No ports, and so many tensors that every number of the later sections is one's."""
    zeros = np.zeros(256, np.uint8)
    values = [Value("zeros", (16,), DType.S8, None, data=zeros[:16].view(np.int8))]
    values += [Value("unused", (16,), DType.S8, None)] * count
    step = PlannedStep(LutStep(count=16, table=zeros), "", "", (0,), (1,))
    return Plan("unused", "native", tuple(values), (step,), (), (), (), 16, 16)


def without_metadata(data: bytes) -> bytes:
    """Cut a model file where its metadata begins, which the runtime never reads."""
    header = layout.HEADER.unpack(data, 0)
    end = header["metadata_offset"]
    for name in ("metadata", "golden", "signature"):
        header.update({f"{name}_offset": end, f"{name}_size": 0})
    header.update(file_bytes=end)
    return mended(layout.HEADER.pack(**header) + data[layout.HEADER.size_bytes : end])


def write_corpus(folder: Path) -> int:
    """Write every plan whose file is small; real models, where there are any, go beside them. Return how many."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for name, plan in plans():
        data = without_metadata(write_model(plan))
        if name.endswith("1"):
            data = with_longer_header(data)
        if len(data) <= MAX_BYTES:
            (folder / f"{name}.eqm").write_bytes(data)
            count += 1
    return count


def write_real_models(folder: Path) -> int:
    """Convert the optional int8 models, too large to fuzz but good to replay; return how many there were."""
    from edgeq.pipeline import plan_without_data, read_source

    root = os.environ.get("EDGEQ_SHARED")
    paths = sorted(Path(root, "models").glob("*int8*.tflite")) if root else []
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        (folder / f"{path.stem}.eqm").write_bytes(write_model(plan_without_data(read_source(path))[0]))
    return len(paths)


if __name__ == "__main__":
    print(f"{write_corpus(Path(sys.argv[1]))} files")

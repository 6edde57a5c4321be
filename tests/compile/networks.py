# SPDX-License-Identifier: Apache-2.0
"""Random small networks, and running a plan where every buffer shares memory against the twin where none does."""

from __future__ import annotations

import numpy as np
from graphbuilder import Builder

from edgeq.compile.plan import Plan
from edgeq.format.write import write_model
from edgeq.ir.graph import Graph
from edgeq.ops.add import Add
from edgeq.ops.concatenation import Concatenation
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.logistic import Logistic
from edgeq.ops.pool import AveragePool2d, MaxPool2d
from edgeq.ops.slice import Slice
from edgeq.ops.split import Split
from edgeq.quantize.static import quantize_for_shape
from edgeq.runtime.native import NativeRunner
from edgeq.runtime.reference import run_reference


def windowed_layer(b: Builder, x: int, rng: np.random.Generator) -> int:
    """Add a convolution, a depthwise one or a pool with random geometry."""
    _, height, width, channels = b.tensors[x].shape
    kernel = int(rng.choice([1, 2, 3])), int(rng.choice([1, 3]))
    stride = int(rng.choice([1, 1, 2])), int(rng.choice([1, 1, 2]))
    if kernel[0] > height or kernel[1] > width:
        kernel = 1, 1
    padding = "same" if rng.random() < 0.7 else "valid"
    kind = int(rng.integers(4))
    if kind == 0:
        weights = b.constant(rng.standard_normal((1, *kernel, channels)))
        return b.node(DepthwiseConv2d(stride, padding), x, weights, b.constant(rng.standard_normal(channels)))
    if kind == 1 and kernel != (1, 1):
        return b.node((AveragePool2d if rng.random() < 0.5 else MaxPool2d)(kernel, stride, padding), x)
    count = int(rng.choice([4, 8, 16, 24]))
    weights = b.constant(rng.standard_normal((count, *kernel, channels)))
    return b.node(Conv2d(stride, padding), x, weights, b.constant(rng.standard_normal(count)))


def chain(rng: np.random.Generator, *, layers: int = 6) -> Graph:
    """Windowed layers one after the other."""
    b = Builder()
    x = b.input(1, int(rng.integers(8, 20)), int(rng.integers(4, 12)), int(rng.choice([1, 3, 8, 16])))
    for _ in range(layers):
        x = windowed_layer(b, x, rng)
    return quantize_for_shape(b.graph(x))


def network(rng: np.random.Generator) -> Graph:
    """Layers, skip connections, joins and cuts in random order over a few open branches."""
    b = Builder()
    open_ends = [b.input(1, int(rng.integers(4, 12)), 8, int(rng.choice([4, 8, 16])))]
    for _ in range(int(rng.integers(4, 12))):
        x = open_ends.pop(int(rng.integers(len(open_ends))))
        shape = b.tensors[x].shape
        kind = int(rng.integers(6))
        if kind == 0:
            y = b.node(Logistic(), x)
            open_ends += [y, x] if rng.random() < 0.5 else [y]
        elif kind == 1 and shape[1] > 1:
            cut = int(rng.integers(1, shape[1]))
            first = b.node(Split(1, (cut, shape[1] - cut)), x)
            open_ends += [first, first + 1]
        elif kind == 2 and shape[1] > 2:
            begin = int(rng.integers(0, 2))
            open_ends += [x, b.node(Slice((0, begin, 0, 0), (1, shape[1] - 2, *shape[2:])), x)]
        elif kind == 3 and (same := [y for y in open_ends if b.tensors[y].shape == shape]):
            open_ends.append(b.node(Add(), x, same[0]))
        elif kind == 4 and (alike := [y for y in open_ends if b.tensors[y].shape[2:] == shape[2:]]):
            open_ends.remove(alike[0])
            open_ends.append(b.node(Concatenation(1), x, alike[0]))
        else:
            open_ends.append(windowed_layer(b, x, rng))
    return quantize_for_shape(b.graph(*dict.fromkeys(open_ends)))


def assert_runs_like_the_twin(plan: Plan, rng: np.random.Generator) -> None:
    """Run the C runtime, which opens the plan only when it finds its overlaps safe, twice in one arena."""
    runner = NativeRunner(plan, write_model(plan))
    for _ in range(2):
        values = [plan.values[port.value] for port in plan.inputs]
        codes = [rng.integers(-128, 128, value.shape).astype(value.dtype.numpy) for value in values]
        expected = run_reference(plan, codes).outputs
        for index, (found, wanted) in enumerate(zip(runner.run(codes).outputs, expected, strict=True)):
            np.testing.assert_array_equal(found, wanted, err_msg=f"output {index}")

# SPDX-License-Identifier: Apache-2.0
"""Random models of one operator: native runtime and NumPy twin against LiteRT's reference kernels, bit for bit.

Each case belongs to a kind and a seed, which a failure names. EDGEQ_SEED=17 starts at another seed than 0.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from conformance.generated import FIRST_SEED, KINDS, Generated, accepted, generate
from isas import host_isas, opened

from edgeq.api import Model
from edgeq.errors import EdgeqError
from edgeq.format.write import write_model
from edgeq.frontends.tflite import read
from edgeq.pipeline import convert_graph
from edgeq.quantize.recipe import Recipe
from edgeq.rewrite.boundary import strip_boundary

FEW, MANY = 6, 300  # cases of each kind

# what LiteRT runs and edgeq refuses, with words of the refusal
REFUSED = {
    "abs_int16": "int8 or uint8 expected",
    "batch_matmul_int16": "int8 expected",
    "gelu_int16": "depends on the last bit of its C library's erf and tanh",
    "leaky_relu_int16": "int8 or uint8 expected",
    "maximum_int16": "int8 expected",
    "minimum_int16": "int8 expected",
    "prelu_int16": "int8 expected",
    "relu6_int16": "int8 or uint8 expected",
    "relu_int16": "int8 or uint8 expected",
    "resize_bilinear_int16": "int8 expected",
    "rsqrt_int16": "int8 or uint8 expected",
    "transpose_conv_int16": "int8 expected",
}
# the same, for some cases of a kind: LiteRT rescales the parts of uint8 alone, in float
PARTLY_REFUSED = {"concatenation_uint8": "must share one scale"}
# LiteRT works in float here, which edgeq says in a warning: the most that codes may differ
INEXACT = {"resize_bilinear_uint8": 4}


def _convert(case: Generated, rounding: str) -> Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes that LiteRT itself reads out of bounds for, and of INEXACT
        graph = strip_boundary(read(case.file, "generated"))
        plan = convert_graph(graph, recipe=Recipe(rounding=rounding)).plan
    return Model(plan, write_model(plan))


def _difference(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """Return the largest difference of two runs; infinity when dtypes or shapes differ."""
    if [(a.dtype, a.shape) for a in found] != [(b.dtype, b.shape) for b in expected]:
        return float("inf")
    return max(
        float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0))
        for a, b in zip(found, expected, strict=True)
    )


def _everywhere(model: Model, inputs: Sequence[np.ndarray]) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yield what the twin and the native runtime with each ISA of this CPU make of the inputs."""
    yield "reference", model.run(inputs, engine="reference")
    for isa in host_isas():
        yield isa, opened(model, isa).run(inputs)


def _failures(kind: str, count: int) -> list[str]:
    failures, refusals = [], 0
    for case, expected in accepted(kind, count):
        try:
            model = _convert(case, "tflite")
        except EdgeqError as error:
            refusals += 1
            known = REFUSED.get(kind) or PARTLY_REFUSED.get(kind)
            if known is None or known not in str(error):
                failures.append(f"{case.name} is refused: {error}")
            continue
        for engine, outputs in _everywhere(model, case.inputs):
            difference = _difference(outputs, expected)
            if difference > INEXACT.get(kind, 0):
                failures.append(f"{case.name}: {engine} differs by {difference:g}")
    if kind in REFUSED and refusals != count:
        failures.append(f"{kind}: {count - refusals} of {count} cases are no longer refused")
    return failures


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_cases_equal_litert(kind: str, count: int) -> None:
    assert _failures(kind, count) == []


@pytest.mark.slow
def test_partial_refusals_and_differences_still_happen() -> None:
    """What the lists above excuse must be there, or they say too much."""
    for kind in PARTLY_REFUSED:
        found = []
        for case, _ in accepted(kind, 30):
            try:
                _convert(case, "tflite")
            except EdgeqError:
                found.append(case.name)
        assert found
    for kind in INEXACT:
        assert any(
            _difference(_convert(case, "tflite").run(case.inputs), expected) > 0
            for case, expected in accepted(kind, 30)
        )


@pytest.mark.parametrize("rounding", ["tflm", "native"])
def test_native_equals_twin_under_other_roundings(rounding: str) -> None:
    failures = []
    for kind in KINDS:
        if kind in REFUSED or kind in PARTLY_REFUSED:
            continue
        for seed in range(FIRST_SEED, FIRST_SEED + 2):
            case = generate(kind, seed)
            try:
                model = _convert(case, rounding)
            except EdgeqError as error:
                failures.append(f"{case.name} is refused: {error}")
                continue
            (_, reference), *native = _everywhere(model, case.inputs)
            failures += [
                f"{case.name}: {isa} differs from twin"
                for isa, outputs in native
                if _difference(outputs, reference) != 0
            ]
    assert failures == []

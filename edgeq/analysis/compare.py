# SPDX-License-Identifier: Apache-2.0
"""Compare integers: a device or engine step by step with the NumPy twin."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from edgeq.compile.plan import Plan
from edgeq.errors import DeviceError, UsageError
from edgeq.ir.result import RunResult

Codes = Sequence[np.ndarray]
Engine = Callable[[Sequence[Codes]], Sequence[RunResult]]  # runs an inference on each, with a CRC of every step
GROUP = 16  # inferences that go to an engine at once
Tensors = Callable[[Codes], Mapping[str, np.ndarray]]  # every tensor of one inference, by name


@dataclass(frozen=True)
class Element:
    """One output element that differs; ``index`` counts elements of the tensor in order."""

    tensor: str
    index: int
    expected: int
    found: int
    differing: int  # elements of that tensor that differ
    elements: int


@dataclass(frozen=True)
class Difference:
    """The first step whose integers differ; step -1 means the outputs differ though no step's CRC does."""

    inference: int
    step: int
    name: str
    op: str
    expected_crc: int | None = None
    found_crc: int | None = None
    element: Element | None = None


@dataclass(frozen=True)
class Verification:
    """The result of a comparison: ``elements`` output numbers and inferences x steps CRCs were compared."""

    steps: int
    inferences: int
    elements: int
    first_difference: Difference | None = None

    @property
    def equal(self) -> bool:
        return self.first_difference is None


def verify(
    plan: Plan,
    inputs: Iterable[Codes],
    *,
    expected: Engine,
    found: Engine,
    expected_tensors: Tensors | None = None,
    found_tensors: Tensors | None = None,
    progress: Callable[[int], None] | None = None,
) -> Verification:
    """Run both engines on every input and compare each step's CRC and every output, up to the first difference.

    With both functions for tensors, the differing element of an inner step is named too. Raises DeviceError when an
    engine gives fewer CRCs or other outputs than the plan has, UsageError when there are no inputs.
    """
    inferences = elements = 0
    feeds = iter(inputs)
    while group := list(islice(feeds, GROUP)):
        for codes, wanted, got in zip(group, expected(group), found(group), strict=True):
            for result in (wanted, got):
                _require_whole(plan, result)
            difference = _first_difference(plan, inferences, wanted, got)
            inferences += 1
            elements += sum(output.size for output in wanted.outputs)
            if difference is not None:
                if difference.element is None and expected_tensors is not None and found_tensors is not None:
                    element = _first_element(plan, difference.step, expected_tensors(codes), found_tensors(codes))
                    difference = replace(difference, element=element)
                return Verification(len(plan.steps), inferences, elements, difference)
        if progress is not None:
            progress(inferences)
    if inferences == 0:
        raise UsageError("nothing was compared: there are no inputs")
    return Verification(len(plan.steps), inferences, elements)


def _require_whole(plan: Plan, result: RunResult) -> None:
    if len(result.step_crcs) != len(plan.steps):
        raise DeviceError(f"{len(result.step_crcs)} step CRCs came back, the model has {len(plan.steps)} steps")
    sizes = [output.shape for output in result.outputs]
    if sizes != [port.shape for port in plan.outputs]:
        raise DeviceError(f"outputs of shapes {sizes} came back, the model has {[p.shape for p in plan.outputs]}")


def _first_difference(plan: Plan, inference: int, wanted: RunResult, got: RunResult) -> Difference | None:
    outputs = {
        plan.outputs[i].value: element_difference(plan.outputs[i].name, *pair)
        for i, pair in enumerate(zip(wanted.outputs, got.outputs, strict=True))
    }
    for step, (crc, other) in enumerate(zip(wanted.step_crcs, got.step_crcs, strict=True)):
        if crc != other:
            planned = plan.steps[step]
            known = [outputs[value] for value in planned.outputs if outputs.get(value) is not None]
            return Difference(inference, step, planned.name, planned.op, crc, other, known[0] if known else None)
    for element in outputs.values():
        if element is not None:
            return Difference(inference, -1, element.tensor, "output", element=element)
    return None


def _first_element(
    plan: Plan, step: int, wanted: Mapping[str, np.ndarray], got: Mapping[str, np.ndarray]
) -> Element | None:
    written = set(plan.steps[step].outputs)
    for tensor in plan.tensors:
        if tensor.value in written and tensor.name in wanted and tensor.name in got:
            element = element_difference(tensor.name, wanted[tensor.name], got[tensor.name])
            if element is not None:
                return element
    return None


def element_difference(name: str, wanted: np.ndarray, got: np.ndarray) -> Element | None:
    """Return the first element in which two integer tensors of one shape differ, if there is one."""
    differing = np.flatnonzero(wanted.reshape(-1) != got.reshape(-1))
    if differing.size == 0:
        return None
    index = int(differing[0])
    return Element(
        name,
        index,
        int(wanted.reshape(-1)[index]),
        int(got.reshape(-1)[index]),
        int(differing.size),
        int(wanted.size),
    )


def random_inputs(plan: Plan, *, count: int, seed: int) -> Iterator[list[np.ndarray]]:
    """Draw ``count`` inputs of codes over the whole range of their dtypes; the first two are all lowest, all highest.

    An input without a scale holds indices or truth values and gets 0 and 1 only.
    """
    rng = np.random.default_rng(seed)
    for number in range(count):
        codes = []
        for port in plan.inputs:
            quant, dtype = plan.values[port.value].quant, plan.values[port.value].dtype
            low, high = (0, 1) if quant is None else dtype.limits
            if number < 2:
                drawn = np.full(port.shape, (low, high)[number], dtype.numpy)
            else:
                drawn = rng.integers(low, high, size=port.shape, endpoint=True, dtype=np.int64).astype(dtype.numpy)
            codes.append(drawn)
        yield codes

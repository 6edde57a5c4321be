# SPDX-License-Identifier: Apache-2.0
"""Lower a quantized graph to steps: every node folded, every view merged into the value it looks at."""

from __future__ import annotations

from dataclasses import dataclass

from edgeq.compile.plan import NamedTensor, PlannedStep, PlanPort, Value
from edgeq.errors import EdgeqError, UnsupportedError
from edgeq.ir.graph import Graph, Port
from edgeq.ops.base import Fold, Rounding, View

Reason = tuple[str, str, str, str]  # node, operator, reason, hint
MOVE = "move"  # the op of a step that only copies a value to another place in the arena


@dataclass(frozen=True)
class Lowered:
    """Steps over values that have no place yet."""

    values: tuple[Value, ...]
    steps: tuple[PlannedStep, ...]
    inputs: tuple[PlanPort, ...]
    outputs: tuple[PlanPort, ...]
    tensors: tuple[NamedTensor, ...]

    @property
    def macs(self) -> int:
        return sum(planned.step.macs() for planned in self.steps)


def lower(graph: Graph, *, rounding: Rounding) -> Lowered:
    """Fold every node of a graph whose run-time tensors are all integers.

    Raises UnsupportedError naming every node that has no integer form, or the first other error of a node, with
    operator and node named.
    """
    folds, reasons = _fold_all(graph, rounding)
    if reasons:
        lines = [f'{op} "{name}": {reason}' for name, op, reason, _ in reasons]
        raise UnsupportedError("\n".join(lines), reasons=reasons)
    values: list[Value] = []
    value_of: dict[int, int] = {}

    def value_for(index: int) -> int:
        if index not in value_of:
            tensor = graph.tensors[index]
            value_of[index] = len(values)
            values.append(Value(tensor.name, tensor.shape, tensor.dtype, tensor.quant, data=tensor.data))
        return value_of[index]

    def plan_port(port: Port) -> PlanPort:
        return PlanPort(port.name, value_for(port.tensor), port.dtype, graph.tensors[port.tensor].shape)

    inputs = tuple(plan_port(port) for port in graph.inputs)
    steps: list[PlannedStep] = []
    for node, folded in zip(graph.nodes, folds, strict=True):
        if isinstance(folded, View):
            value_of[node.outputs[0]] = value_for(node.inputs[folded.input])
            continue
        read = tuple(value_for(node.inputs[position]) for position in folded.inputs)
        written = tuple(value_for(index) for index in node.outputs)
        steps.append(PlannedStep(folded.step, node.name, node.op.name, read, written))
    outputs = tuple(plan_port(port) for port in graph.outputs)
    tensors = tuple(
        NamedTensor(tensor.name, value_of[index], tensor.shape)
        for index, tensor in enumerate(graph.tensors)
        if index in value_of and tensor.data is None
    )
    return Lowered(tuple(values), tuple(steps), inputs, outputs, tensors)


def _fold_all(graph: Graph, rounding: Rounding) -> tuple[list[Fold | View], tuple[Reason, ...]]:
    folds: list[Fold | View] = []
    reasons: list[Reason] = []
    for node in graph.nodes:
        try:
            folds.append(node.op.fold(graph.input_tensors(node), graph.output_tensors(node), rounding=rounding))
        except UnsupportedError as error:
            reasons.append((node.name, node.op.name, str(error), error.hint or ""))
        except EdgeqError as error:
            error.args = (f'{node.op.name} "{node.name}": {error.args[0]}',)
            raise
    return folds, tuple(reasons)

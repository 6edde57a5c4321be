# SPDX-License-Identifier: Apache-2.0
"""What a model costs before it runs: work, parameters, memory per layer, and whether a board has room for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgeq.analysis.fit import Fit, fit_firmware, other_boards
from edgeq.analysis.predict import Prediction, predict
from edgeq.board import Board
from edgeq.compile.plan import Plan, PlannedStep
from edgeq.compile.traffic import bytes_moved
from edgeq.errors import UnsupportedError
from edgeq.format.read import is_model
from edgeq.format.write import write_model
from edgeq.ir.dtypes import DType
from edgeq.ir.graph import ABSENT, Graph
from edgeq.ops.base import step_fields
from edgeq.ops.coded_conv2d import CodedConv2dStep
from edgeq.paths import read_bytes
from edgeq.pipeline import is_quantized, plan_without_data, read_plan, read_source

PARAMETER_FIELDS = ("weights", "bias")  # of steps: what training made, apart from what folding adds


@dataclass(frozen=True)
class LayerCost:
    """One step: ``live_bytes`` of the arena hold something during it, ``bytes_moved`` it reads and writes.

    ``cycles`` are predicted, None without a board or for a core whose costs are not known.
    """

    index: int
    name: str
    op: str
    macs: int
    bytes_moved: int
    live_bytes: int
    cycles: float | None = None


@dataclass(frozen=True)
class Unsupported:
    """A node that cannot be converted."""

    node: str
    op: str
    reason: str
    hint: str


@dataclass(frozen=True)
class Cost:
    """The cost of a model; sizes and layers are missing when nodes are unsupported.

    ``source_macs`` are those of a quantized source model before it was shrunk. ``exact_model_bytes`` is false for a
    float model, whose scales are known, and written, only after calibration. ``fit`` is what the firmware of a
    microcontroller takes, and ``remedy`` what would help where it does not fit.
    """

    model: str
    board: str | None
    unsupported: tuple[Unsupported, ...] = ()
    macs: int | None = None
    parameters: int | None = None
    source_macs: int | None = None
    arena_bytes: int | None = None
    lower_bound_bytes: int | None = None
    model_bytes: int | None = None
    exact_model_bytes: bool = True
    ram_bytes: int | None = None
    layers: tuple[LayerCost, ...] = ()
    time: Prediction | None = None
    fit: Fit | None = None
    remedy: str = ""
    plan: Plan | None = field(default=None, repr=False)

    @property
    def fits(self) -> bool | None:
        """Whether the board has room; None without a board."""
        if self.board is None:
            return None
        if self.fit is not None:
            return self.fit.fits
        return self.arena_bytes is not None and (self.ram_bytes is None or self.arena_bytes <= self.ram_bytes)

    @property
    def missing_bytes(self) -> int:
        """Bytes of RAM that the board lacks."""
        return max(0, (self.arena_bytes or 0) - (self.ram_bytes if self.ram_bytes is not None else 1 << 62))

    @property
    def peak_layers(self) -> tuple[LayerCost, ...]:
        """The layers at which most memory is live."""
        peak = max((layer.live_bytes for layer in self.layers), default=0)
        return tuple(layer for layer in self.layers if layer.live_bytes == peak)

    @property
    def peak_tensors(self) -> tuple[tuple[str, int], ...]:
        """What the memory holds at the first of these layers: names with bytes, largest first; some may overlap."""
        if self.plan is None or not self.peak_layers:
            return ()
        step = self.peak_layers[0].index
        found = [(self.plan.values[i].name, self.plan.values[i].bytes) for i in self.plan.live_values(step)]
        scratch = self.plan.steps[step].scratch_bytes
        return tuple(sorted([*found, *([("scratch", scratch)] if scratch else [])], key=lambda item: -item[1]))


def analyze(path: Path, *, board: Board | None = None) -> Cost:
    """Find the cost of an .eqm file or a source model, without data; of a source model as converted for the board.

    Unsupported nodes are part of the result. Raises what reading the file raises, and UnsupportedError for a refusal
    that names no node.
    """
    data = read_bytes(path)
    if is_model(data):
        plan = read_plan(data, path)
        return _with_fit(cost_of_plan(plan, model_bytes=len(data), board=board), plan, data, board, None)
    try:
        graph = read_source(path)
        plan, integers = plan_without_data(graph, board=board)
    except UnsupportedError as error:
        if not error.reasons:
            raise
        return Cost(
            model=path.stem,
            board=None if board is None else board.name,
            unsupported=tuple(Unsupported(*reason) for reason in error.reasons),
            ram_bytes=None if board is None else board.ram_bytes,
        )
    model = write_model(plan)
    cost = cost_of_plan(
        plan,
        model_bytes=len(model),
        exact_model_bytes=is_quantized(graph),
        parameters=count_parameters(integers.graph if is_quantized(graph) else graph),
        source_macs=integers.source_macs,
        board=board,
    )
    return _with_fit(cost, plan, model, board, graph)


def _with_fit(cost: Cost, plan: Plan, model: bytes, board: Board | None, graph: Graph | None) -> Cost:
    """Add what firmware takes of a microcontroller; ``graph``, if it is there, may have a smaller arena."""
    fit = fit_firmware(plan, model, board) if board is not None and board.kind == "firmware" else None
    if fit is None or board is None or fit.fits:
        return replace(cost, fit=fit)
    remedies = [other_boards(plan)]
    if graph is not None and fit.missing_ram:
        smaller, _ = plan_without_data(graph, board=board, fit=True)
        found = fit_firmware(smaller, write_model(smaller), board)
        if found is not None:
            left = "and it fits" if found.fits else f"and it still needs {found.shortage}"
            remedies.insert(0, f"with --fit the arena takes {smaller.arena_bytes} bytes, {left}")
    return replace(cost, fit=fit, remedy="; ".join(remedies))


def cost_of_plan(
    plan: Plan,
    *,
    model_bytes: int,
    exact_model_bytes: bool = True,
    parameters: int | None = None,
    source_macs: int | None = None,
    board: Board | None = None,
) -> Cost:
    """Find the cost of a plan; parameters are counted in its steps unless they are given."""
    live = plan.live_bytes()
    time = None if board is None else predict(plan, board)
    layers = tuple(
        LayerCost(
            index=index,
            name=planned.name,
            op=planned.op,
            macs=planned.step.macs(),
            bytes_moved=bytes_moved(plan, planned),
            live_bytes=live[index],
            cycles=None if time is None else time.steps[index],
        )
        for index, planned in enumerate(plan.steps)
    )
    if parameters is None:
        parameters = sum(_constant_elements(planned, PARAMETER_FIELDS) for planned in plan.steps)
    return Cost(
        model=plan.name,
        board=None if board is None else board.name,
        macs=plan.macs,
        parameters=parameters,
        source_macs=source_macs,
        arena_bytes=plan.arena_bytes,
        lower_bound_bytes=plan.lower_bound_bytes,
        model_bytes=model_bytes,
        exact_model_bytes=exact_model_bytes,
        ram_bytes=None if board is None else board.ram_bytes,
        layers=layers,
        time=time,
        plan=plan,
    )


def _constant_elements(planned: PlannedStep, names: Iterable[str]) -> int:
    if isinstance(planned.step, CodedConv2dStep):  # several weights in a byte
        return planned.step.output[3] * (planned.step.depth + 1)
    fields = step_fields(type(planned.step))
    return sum(
        int(getattr(planned.step, name).size) for name, _, constant in fields if constant is not None and name in names
    )


def count_parameters(graph: Graph) -> int:
    """Count the elements of the constants that nodes compute with, each once: floats, and integers with a scale or
    as biases."""
    found: set[int] = set()
    for node in graph.nodes:
        for position, index in enumerate(node.inputs):
            if index == ABSENT or graph.tensors[index].data is None:
                continue
            tensor = graph.tensors[index]
            if tensor.dtype is DType.F32 or tensor.quant is not None or position == node.op.bias_input:
                found.add(index)
    return sum(graph.tensors[index].elements for index in found)

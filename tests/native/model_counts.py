# SPDX-License-Identifier: Apache-2.0
"""Count the instructions of whole models on emulated Cortex-M cores, layer by layer, and cycles by timing tables.

PYTHONPATH=tests python tests/native/model_counts.py CORE MODEL...     e.g. cortex-m4 kws_ref_int8.tflite
"""

from __future__ import annotations

import dataclasses
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bare import ENVIRONMENT, HARNESS, Core, bare_compiler, count_bare, find_core

from edgeq.api import Model
from edgeq.board import load_board
from edgeq.device.counter import Counted, parse_report
from edgeq.device.cycle_table import TIMINGS, modelled_cycles
from edgeq.device.toolchain import compile_sources, native_includes, native_sources
from edgeq.errors import DeviceError
from edgeq.format.write import write_model
from edgeq.pipeline import convert_graph, read_source
from edgeq.quantize.recipe import Recipe

SECONDS = 600
PRINTED = re.compile(r"isa (\w+) stack (\d+) arena (\d+)")


@dataclass(frozen=True)
class ModelCount:
    """What one inference of a model takes on a core."""

    isa: str
    counted: Counted
    stack_bytes: int
    arena_bytes: int


def build(core: Core) -> list[Path]:
    """Compile the library and the program that runs a model."""
    sources = [*native_sources(), HARNESS / "count_model.c", ENVIRONMENT]
    return compile_sources(bare_compiler(core), sources, includes=(*native_includes(), HARNESS))


def count_model(core: Core, objects: list[Path], model: Model) -> ModelCount:
    """Count one inference on random inputs. Raises DeviceError when it fails or gives other outputs than the twin."""
    rng = np.random.default_rng(0)
    inputs = [rng.integers(-128, 128, port.shape).astype(np.int8) for port in model.plan.inputs]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model").write_bytes(model.data)
        (folder / "inputs").write_bytes(b"".join(array.tobytes() for array in inputs))
        ended, report = count_bare(core, objects, ["model", "inputs", "outputs"], folder, seconds=SECONDS)
        printed = PRINTED.search(ended.stdout)
        if ended.code != 0 or printed is None:
            raise DeviceError(f"{model.name} did not run on {core.cpu}: {ended.reason}\n{ended.last_lines}")
        outputs = (folder / "outputs").read_bytes()
    expected = model.run_codes(inputs, engine="reference").outputs
    if outputs != b"".join(array.tobytes() for array in expected):
        raise DeviceError(f"{model.name} gives other outputs on {core.cpu} than the twin")
    counted = parse_report(report, len(model.plan.steps))
    return ModelCount(printed[1], counted, int(printed[2]), int(printed[3]))


def _cycles(core: Core, counted: Counted) -> list[int]:
    """Return the modelled cycles of each step without the marker's own, none for a core without a timing table."""
    timing = TIMINGS.get(core.cpu)
    if timing is None:
        return []
    own = modelled_cycles(counted.marker, timing)
    return [max(0, modelled_cycles(step, timing) - own) for step in counted.steps]


def convert_for(core: Core, path: Path) -> Model:
    """Convert a model for a board that has the core."""
    boards = {"cortex-m0": "microbit", "cortex-m3": "mps2-an385", "cortex-m4": "mps2-an386", "cortex-m7": "mps2-an500",
              "cortex-m33": "mps2-an505", "cortex-m55": "mps3-an547"}  # fmt: skip
    board = dataclasses.replace(load_board(boards[core.cpu]), ram_bytes=None)
    plan = convert_graph(read_source(path), recipe=Recipe(), board=board).plan
    return Model(plan, write_model(plan, board_class=board.board_class))


def main() -> int:
    """Print a table for every model."""
    core = find_core(sys.argv[1])
    objects = build(core)
    for path in map(Path, sys.argv[2:]):
        model = convert_for(core, path)
        found = count_model(core, objects, model)
        print(f"{path.stem} on {core.cpu}, kernels {found.isa}, model {len(model.data)} B")
        cycles = _cycles(core, found.counted)
        for step, instructions, modelled in zip(
            model.plan.steps, found.counted.instructions, cycles or [None] * len(model.plan.steps), strict=True
        ):
            macs = step.step.macs()
            ratio = f"{instructions / macs:8.2f} a MAC" if macs else " " * 15
            timed = f" {modelled:12,} cycles" if modelled is not None else ""
            print(f"  {step.name[-40:]:40} {step.step.name:18} {instructions:10,}{ratio}{timed}")
        total, macs = sum(found.counted.instructions), sum(step.step.macs() for step in model.plan.steps)
        timed = f", {sum(cycles):,} cycles by the timing table" if cycles else ""
        memory = f"arena {found.arena_bytes} B, stack {found.stack_bytes} B"
        print(f"  total {total:,}, {total / macs:.2f} a MAC{timed}; {memory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

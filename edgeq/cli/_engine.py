# SPDX-License-Identifier: Apache-2.0
"""Where a command runs a model: this machine, a board's emulator, or a board."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from edgeq import api
from edgeq.analysis.profiling import profile
from edgeq.analysis.samples import Runner
from edgeq.board import load_board
from edgeq.device.link.client import LinkClient
from edgeq.device.link.transport import open_transport
from edgeq.errors import UsageError
from edgeq.ir.result import Profile, RunResult

Codes = Sequence[np.ndarray]


@dataclass(frozen=True)
class Engine:
    """Something that runs one model on codes; ``label`` says what it is, ``tensors`` gives all of a run's if it can."""

    label: str
    run: Callable[[Sequence[Codes], bool], list[RunResult]]  # codes of each inference, whether step CRCs are wanted
    profile: Callable[[Codes, int], Profile]  # codes, inferences
    tensors: Callable[[Codes], dict[str, np.ndarray]] | None = None

    def runner(self, model: api.Model) -> Runner:
        """Return a function from inputs to outputs as the source model declares them, many inferences at once."""
        return lambda feeds: [
            model.decode(result.outputs) for result in self.run([model.encode(feed) for feed in feeds], False)
        ]


@contextmanager
def open_engine(
    model: api.Model,
    *,
    board: str | None,
    port: str | None = None,
    ssh: str | None = None,
    toolchain: str | None = None,
    threads: int = 1,
) -> Iterator[Engine]:
    """Open the board with the model on it; without a board, or for the host, the native runtime here.

    Raises UsageError for an unknown board or ``ssh`` without one, DeviceError when nothing answers.
    """
    if ssh is not None and board is None:
        raise UsageError("--ssh needs --board: it says what to build for")
    if port is None and ssh is None and (board is None or load_board(board).kind == "host"):
        model.threads = threads
        yield _host(model)
        return
    assert board is not None
    place = port or ssh
    with api.connect(board, port=port, ssh=ssh, toolchain=toolchain, threads=threads) as session:
        session.load(model)
        yield Engine(
            f"{board} (emulated)" if place is None else f"{board} at {place}",
            lambda feeds, crcs: session.run_many(feeds, crcs=crcs),
            lambda codes, inferences: session.profile(codes, inferences=inferences),
        )


def board_at(port: str | None, board: str | None) -> str | None:
    """Return the board that is meant: the one named, else the one that answers at ``port``, if that is given."""
    if port is None or board is not None:
        return board
    client = LinkClient(open_transport(port))
    try:
        return client.hello().board
    finally:
        client.close()


def _host(model: api.Model) -> Engine:
    def measure(codes: Codes, inferences: int) -> Profile:
        runner = model.native
        return profile(
            model.plan,
            runner.time_steps,
            codes,
            isa=runner.isa,
            threads=runner.threads,
            model_bytes=len(model.data),
            inferences=inferences,
        )

    return Engine(
        "the native runtime",
        lambda feeds, crcs: [model.run_codes(codes, crcs=crcs) for codes in feeds],
        measure,
        model.native.tensors if model.plan.keeps_tensors else None,
    )


def twin(model: api.Model) -> Callable[[Sequence[Codes]], list[RunResult]]:
    """Return a function that runs the NumPy twin on the codes of each inference, with every step's CRC."""
    return lambda feeds: [model.run_codes(codes, engine="reference", crcs=True) for codes in feeds]

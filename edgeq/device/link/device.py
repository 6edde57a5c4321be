# SPDX-License-Identifier: Apache-2.0
"""LinkDevice: a board that answers the link, as a Device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType

import numpy as np

from edgeq.board import Board
from edgeq.compile.measured import profile_of
from edgeq.compile.plan import Plan
from edgeq.device.codes import output_bytes, pack_inputs, unpack_outputs
from edgeq.device.fault import stored_fault, warn_of_fault
from edgeq.device.link.client import Inference, LinkClient
from edgeq.device.link.protocol import COUNTER_UNITS, Features, Flags, Hello, RunFlags
from edgeq.device.link.transport import Transport
from edgeq.device.link.upload import Progress, upload
from edgeq.device.update import Signer, update_header
from edgeq.errors import DeviceError, UsageError
from edgeq.format.read import checked_header
from edgeq.ir.result import Profile, RunResult

SLOWEST_MACS_PER_SECOND = 50_000  # of anything still alive: a Cortex-M0 at 16 MHz does twenty times that
BASE_SECONDS = 30.0


class LinkDevice:
    """A board behind a transport, with the model that its firmware holds or one that is loaded into its slots."""

    def __init__(self, board: Board, transport: Transport, *, instructions_per_second: float | None = None) -> None:
        """Ask who is there; the transport is closed if that fails.

        ``instructions_per_second`` is the rate of an emulator's clock, whose counts are then instructions. Raises
        DeviceError when no edgeq device answers, or one of another board.
        """
        self._board = board
        self._transport = transport
        self._rate = instructions_per_second
        self._plan: Plan | None = None
        self._model = b""
        self.client = LinkClient(transport)
        try:
            self._take(self.client.hello())
        except BaseException:
            transport.close()
            raise

    @property
    def isa(self) -> str:
        return self.client.device.isa

    def __enter__(self) -> LinkDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def load(self, plan: Plan, model: bytes) -> None:
        hello = self.client.device
        held = holds_model(hello, model)
        warn_of_fault(self.client, plan=plan if held else None)  # it was the model on the device that failed
        if not held:
            if not hello.features & Features.SLOTS:
                raise DeviceError(
                    f"the firmware on {self._transport.name} holds another model than {plan.name}",
                    hint=f"edgeq build {plan.name} --board {self._board.name} -o DIR, then edgeq flash DIR",
                )
            self.update(model)
            self.client.confirm()
        self._plan, self._model = plan, model

    def update(self, model: bytes, *, signer: Signer | None = None, progress: Progress | None = None) -> Hello:
        """Bring a model into the slot that is not active and start it there on trial; return the device's new HELLO.

        Raises DeviceError when the device refuses it, or does not run it after the restart.
        """
        upload(self.client, update_header(model, signer=signer), model, progress=progress or (lambda done, total: None))
        hello = self.client.device
        if not holds_model(hello, model):
            hello = self._take(self.client.reboot())
        if not holds_model(hello, model):
            raise DeviceError(
                f"{self._transport.name} took the model, but does not run it after a restart",
                hint="edgeq monitor shows what it logged",
            )
        return hello

    def run(self, codes: Sequence[np.ndarray], *, crcs: bool = False) -> RunResult:
        plan = self._loaded
        done = self._infer(codes, RunFlags.CRCS if crcs else RunFlags(0))
        return RunResult(unpack_outputs(plan, done.outputs), tuple(step.crc for step in done.steps))

    def run_many(self, samples: Sequence[Sequence[np.ndarray]], *, crcs: bool = False) -> list[RunResult]:
        return [self.run(codes, crcs=crcs) for codes in samples]

    def profile(self, codes: Sequence[np.ndarray], *, inferences: int = 20) -> Profile:
        plan = self._loaded
        if inferences < 1:
            raise UsageError(f"{inferences} inferences asked, at least 1 expected")
        runs = 1 if self._rate is not None else inferences  # emulated counts do not vary
        done = [self._infer(codes, RunFlags.COUNTS) for _ in range(runs)]
        counts = np.array([[step.count for step in inference.steps] for inference in done], np.float64)
        hello, memory = self.client.device, self.client.memory()
        unit, scale = self._unit(hello)
        used = f"of the arena {memory.arena_used} bytes were written to, of {memory.stack_bytes} bytes of stack "
        found = profile_of(
            plan,
            {unit: np.rint(counts * scale)},
            board=self._board,
            isa=hello.isa,
            threads=1,
            emulated=self._rate is not None,
            model_bytes=len(self._model),
            runtime_bytes=memory.runtime_bytes,
            notes=(f"{used}{memory.stack_used}",) if memory.stack_bytes else (),
        )
        return replace(found, stack_bytes=memory.stack_used)

    def close(self) -> None:
        self._transport.close()

    @property
    def _loaded(self) -> Plan:
        if self._plan is None:
            raise UsageError("no model is loaded on the device", hint="load one first")
        return self._plan

    def _infer(self, codes: Sequence[np.ndarray], flags: RunFlags) -> Inference:
        plan = self._loaded
        failed_before = bool(self.client.device.flags & Flags.FAULT_STORED)
        try:
            return self.client.run(
                pack_inputs(plan, [codes]),
                output_bytes=output_bytes(plan),
                steps=len(plan.steps),
                flags=flags,
                patience=BASE_SECONDS + plan.macs / SLOWEST_MACS_PER_SECOND,
            )
        except DeviceError as error:
            raise error if failed_before else self._fault_behind(error, plan) from None

    def _fault_behind(self, error: DeviceError, plan: Plan) -> DeviceError:
        """Return what a device says of itself that failed and restarted in a run, or the error as it was seen here."""
        try:
            self.client.hello()
            lines = stored_fault(self.client, plan=plan)
        except DeviceError:
            return error
        return error if lines is None else DeviceError("\n  ".join([f"{self._transport.name}: {lines[0]}", *lines[1:]]))

    def _unit(self, hello: Hello) -> tuple[str, float]:
        """Return the unit of a profile's counts and what a tick of the device's counter is in it."""
        if self._rate is not None and hello.counter_hz:
            return "instructions", self._rate / hello.counter_hz
        unit = COUNTER_UNITS.get(hello.counter_unit)
        if unit is None or not hello.counter_hz:
            raise DeviceError(
                f"{self._transport.name} counts in a unit ({hello.counter_unit}) that edgeq does not know"
            )
        if unit == "cycles:timer" and self._board.clock_hz is not None:
            return unit, self._board.clock_hz / hello.counter_hz
        return unit, 1.0

    def _take(self, hello: Hello) -> Hello:
        if hello.board != self._board.name:
            raise DeviceError(
                f"the device on {self._transport.name} is a {hello.board}, not a {self._board.name}",
                hint=f"give --board {hello.board}" if hello.board else "flash it anew",
            )
        return hello


def holds_model(hello: Hello, model: bytes) -> bool:
    """Say whether a device runs exactly this model file."""
    ready = bool(hello.flags & Flags.MODEL_READY)
    return ready and (hello.model_bytes, hello.model_crc) == (len(model), checked_header(model)["payload_crc"])

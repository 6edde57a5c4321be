# SPDX-License-Identifier: Apache-2.0
"""LinkClient: what a device can be asked over the link."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from edgeq.device.link.line import Line, Request
from edgeq.device.link.protocol import (
    STEP_BYTES,
    VERSION,
    Command,
    FaultRecord,
    Hello,
    MemoryUse,
    Slot,
    Status,
    StepResult,
    explain,
    first_number,
    parse_fault,
    parse_hello,
    parse_memory,
    parse_ports,
    parse_run,
    parse_slots,
    parse_steps,
    printable,
)
from edgeq.device.link.strangers import describe_stranger
from edgeq.device.link.timing import RoundTrip
from edgeq.device.link.transport import Transport
from edgeq.errors import DeviceError

HELLO_SECONDS = 4.0
HELLO_AGAIN_SECONDS = 0.5
REBOOT_SECONDS = 12.0
SLOW_SECONDS = 60.0  # for what erases or reads all of a slot
MAX_OUTPUT_BYTES = 1 << 28
MAX_LOG_BYTES = 1 << 16
RUN_ATTEMPTS = 4  # of an inference whose inputs or outputs were damaged on the way


@dataclass(frozen=True)
class Inference:
    """What a run gave: the outputs back to back, its count, and the results of every step if they were asked for."""

    outputs: bytes
    count: int
    steps: tuple[StepResult, ...]


class LinkClient:
    """The host's end of a link. One command is under way at a time; every method raises DeviceError when it fails."""

    def __init__(self, transport: Transport) -> None:
        self.line = Line(transport)
        self._run_id = 0
        self._hello: Hello | None = None

    def close(self) -> None:
        """Let go of the transport."""
        self.line.transport.close()

    def hello(self, *, seconds: float = HELLO_SECONDS) -> Hello:
        """Ask who is there and remember it.

        Raises DeviceError, within ``seconds``, with what was received instead, or that the versions do not meet.
        """
        line, now = self.line, self.line.transport.now
        half, end = now() + seconds / 2, now() + seconds
        sent = bytearray()
        while (started := now()) < end:
            prompt = b"\r\n" if started >= half else b""  # a console shows itself; a device between frames ignores it
            seq = line.post(Command.HELLO, b"", before=prompt)
            sent += line.sent
            while (reply := line.wait(min(started + HELLO_AGAIN_SECONDS, end))) is not None:
                if reply.command == Command.HELLO and reply.status == Status.OK:
                    line.round_trip = RoundTrip(line.transport.speed)
                    if reply.seq == seq:
                        line.round_trip.sample(now() - started)
                    self._hello = _checked(parse_hello(reply.payload))
                    line.window = self._hello.window
                    self._run_id = zlib.crc32(struct.pack("<d", now()))
                    return self._hello
        found = describe_stranger(line.received, bytes(sent), speed=line.transport.speed)
        raise DeviceError(f"no edgeq device answered on {line.name}: {found}")

    @property
    def device(self) -> Hello:
        """What the device told of itself last; asked for if it never was."""
        return self._hello or self.hello()

    def slots(self) -> list[Slot]:
        """Return what the slots hold."""
        return parse_slots(self.line.call(Command.STATUS, patience=SLOW_SECONDS))

    def confirm(self) -> int:
        """Keep the active model for good; return its slot."""
        return self._slot(Command.CONFIRM)

    def revert(self) -> int:
        """Give the active model up; the device runs the other one after a reboot. Return the slot given up."""
        return self._slot(Command.REVERT)

    def _slot(self, command: Command) -> int:
        payload = self.line.call(command, patience=SLOW_SECONDS)
        return payload[0] if payload else 255

    def reboot(self) -> Hello:
        """Restart the device and return what it then tells of itself."""
        self.line.call(Command.REBOOT)
        self.line.drain()
        return self.hello(seconds=REBOOT_SECONDS)

    def memory(self) -> MemoryUse:
        """Return what the inferences since the start used."""
        return parse_memory(self.line.call(Command.MEMORY, patience=SLOW_SECONDS))

    def fault(self, *, clear: bool = False) -> FaultRecord | None:
        """Return what a fault handler stored, if it did; and forget it where ``clear`` says so."""
        found = parse_fault(self.line.call(Command.FAULT, b"\x00"))
        if clear:
            self.line.call(Command.FAULT, b"\x01")
        return found

    def log(self) -> str:
        """Return the text that the device wrote since it started, as far as it still has it."""
        text, at = bytearray(), 0
        while len(text) < MAX_LOG_BYTES:
            payload = self.line.call(Command.LOG, struct.pack("<I", at))
            if len(payload) <= 4:
                break
            text += payload[4:]
            at = (int.from_bytes(payload[:4], "little") + len(payload) - 4) & 0xFFFFFFFF
        return "\n".join(printable(line, limit=200) for line in bytes(text).split(b"\n"))

    def ports(self) -> tuple[list[int], list[int]]:
        """Return the bytes of each input and of each output of the model."""
        sizes: list[int] = []
        while True:
            first = len(sizes)
            inputs, outputs, more = parse_ports(self.line.call(Command.PORTS, struct.pack("<H", first)))
            sizes += more
            if len(sizes) >= inputs + outputs:
                return sizes[:inputs], sizes[inputs : inputs + outputs]
            if not more:
                raise DeviceError(f"{self.line.name} tells of {inputs + outputs} ports, but not all of them")

    def run(
        self, inputs: bytes, *, output_bytes: int, steps: int = 0, flags: int = 0, patience: float = 60.0
    ) -> Inference:
        """Run one inference: inputs as codes, back to back; with ``flags`` of RunFlags also the steps' results.

        Raises DeviceError when the outputs have another size, or stay damaged.
        """
        for _ in range(RUN_ATTEMPTS):
            done = self._run(inputs, flags, 0, patience)
            if done is None:
                continue
            _, count, crc, size = done
            if size != output_bytes:
                raise DeviceError(f"{self.line.name} has outputs of {size} bytes, {output_bytes} expected")
            results = self._steps(0, steps) if flags else []
            outputs = self._outputs(output_bytes)
            if zlib.crc32(outputs) != crc:
                continue
            while flags and len(results) < steps:
                more = self._more_steps(inputs, flags, len(results), steps, patience)
                results += more
            return Inference(outputs, count, tuple(results))
        raise DeviceError(f"{self.line.name}: inputs or outputs were damaged in {RUN_ATTEMPTS} runs in a row (CRC)")

    def _more_steps(self, inputs: bytes, flags: int, first: int, steps: int, patience: float) -> list[StepResult]:
        """Run again for the steps that the device had no memory for."""
        for _ in range(RUN_ATTEMPTS):
            if self._run(inputs, flags, first, patience) is not None:
                found = self._steps(first, steps)
                if found:
                    return found
        raise DeviceError(f"{self.line.name} keeps no results of step {first}")

    def _run(self, inputs: bytes, flags: int, first: int, patience: float) -> tuple[int, int, int, int] | None:
        """Send the inputs and run; None when they arrived damaged."""
        size = self.device.max_payload - 4
        self.line.exchange(
            [
                Request(Command.INPUT, struct.pack("<I", at) + inputs[at : at + size], _begins_with(at))
                for at in range(0, len(inputs), size)
            ]
        )
        self._run_id = (self._run_id + 1) & 0xFFFFFFFF
        payload = struct.pack("<4I", self._run_id, flags, zlib.crc32(inputs), first)
        reply = self.line.ask(Request(Command.RUN, payload, _begins_with(self._run_id)), patience=patience)
        if reply.status == Status.INPUT:
            return None
        if reply.status != Status.OK:
            raise DeviceError(f"{self.line.name}: RUN: {explain(reply.status, reply.payload)}")
        return parse_run(reply.payload)

    def _outputs(self, size: int) -> bytes:
        """Read the outputs of the last run, as they are there now."""
        data = bytearray()
        piece = self.device.max_payload - 4
        requests = [
            Request(Command.OUTPUT, struct.pack("<IH", at, min(piece, size - at)), _begins_with(at))
            for at in range(0, size, piece)
        ]
        for request, reply in zip(requests, self.line.exchange(requests), strict=True):
            asked = int.from_bytes(request.payload[4:6], "little")
            if reply.status != Status.OK or len(reply.payload) != 4 + asked:
                return b""
            data += reply.payload[4:]
        return bytes(data)

    def _steps(self, first: int, end: int) -> list[StepResult]:
        """Read the results of steps, as many as the device kept from ``first`` on."""
        results: list[StepResult] = []
        most = (self.device.max_payload - 4) // STEP_BYTES
        while (at := first + len(results)) < end:
            request = Request(Command.STEPS, struct.pack("<IH", at, min(most, end - at)), _begins_with(at))
            reply = self.line.ask(request)
            found = parse_steps(reply.payload)[: end - at] if reply.status == Status.OK else []
            if not found:
                break
            results += found
        return results

    def page_crcs(self, count: int) -> list[int]:
        """Return the CRC of each page of the update as it lies in flash, as many as the device tells of."""
        crcs: list[int] = []
        most = (self.device.max_payload - 4) // 4
        while len(crcs) < count:
            at = len(crcs)
            request = Request(Command.CRCS, struct.pack("<IH", at, min(most, count - at)), _begins_with(at))
            reply = self.line.ask(request, patience=SLOW_SECONDS)
            found = [
                crc for (crc,) in struct.iter_unpack("<I", reply.payload[4 : 4 + (len(reply.payload) - 4) // 4 * 4])
            ]
            if reply.status != Status.OK or not found:
                break
            crcs += found
        return crcs[:count]


def _begins_with(number: int) -> Callable[[bytes], bool]:
    return lambda payload: first_number(payload) == number


def _checked(hello: Hello) -> Hello:
    if not hello.min_version <= VERSION <= hello.max_version:
        newer = "edgeq" if hello.min_version > VERSION else "the device's firmware"
        raise DeviceError(
            f"the device speaks versions {hello.min_version} to {hello.max_version} of the link, edgeq {VERSION}",
            hint=f"update {newer}",
        )
    return hello

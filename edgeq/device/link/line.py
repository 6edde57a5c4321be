# SPDX-License-Identifier: Apache-2.0
"""Line: requests sent, and sent again, until they are answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgeq.device.link.frames import FrameReader, Reply, encode_request
from edgeq.device.link.protocol import Command, Status, explain
from edgeq.device.link.timing import GIVE_UP_EXPIRIES, GIVE_UP_SECONDS, RoundTrip
from edgeq.device.link.transport import Transport
from edgeq.errors import DeviceError

_SEQS = 256


@dataclass(frozen=True)
class Request:
    """A command that may be asked again; an answer that ``accept`` does not take is not one to it."""

    command: Command
    payload: bytes = b""
    accept: Callable[[bytes], bool] = lambda payload: True


@dataclass
class Traffic:
    """What was sent so far: frames, and how many of them were repetitions."""

    frames: int = 0
    resent: int = 0
    expiries: int = 0


class Line:
    """The frames on a transport. Every method raises DeviceError when the device does not answer."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.window = 1  # frames that may be on their way at once
        self.traffic = Traffic()
        self.round_trip = RoundTrip(transport.speed)
        self.sent = b""  # the last frame as it went out
        self._reader = FrameReader()
        self._arrived: deque[Reply] = deque()
        self._seq = 0

    @property
    def name(self) -> str:
        """What a message calls the other side."""
        return self.transport.name

    @property
    def received(self) -> bytes:
        """The last bytes that were no reply."""
        return self._reader.received

    def take_text(self) -> bytes:
        """Return what came outside of replies since the last call, and forget it."""
        return self._reader.take_strange()

    def call(self, command: Command, payload: bytes = b"", *, patience: float = 0.0) -> bytes:
        """Have a command done and return the payload of its answer; ``patience`` is how long that may take."""
        reply = self.ask(Request(command, payload), patience=patience)
        if reply.status != Status.OK:
            raise DeviceError(f"{self.name}: {command.name}: {explain(reply.status, reply.payload)}")
        return reply.payload

    def ask(self, request: Request, *, patience: float = 0.0) -> Reply:
        """Have a command answered, whatever its status."""
        return self.exchange([request], patience=patience)[0]

    def exchange(self, requests: Sequence[Request], *, patience: float = 0.0) -> list[Reply]:
        """Have commands answered that may be done in any order, several on their way at once; answers in order."""
        replies: dict[int, Reply] = {}
        waiting = deque(range(len(requests)))
        sent: dict[int, tuple[int, float]] = {}  # by seq: which request, when; while an answer may still come
        due: dict[int, float] = {}  # by request under way: when it is asked again
        asked: set[int] = set()
        expiries, since = 0, self.transport.now()
        self.drain()
        while len(replies) < len(requests):
            while waiting and len(due) < self.window:
                index = waiting.popleft()
                seq = self.post(requests[index].command, requests[index].payload, again=index in asked)
                asked.add(index)
                now = self.transport.now()
                sent[seq] = (index, now)
                due[index] = now + self.round_trip.timeout(len(self.sent))
            reply = self.wait(min(due.values()))
            if reply is None:
                expiries += 1
                self._expired(expiries, since, patience, requests[min(due, key=due.__getitem__)].command.name)
                late = [index for index in due if due[index] <= self.transport.now()]
                for index in late:
                    del due[index]
                waiting.extendleft(reversed(late))
                continue
            index, at = sent.pop(reply.seq, (-1, 0.0))
            if index < 0 or index in replies or reply.command != requests[index].command:
                continue
            if reply.status == Status.OK and not requests[index].accept(reply.payload):
                continue
            if patience == 0:  # of a command that takes no time itself
                self.round_trip.sample(self.transport.now() - at)
            replies[index] = reply
            due.pop(index, None)
            if index in waiting:
                waiting.remove(index)
            expiries, since = 0, self.transport.now()
        return [replies[index] for index in range(len(requests))]

    def post(self, command: Command, payload: bytes, *, before: bytes = b"", again: bool = False) -> int:
        """Send a request without waiting for its answer; return its sequence number."""
        self._seq = (self._seq + 1) % _SEQS
        self.sent = before + encode_request(command, self._seq, payload)
        self.transport.write(self.sent)
        self.traffic.frames += 1
        self.traffic.resent += again
        return self._seq

    def wait(self, until: float) -> Reply | None:
        """Return the next reply, or None when the clock has passed ``until``."""
        while not self._arrived:
            left = until - self.transport.now()
            data = self.transport.read(max(left, 0))
            self._arrived.extend(self._reader.feed(data))
            if not data and left <= 0:
                return None
        return self._arrived.popleft()

    def drain(self) -> None:
        """Drop what has arrived already: answers that came too late for an earlier command."""
        for _ in range(_SEQS):
            data = self.transport.read(0)
            if not data:
                break
            self._reader.feed(data)
        self._arrived.clear()

    def give_up(self, what: str, expiries: int, since: float) -> DeviceError:
        """Return the error for a device that no longer answers."""
        seconds = self.transport.now() - since
        return DeviceError(
            f"{self.name} stopped answering: {what} was sent {expiries + 1} times in {seconds:.0f} s",
            hint="check the cable and repeat the command",
        )

    def _expired(self, expiries: int, since: float, patience: float, what: str) -> None:
        self.traffic.expiries += 1
        self.round_trip.expired()
        waited = self.transport.now() - since
        if waited >= patience and (expiries >= GIVE_UP_EXPIRIES or waited >= GIVE_UP_SECONDS):
            raise self.give_up(what, expiries, since)

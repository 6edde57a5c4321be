# SPDX-License-Identifier: Apache-2.0
"""The same protocol over a pseudo terminal, TCP, RFC 2217 and the pipes of a program, all of them real."""

from __future__ import annotations

import os
import select
import socket
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import serial
from device.link_peer import Peer
from device.plans import program
from serial.rfc2217 import PortManager

from edgeq.board import load_board
from edgeq.device.build import build_eqrun
from edgeq.device.link.client import LinkClient
from edgeq.device.link.device import LinkDevice
from edgeq.device.link.transport import PipeTransport, Transport, open_transport
from edgeq.errors import DeviceError, ToolchainError
from edgeq.runtime.reference import run_reference

HOST = load_board("host")


@contextmanager
def _serving(answer: Callable[[], bool]) -> Iterator[None]:
    """Call ``answer`` in a thread until it returns False or the block ends."""
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set() and answer():
            pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def _terminal(peer: Peer) -> Iterator[str]:
    ours, theirs = os.openpty()
    tty.setraw(theirs)

    def answer() -> bool:
        if select.select([ours], [], [], 0.02)[0]:
            os.write(ours, peer.feed(os.read(ours, 4096)))
        return True

    try:
        with _serving(answer):
            yield os.ttyname(theirs)
    finally:
        os.close(ours)
        os.close(theirs)


class _Sink:
    """What an RFC 2217 server writes its own answers to."""

    def __init__(self, connection: socket.socket) -> None:
        self.write = connection.sendall


@contextmanager
def _network(peer: Peer, *, rfc2217: bool) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connections: list[socket.socket] = []
        managers: list[PortManager] = []

        def answer() -> bool:
            if not connections:
                if select.select([listener], [], [], 0.02)[0]:
                    connections.append(listener.accept()[0])
                    managers.append(PortManager(serial.serial_for_url("loop://"), _Sink(connections[0])))
                return True
            if not select.select(connections, [], [], 0.02)[0]:
                return True
            data = connections[0].recv(4096)
            if not data:
                return False
            if rfc2217:
                plain = b"".join(managers[0].filter(data))
                connections[0].sendall(b"".join(managers[0].escape(peer.feed(plain))))
            else:
                connections[0].sendall(peer.feed(data))
            return True

        with _serving(answer):
            yield f"{'rfc2217' if rfc2217 else 'socket'}://127.0.0.1:{listener.getsockname()[1]}"
        for connection in connections:
            connection.close()


@contextmanager
def _opened(kind: str, peer: Peer) -> Iterator[Transport]:
    serving = _terminal(peer) if kind == "pty" else _network(peer, rfc2217=kind == "rfc2217")
    with serving as url:
        transport = open_transport(url)
        try:
            yield transport
        finally:
            transport.close()


@pytest.mark.parametrize("kind", ["pty", "socket", "rfc2217"])
def test_a_model_is_loaded_and_run_over(kind: str) -> None:
    small = program()
    with _opened(kind, Peer()) as transport, LinkDevice(HOST, transport) as device:
        device.load(small.plan, small.model)
        for sample in small.samples:
            found, twin = device.run(sample, crcs=True), run_reference(small.plan, sample, crcs=True)
            assert found.step_crcs == twin.step_crcs
            np.testing.assert_array_equal(found.outputs[0], twin.outputs[0])
        assert device.client.line.traffic.resent <= 2  # a loaded machine may answer late


def test_a_server_that_ends_is_one_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport = open_transport(f"socket://127.0.0.1:{listener.getsockname()[1]}")
        listener.accept()[0].close()
        with pytest.raises(DeviceError, match=r"socket://127\.0\.0\.1:\d+ went away: .*; plug it in again"):
            LinkClient(transport).hello()
        transport.close()


@pytest.fixture(scope="module")
def eqrun() -> str:
    return str(build_eqrun(HOST))


def test_eqrun_serves_a_model_on_its_pipes(eqrun: str, tmp_path: Path) -> None:
    small = program()
    (tmp_path / "m.eqm").write_bytes(small.model)
    transport = PipeTransport("eqrun", [eqrun, str(tmp_path / "m.eqm"), "--serve", "host"])
    with LinkDevice(HOST, transport) as device:
        device.load(small.plan, small.model)
        found = device.run(small.samples[0], crcs=True)
        profile = device.profile(small.samples[0], inferences=3)
    assert found.step_crcs == run_reference(small.plan, small.samples[0], crcs=True).step_crcs
    assert (profile.unit, profile.inferences, profile.emulated) == ("ns", 3, False)


def test_eqrun_keeps_models_in_slots_from_run_to_run(eqrun: str, tmp_path: Path) -> None:
    def serve() -> PipeTransport:
        command = [eqrun, "--slots", str(tmp_path / "slots"), "--slot-pages", "4", "--serve", "host"]
        return PipeTransport("eqrun", command)

    first, second = program(1), program(2)
    for active, small in ((0, first), (1, second), (1, second)):
        with LinkDevice(HOST, serve()) as device:
            device.load(small.plan, small.model)
            assert device.client.hello().active_slot == active
            twin = run_reference(small.plan, small.samples[0])
            np.testing.assert_array_equal(device.run(small.samples[0]).outputs[0], twin.outputs[0])
    assert (tmp_path / "slots").stat().st_size == 2 * 4 * 4096


def test_eqrun_says_what_is_wrong_with_its_slots(eqrun: str, tmp_path: Path) -> None:
    (tmp_path / "slots").write_bytes(b"x" * 1000)
    transport = PipeTransport("eqrun", [eqrun, "--slots", str(tmp_path / "slots"), "--serve", "host"])
    with pytest.raises(DeviceError, match=r"the connection to eqrun ended: eqrun: cannot use '.*slots' for slots"):
        LinkClient(transport).hello()
    transport.close()


def test_a_program_that_is_missing_or_ends_is_one_error() -> None:
    with pytest.raises(ToolchainError, match="cannot start /nonexistent: No such file"):
        PipeTransport("it", ["/nonexistent"])
    transport = PipeTransport("it", ["sh", "-c", "echo gone >&2; exit 3"])
    with pytest.raises(DeviceError, match="the connection to it ended: gone"):
        LinkClient(transport).hello()
    transport.close()
    transport.close()

# SPDX-License-Identifier: Apache-2.0
"""A board over SSH, against a real sshd on this machine with keys, hosts and home of its own."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from device.plans import program
from isas import forced_isa
from needs import needs_program

from edgeq.board import load_board
from edgeq.device.build import build_eqrun
from edgeq.device.device import connect
from edgeq.device.link.device import LinkDevice
from edgeq.device.link.transport import PipeTransport
from edgeq.device.ssh import SshMachine, parse_destination
from edgeq.device.ssh_store import push_model
from edgeq.errors import DeviceError, UsageError
from edgeq.runtime.reference import run_reference

HOST = load_board("host")


@dataclass(frozen=True)
class Server:
    destination: str
    options: tuple[str, ...]  # for a client that knows the server
    known_hosts: Path
    home: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    sshd = needs_program("sshd")
    keygen = needs_program("ssh-keygen")
    folder = tmp_path_factory.mktemp("sshd")
    home = folder / "home"
    home.mkdir()
    for name in ("host_key", "user_key"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd does not start without it
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/user_key.pub\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        f"PermitRootLogin prohibit-password\nSetEnv HOME={home}\n"
    )
    known_hosts = folder / "known_hosts"
    known_hosts.write_text(f"[127.0.0.1]:{port} {(folder / 'host_key.pub').read_text()}")
    (folder / "client").write_text(
        f"Host *\n  IdentityFile {folder}/user_key\n  IdentitiesOnly yes\n  UserKnownHostsFile {known_hosts}\n"
        "  GlobalKnownHostsFile none\n"
    )
    daemon = subprocess.Popen([sshd, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.PIPE)
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    user = pwd.getpwuid(os.geteuid()).pw_name
    yield Server(f"{user}@127.0.0.1:{port}", ("-F", str(folder / "client")), known_hosts, home)
    daemon.terminate()
    daemon.wait()


def test_a_machine_over_ssh_gives_the_twins_integers(server: Server) -> None:
    small = program()
    with connect(HOST, ssh=server.destination, ssh_options=server.options) as device:
        device.load(small.plan, small.model)
        results = device.run_many(small.samples, crcs=True)
        profile = device.profile(small.samples[0], inferences=4)
    for sample, result in zip(small.samples, results, strict=True):
        twin = run_reference(small.plan, sample, crcs=True)
        assert result.step_crcs == twin.step_crcs
        np.testing.assert_array_equal(result.outputs[0], twin.outputs[0])
    assert list(profile.totals) == ["ns"]
    assert not profile.emulated


def test_the_link_goes_through_ssh(server: Server) -> None:
    small = program()
    machine = SshMachine(HOST, server.destination, options=server.options)
    eqrun = machine.store(build_eqrun(HOST).read_bytes(), executable=True)
    serve = machine.pipe([eqrun, "--slots", "slots", "--slot-pages", "8", "--serve", "host"])
    with LinkDevice(HOST, PipeTransport(machine.title, serve)) as device:
        device.load(small.plan, small.model)
        result = device.run(small.samples[0], crcs=True)
    machine.close()
    assert result.step_crcs == run_reference(small.plan, small.samples[0], crcs=True).step_crcs


def test_the_kernels_named_here_are_used_there(server: Server) -> None:
    small = program()
    with connect(HOST, ssh=server.destination, ssh_options=server.options) as device, forced_isa("scalar"):
        device.load(small.plan, small.model)
        device.run(small.samples[0])
        assert device.isa == "scalar"


def test_stored_files_stay_and_sessions_leave_nothing(server: Server) -> None:
    machine = SshMachine(HOST, server.destination, options=server.options)
    name = machine.store(b"kept")
    machine.write("in", b"\x00\xff" * 100_000)
    assert machine.read("in") == b"\x00\xff" * 100_000
    cache = server.home / ".cache/edgeq"
    stored = cache / Path(name).name
    assert stored.read_bytes() == b"kept"
    assert len(list(cache.glob("run.*"))) == 1
    before = stored.stat().st_mtime_ns
    assert machine.store(b"kept") == name
    assert stored.stat().st_mtime_ns == before
    machine.close()
    assert list(cache.glob("run.*")) == []
    assert stored.exists()


def test_a_file_cut_short_is_sent_again(server: Server) -> None:
    machine = SshMachine(HOST, server.destination, options=server.options)
    stored = server.home / ".cache/edgeq" / Path(machine.store(b"whole")).name
    stored.write_bytes(b"who")
    machine.store(b"whole")
    machine.close()
    assert stored.read_bytes() == b"whole"
    assert list(stored.parent.glob("*.??????")) == []


def test_a_pushed_model_becomes_the_current_one(server: Server) -> None:
    machine = SshMachine(HOST, server.destination, options=server.options)
    for model in (b"first" * 50_000, b"second" * 50_000):
        path = push_model(machine, model)
        assert (server.home / path.removeprefix("~/")).read_bytes() == model
        assert (server.home / ".local/share/edgeq/current").read_bytes() == model
    machine.close()


def test_another_architecture_is_refused_naming_both(server: Server) -> None:
    board = load_board("raspberry-pi-zero")
    machine = os.uname().machine
    with pytest.raises(DeviceError, match=f"{machine} machine, board raspberry-pi-zero is armv6l") as caught:
        connect(board, ssh=server.destination, ssh_options=server.options)
    assert caught.value.exit_code == 6


def test_an_unknown_host_key_is_refused(server: Server, tmp_path: Path) -> None:
    empty = tmp_path / "known_hosts"
    options = (*server.options, "-o", f"UserKnownHostsFile={empty}")
    with pytest.raises(DeviceError, match=r"Host key verification failed.*; connect once by hand"):
        SshMachine(HOST, server.destination, options=options)
    assert not empty.exists()


def test_a_key_that_is_not_authorized_is_refused(server: Server) -> None:
    options = ("-o", "IdentityFile=/nonexistent", "-o", f"UserKnownHostsFile={server.known_hosts}", "-F", "none")
    with pytest.raises(DeviceError, match=r"Permission denied.*; set up a key with ssh-copy-id"):
        SshMachine(HOST, server.destination, options=options)


def test_nobody_there_is_an_error_in_seconds() -> None:
    needs_program("ssh")
    with pytest.raises(DeviceError, match=r"cannot connect to someone@127\.0\.0\.1:1: .*refused"):
        SshMachine(HOST, "someone@127.0.0.1:1", options=("-F", "none"))


def test_a_missing_file_is_an_error_that_names_it(server: Server) -> None:
    machine = SshMachine(HOST, server.destination, options=server.options)
    with pytest.raises(DeviceError, match="cannot read out on "):
        machine.read("out")
    machine.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pi@raspberrypi", "pi@raspberrypi"),
        ("raspberrypi.local", "raspberrypi.local"),
        ("pi@10.0.0.7:2222", "pi@10.0.0.7:2222"),
        ("ssh://pi@[fe80::1]:22", "pi@[fe80::1]:22"),
    ],
)
def test_destinations_are_read(text: str, expected: str) -> None:
    assert str(parse_destination(text)) == expected


@pytest.mark.parametrize(
    "text", ["", "@host", "-oProxyCommand=x", "pi@-host", "pi@host:", "pi@host:0", "a b", "h:99999"]
)
def test_other_destinations_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no SSH destination"):
        parse_destination(text)

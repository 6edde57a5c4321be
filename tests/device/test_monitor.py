# SPDX-License-Identifier: Apache-2.0
"""edgeq monitor shows what a device writes, and goes on when it was unplugged or restarted."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_calls import call, command_line, process_environment
from device.fake_device import FIXED_MODEL, FakeDevice, fault_record
from small_models import small_model, small_plan

from edgeq.board import load_board
from edgeq.device import monitor
from edgeq.device.link.device import LinkDevice
from edgeq.device.link.transport import open_transport
from edgeq.device.monitor import Lines, follow
from edgeq.errors import DeviceError

PATIENCE = 20.0


class _EnoughError(Exception):
    """What ends a monitor in this process."""


class Screen:
    """The lines of a monitor that runs in a thread."""

    def __init__(self, path: Path) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._over = False
        self._thread = threading.Thread(target=self._run, args=(path,))
        self._thread.start()

    def _run(self, path: Path) -> None:
        def opened() -> object:
            if self._over:
                raise _EnoughError
            return open_transport(str(path))

        def tell(line: str) -> None:
            if self._over:
                raise _EnoughError
            with self._changed:
                self.lines.append(line)
                self._changed.notify_all()

        with contextlib.suppress(_EnoughError):
            follow(opened, tell)  # type: ignore[arg-type]

    def wait_for(self, text: str, *, times: int = 1) -> None:
        with self._changed:
            seen = self._changed.wait_for(lambda: sum(text in line for line in self.lines) >= times, PATIENCE)
        assert seen, f"{text!r} is not in {self.lines}"

    def end(self) -> None:
        """Let the monitor stop at the next thing it does."""
        self._over = True

    def join(self) -> bool:
        """Say whether it has stopped."""
        self._thread.join(PATIENCE)
        return not self._thread.is_alive()


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDevice]:
    monkeypatch.setattr(monitor, "LOG_SECONDS", 0.01)
    monkeypatch.setattr(monitor, "HELLO_SECONDS", 0.05)
    monkeypatch.setattr(monitor, "AGAIN_SECONDS", 0.02)
    with FakeDevice(tmp_path / "board", features=FIXED_MODEL, fixed_model=b"model", log=b"first\n") as made:
        yield made


@pytest.fixture
def watch(device: FakeDevice) -> Iterator[Callable[[], Screen]]:
    screens: list[Screen] = []

    def start() -> Screen:
        screens.append(Screen(device.path))
        return screens[-1]

    yield start
    for screen in screens:
        screen.end()
    device.unplug()
    for screen in screens:
        assert screen.join()


def test_the_log_is_shown_as_it_grows(device: FakeDevice, watch: Callable[[], Screen]) -> None:
    screen = watch()
    screen.wait_for("first")
    device.log += b"sec"
    device.log += b"ond\r\nthird"
    screen.wait_for("second")
    device.log += b" line\n"
    screen.wait_for("third line")
    assert screen.lines[0] == f"-- {device.path}: mps2-an386, firmware 0.1.0, model 00001234 of 5 bytes"
    assert screen.lines[1:] == ["first", "second", "third line"]


def test_text_outside_of_frames_is_shown_with_control_characters_spelled_out(
    device: FakeDevice, watch: Callable[[], Screen]
) -> None:
    screen = watch()
    screen.wait_for("first")
    device.say(b"booting \x1b[31m\x07\r\n")
    screen.wait_for("booting \\x1b[31m\\x07")


def test_a_board_that_was_unplugged_is_waited_for(device: FakeDevice, watch: Callable[[], Screen]) -> None:
    screen = watch()
    screen.wait_for("first")
    device.unplug()
    screen.wait_for("-- waiting for it")
    device.log = b"again\n"
    device.plug()
    screen.wait_for("mps2-an386", times=2)
    screen.wait_for("again")


def test_a_restart_begins_the_log_anew(device: FakeDevice, watch: Callable[[], Screen]) -> None:
    screen = watch()
    screen.wait_for("first")
    device.log = b"new\n"
    screen.wait_for("new")
    assert screen.lines[-1] == "new"


def test_a_fault_and_a_restart_by_the_watchdog_are_told(device: FakeDevice, watch: Callable[[], Screen]) -> None:
    screen = watch()
    screen.wait_for("first")
    device.watchdog, device.fault = True, fault_record(step=2, tensor=5)
    screen.wait_for("-- the watchdog restarted it")
    screen.wait_for("-- fault: the device failed in step 2, tensor 5")
    screen.wait_for("-- fault: cause: data was read or written at an address without memory")


def test_text_that_was_overwritten_is_missed_aloud(device: FakeDevice, watch: Callable[[], Screen]) -> None:
    screen = watch()
    screen.wait_for("first")
    device.overwritten, device.log = 106, b"later\n"
    screen.wait_for("-- 100 bytes of the log were overwritten before they were read")
    screen.wait_for("later")


def test_pieces_become_lines() -> None:
    lines = Lines()
    assert lines.feed(b"a\nb") == ["a"]
    assert lines.feed(b"\r\n\n") == ["b"]
    assert lines.feed(b"x" * 1000) == ["x" * 400, "x" * 400]


def test_nothing_that_answers_is_an_error_at_the_start(tmp_path: Path) -> None:
    assert call("monitor", "--port", tmp_path / "none") == 6


def test_ctrl_c_ends_it_with_130(tmp_path: Path) -> None:
    with FakeDevice(tmp_path / "board", features=FIXED_MODEL, fixed_model=b"model", log=b"hello\n") as device:
        process = subprocess.Popen(
            command_line("monitor", "--port", device.path),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=process_environment(),
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline().startswith("-- ")
        assert process.stdout.readline() == "hello\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (130, "error: interrupted\n")


def test_loading_a_model_warns_of_a_stored_fault_by_layer(tmp_path: Path) -> None:
    plan, model = small_plan(), small_model()
    fault = fault_record(step=1, tensor=plan.steps[1].outputs[0])
    with (
        FakeDevice(tmp_path / "board", features=FIXED_MODEL, fixed_model=model, fault=fault) as device,
        LinkDevice(load_board(device.board), open_transport(str(device.path))) as link,
        pytest.warns(UserWarning, match=rf'in step 1, {plan.steps[1].op} "{plan.steps[1].name}"(?s:.*)--clear-fault'),
    ):
        link.load(plan, model)


def test_a_fault_of_another_model_has_no_layer_of_this_one(tmp_path: Path) -> None:
    fault = fault_record(step=1, tensor=2)
    with (
        FakeDevice(tmp_path / "board", features=FIXED_MODEL, fixed_model=small_model(seed=1), fault=fault) as device,
        LinkDevice(load_board(device.board), open_transport(str(device.path))) as link,
        pytest.warns(UserWarning, match="failed in step 1, tensor 2\n"),
        pytest.raises(DeviceError, match="holds another model than small"),
    ):
        link.load(small_plan(), small_model())

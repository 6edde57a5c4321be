# SPDX-License-Identifier: Apache-2.0
"""edgeq slots, push and keys, against a device at the other end of a pseudo terminal."""

from __future__ import annotations

import json
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_calls import call, report
from device.fake_device import FIXED_MODEL, NO_SLOT, SIGNED, SLOTS, FakeDevice, Slot, fault_record
from small_models import small_model, small_plan

from edgeq.board import Board
from edgeq.device import ssh

MODEL = small_model()
Make = Callable[..., FakeDevice]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Return a function that plugs in a device; its path is tmp_path/board."""
    made: list[FakeDevice] = []

    def plug(**values: Any) -> FakeDevice:
        made.append(FakeDevice(tmp_path / "board", **values))
        made[-1].plug()
        return made[-1]

    yield plug
    for device in made:
        device.unplug()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "small.eqm"
    path.write_bytes(MODEL)
    return path


def _running(**values: Any) -> dict[str, Any]:
    return {"slots": [Slot(b"old model", 1, True, sequence=4), Slot()], "active": 0} | values


# ------------------------------------------------------------------------------------------------ slots


def test_slots_tells_what_a_device_is_and_holds(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    device = make(**_running())
    found = report(capsys, "slots", "--port", device.path)
    assert found["schema"] == "edgeq.slots/1"
    assert (found["board"], found["isa"], found["firmware_version"]) == ("mps2-an386", "dsp", "0.1.0")
    assert (found["model"]["bytes"], found["active_slot"], found["on_trial"]) == (9, 0, False)
    assert [slot["state"] for slot in found["slots"]] == ["valid", "empty"]
    assert found["fault"] is None
    assert call("slots", "--port", device.path) == 0
    shown = capsys.readouterr().out
    assert f"mps2-an386 (dsp kernels) at {device.path}" in shown
    assert "nothing" in shown
    assert set(device.asked) == {1, 2}  # nothing but HELLO and STATUS


def test_firmware_with_a_model_in_it_has_no_slots(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    device = make(features=FIXED_MODEL, fixed_model=b"model")
    assert report(capsys, "slots", "--port", device.path)["slots"] is None
    assert call("slots", "--port", device.path) == 0
    assert "part of the firmware" in capsys.readouterr().out
    assert call("slots", "--port", device.path, "--confirm") == 6
    assert "has no slots: its model is part of the firmware; edgeq build" in capsys.readouterr().err


def test_a_device_without_a_model_says_so(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    device = make()
    found = report(capsys, "slots", "--port", device.path)
    assert (found["model"], found["active_slot"]) == (None, None)
    assert call("slots", "--port", device.path) == 0
    assert "none: nothing can be run" in capsys.readouterr().out


def test_a_model_on_trial_is_confirmed_or_reverted(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    slots = [Slot(b"old", 1, True, sequence=4), Slot(b"newer", 1, trials=2, sequence=5)]
    device = make(slots=slots, active=1)
    assert call("slots", "--port", device.path) == 0
    assert "a model on trial, 2 starts left" in capsys.readouterr().out
    assert report(capsys, "slots", "--port", device.path, "--confirm")["on_trial"] is False
    assert slots[1].confirmed
    assert report(capsys, "slots", "--port", device.path, "--revert")["active_slot"] == 0
    assert slots[1].state == 3
    assert call("slots", "--port", device.path, "--confirm", "--revert") == 1


def test_a_stored_fault_is_shown_until_it_is_cleared(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    device = make(**_running(fault=fault_record(step=3, tensor=7), watchdog=True))
    for _ in range(2):
        assert call("slots", "--port", device.path) == 0
        shown = capsys.readouterr().out
        assert "the device failed in step 3, tensor 7" in shown
        assert "the address is 0x30000000, in no memory of board mps2-an386" in shown
        assert "the watchdog restarted it" in shown
    assert report(capsys, "slots", "--port", device.path, "--clear-fault")["fault"] is None
    assert device.fault == b""


def test_the_layer_of_a_fault_has_its_name_from_the_model(
    make: Make, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    step = small_plan().steps[1]
    fault = fault_record(step=1, tensor=step.outputs[0])
    device = make(features=FIXED_MODEL, fixed_model=MODEL, fault=fault)
    found = report(capsys, "slots", "--port", device.path, "--model", model)
    assert found["fault"][0].startswith(f'the device failed in step 1, {step.op} "{step.name}", writing tensor')
    model.write_bytes(small_model(seed=1))
    assert call("slots", "--port", device.path, "--model", model) == 1
    assert "is not the model that the mps2-an386 runs" in capsys.readouterr().err


def test_another_board_than_the_one_named_is_refused(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    device = make(board="pico")
    assert call("slots", "--port", device.path, "--board", "microbit") == 1
    assert "is a pico, not a microbit" in capsys.readouterr().err


def test_names_of_a_device_cannot_reach_the_terminal(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    device = make(board="\x1b[31mred")
    assert call("slots", "--port", device.path) == 0
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err


def test_a_port_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("slots", "--port", tmp_path / "none") == 6
    assert "there is no port" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ push


def test_push_brings_starts_and_confirms_a_model(make: Make, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    device = make(**_running())
    assert call("push", model, "--port", device.path) == 0
    assert (device.active, device.slots[1].model, device.slots[1].confirmed) == (1, MODEL, True)
    shown = capsys.readouterr()
    assert f"runs small.eqm ({len(MODEL):,} bytes) in slot 1\nslot 1 is confirmed\n" in shown.out
    assert shown.err == ""  # no progress bar where there is no terminal


def test_push_leaves_a_model_on_trial_when_asked(make: Make, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    device = make()
    assert call("push", model, "--port", device.path, "--no-confirm") == 0
    assert (device.active, device.slots[0].confirmed) == (0, False)
    assert f"edgeq slots --port {device.path} --confirm keeps it" in capsys.readouterr().out


def test_push_tells_of_a_stored_fault_and_leaves_it_there(
    make: Make, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    device = make(**_running(fault=fault_record(step=3, tensor=7)))
    assert call("push", model, "--port", device.path) == 0
    shown = capsys.readouterr()
    assert "the device failed in step 3, tensor 7" in shown.err
    assert f"edgeq slots --port {device.path} --clear-fault" in shown.err
    assert "slot 1 is confirmed" in shown.out
    assert device.fault != b""


def test_pushing_the_model_that_runs_changes_nothing(
    make: Make, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    device = make()
    for _ in range(2):
        assert call("push", model, "--port", device.path) == 0
    assert call("push", model, "--port", device.path, "--no-confirm") == 0
    shown = capsys.readouterr().out
    assert shown.count("slot 0 is confirmed already") == 2
    assert "on trial" not in shown
    assert (device.active, device.slots[1].state) == (0, 0)


def test_a_model_that_does_not_start_is_a_failure(make: Make, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    device = make(**_running(starts_new_models=False))
    assert call("push", model, "--port", device.path) == 6
    assert "does not run it after a restart" in capsys.readouterr().err
    assert device.active == 0


def test_push_needs_slots(make: Make, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    device = make(features=FIXED_MODEL, fixed_model=b"model")
    assert call("push", model, "--port", device.path) == 6
    assert "edgeq build M --slots makes firmware" in capsys.readouterr().err


def test_a_device_with_a_key_takes_signed_models_only(
    make: Make, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    device = make(features=SLOTS | SIGNED)
    assert call("push", model, "--port", device.path) == 1
    assert "takes signed models only; sign with --key FILE" in capsys.readouterr().err
    assert call("keys", "new", tmp_path / "owner.key") == 0
    assert call("push", model, "--port", device.path, "--key", tmp_path / "owner.key") == 0
    assert device.slots[0].signed


@pytest.mark.parametrize("arguments", [["--key", "none.key"], ["--port", "/dev/no-such-port"]])
def test_what_is_missing_is_told_before_anything_is_sent(
    make: Make, model: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    device = make()
    assert call("push", model, "--port", device.path, *arguments) in (6, 9)
    assert "no-such-port" in (shown := capsys.readouterr().err) or "none.key" in shown
    assert device.active == NO_SLOT
    assert device.asked == []


def test_push_of_what_is_no_model(make: Make, tmp_path: Path) -> None:
    device = make()
    (tmp_path / "text.eqm").write_text("text")
    assert call("push", tmp_path / "text.eqm", "--port", device.path) == 8
    assert call("push", tmp_path / "none.eqm", "--port", device.path) == 9
    assert 3 not in device.asked


class _Shell:
    """This machine in the place of one over SSH."""

    def __init__(self, board: Board, destination: str) -> None:
        self.title = destination

    def script(self, text: str, data: bytes, seconds: float) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["sh", "-c", text], input=data, capture_output=True, timeout=seconds, check=False)

    def close(self) -> None:
        self.title = "closed"


def test_push_over_ssh_makes_a_model_the_current_one(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(ssh, "SshMachine", _Shell)
    assert call("push", model, "--ssh", "pi@board", "--board", "raspberry-pi-4") == 0
    assert capsys.readouterr().out.startswith("pi@board now has small.eqm at ~/.local/share/edgeq/models/")
    assert (tmp_path / ".local/share/edgeq/current").read_bytes() == MODEL


@pytest.mark.parametrize(
    "more", [[], ["--board", "host", "--port", "/dev/ttyS0"], ["--board", "host", "--no-confirm"], ["--board", "x"]]
)
def test_push_over_ssh_is_for_linux_boards(model: Path, more: list[str]) -> None:
    assert call("push", model, "--ssh", "pi@board", *more) == 1


# ------------------------------------------------------------------------------------------------ keys


def test_a_key_pair_is_made_once_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "owner.key"
    made = report(capsys, "keys", "new", file)
    assert made["schema"] == "edgeq.keys/1"
    assert made["files"] == [str(file), f"{file}.pub"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for shown in (report(capsys, "keys", "show", file), report(capsys, "keys", "show", f"{file}.pub")):
        assert (shown["key_id"], shown["public_key"]) == (made["key_id"], made["public_key"])
    assert call("keys", "show", file) == 0
    assert made["public_key"] in capsys.readouterr().out
    before = file.read_bytes()
    assert call("keys", "new", file) == 1
    assert file.read_bytes() == before


@pytest.mark.parametrize(("arguments", "code"), [(["sign", "x"], 1), (["new"], 1), (["show", "none"], 9)])
def test_bad_uses_of_keys(arguments: list[str], code: int) -> None:
    assert call("keys", *arguments) == code


def test_a_secret_is_never_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "owner.key"
    assert call("keys", "new", file) == 0
    assert call("keys", "show", file, "--json", tmp_path / "key.json") == 0
    shown = capsys.readouterr().out + (tmp_path / "key.json").read_text()
    secret = file.read_text().splitlines()[1]
    assert secret not in shown
    assert json.loads((tmp_path / "key.json").read_text())["files"] == []

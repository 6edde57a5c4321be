# SPDX-License-Identifier: Apache-2.0
"""What a device answers to frames and text, repeated or malformed, and what a host makes of hostile answers."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from cobs import cobs
from device.link_peer import Line, Noise, Peer
from device.plans import Program, program
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq import load
from edgeq.board import load_board
from edgeq.device.fault import describe_fault
from edgeq.device.link.client import LinkClient
from edgeq.device.link.device import LinkDevice
from edgeq.device.link.frames import MAX_WIRE, FrameReader, Reply, encode_request
from edgeq.device.link.protocol import Command, Features, Flags, MemoryUse, RunFlags, SlotState, Status, explain
from edgeq.device.link.upload import upload
from edgeq.device.update import update_header
from edgeq.errors import DeviceError, UsageError
from edgeq.paths import native_dir
from edgeq.runtime.reference import run_reference

HOST = load_board("host")
DIGITS = Path(__file__).parent.parent / "data/digits_int8_v1.eqm"


def _replies(peer: Peer, data: bytes) -> list[Reply]:
    return FrameReader().feed(peer.feed(data))


def _ask(peer: Peer, command: int, payload: bytes = b"") -> Reply:
    (reply,) = _replies(peer, encode_request(command, 9, payload))
    assert (reply.command, reply.seq) == (command & 0x7F, 9)
    return reply


def _inputs(small: Program, sample: int = 0) -> bytes:
    return b"".join(array.tobytes() for array in small.samples[sample])


def _run(peer: Peer, run_id: int, inputs: bytes, flags: int = 0) -> Reply:
    for at in range(0, len(inputs), 200):
        assert _ask(peer, Command.INPUT, struct.pack("<I", at) + inputs[at : at + 200]).status == Status.OK
    return _ask(peer, Command.RUN, struct.pack("<4I", run_id, flags, zlib.crc32(inputs), 0))


def test_hello_tells_who_is_there() -> None:
    hello = LinkClient(Line(Peer().feed)).hello()
    assert (hello.board, hello.isa, hello.cpuid, hello.firmware_version) == ("host", "", 0x410CC601, (1, 2, 3))
    assert (hello.min_version, hello.max_version, hello.max_payload, hello.window) == (1, 1, 260, 2)
    assert hello.features == Features.SLOTS | Features.TEXT | Features.COUNTS
    assert (hello.flags, hello.active_slot, hello.model_bytes, hello.page_bytes) == (0, 255, 0, 1024)


def test_hello_is_frozen() -> None:
    """These bytes are what every device of the future must understand and every host must send."""
    assert encode_request(Command.HELLO, 1, b"") == bytes.fromhex("00 08 10 01 01 b5 7b 7b 8d 00")
    assert len(_ask(Peer(), Command.HELLO).payload) == 92


@pytest.mark.parametrize("command", [0, 17, 19, 42, 127])
def test_an_unknown_command_has_an_answer(command: int) -> None:
    assert _ask(Peer(), command).status == Status.UNKNOWN


@pytest.mark.parametrize("command", range(2, 9))
def test_firmware_without_slots_says_that_it_has_none(command: int) -> None:
    assert _ask(Peer(program().model), command, bytes(256)).status == Status.UNKNOWN


@pytest.mark.parametrize("command", [9, 10, 11, 12, 18])
def test_a_device_without_a_model_says_so(command: int) -> None:
    assert _ask(Peer(), command, bytes(16)).status == Status.NO_MODEL


@pytest.mark.parametrize(
    ("command", "payload"),
    [(3, 255), (4, 3), (5, 5), (9, 3), (10, 15), (11, 5), (12, 5), (14, 3), (15, 0), (18, 1)],
)
def test_a_short_payload_is_malformed(command: int, payload: int) -> None:
    peer = Peer() if command < 9 else Peer(program().model)
    if command in (11, 12):
        small = program()
        assert _run(peer, 1, _inputs(small)).status == Status.OK
    assert _ask(peer, command, bytes(payload)).status == Status.MALFORMED


def test_a_frame_that_is_damaged_or_too_long_gets_no_answer_and_the_next_one_does() -> None:
    peer = Peer()
    good = encode_request(Command.HELLO, 1, b"")
    for at in range(1, len(good) - 1):
        damaged = good[:at] + bytes([good[at] ^ 0x20]) + good[at + 1 :]
        assert [reply.seq for reply in _replies(peer, damaged + good)] == [1], at
    long = encode_request(Command.LOG, 2, bytes(261))
    assert [reply.seq for reply in _replies(peer, long + good)] == [1]
    assert _replies(peer, encode_request(Command.LOG, 2, bytes(260)))[0].seq == 2


def test_a_whole_stuffed_block_is_read_and_written() -> None:
    """254 bytes without a zero are the block that no zero follows."""
    peer = Peer(program().model)
    for size in range(240, 257):
        inputs = bytes([1]) * size
        assert _ask(peer, Command.INPUT, b"\x01\x01\x00\x00"[:4] + inputs[:60]).status in (Status.OK, Status.RANGE)
        payload = struct.pack("<I", 0) + inputs
        assert _ask(peer, Command.INPUT, payload).payload == bytes(4)
    frame = bytes((0x10, 1, 7)) + bytes([255]) * 250
    wire = cobs.encode(frame + zlib.crc32(frame).to_bytes(4, "little"))
    assert wire[0] == 255
    assert _replies(peer, b"\x00" + wire + b"\x00")[0].seq == 7


def test_inputs_outside_the_models_are_refused() -> None:
    small = program()
    peer = Peer(small.model)
    size = len(_inputs(small))
    assert _ask(peer, Command.INPUT, struct.pack("<I", size)).status == Status.OK
    assert _ask(peer, Command.INPUT, struct.pack("<I", size) + b"x").status == Status.RANGE
    assert _ask(peer, Command.INPUT, struct.pack("<I", 0xFFFFFFFF) + b"xy").status == Status.RANGE


def test_a_repeated_run_runs_once_and_a_run_on_other_inputs_not_at_all() -> None:
    small = program()
    peer = Peer(small.model)
    first = _run(peer, 7, _inputs(small))
    runs = peer.runs()
    assert runs == 1
    assert _ask(peer, Command.RUN, struct.pack("<4I", 7, 0, 0, 0)).payload == first.payload
    refused = _ask(peer, Command.RUN, struct.pack("<4I", 8, 0, 1234, 0))
    assert refused.status == Status.INPUT
    assert len(refused.payload) == 4
    assert peer.runs() == runs
    _run(peer, 9, _inputs(small, 1))
    assert peer.runs() == 2


def test_steps_that_no_run_left_have_no_results() -> None:
    small = program()
    peer = Peer(small.model)
    _run(peer, 1, _inputs(small), RunFlags.COUNTS)
    for first, kept in ((0, 2), (1, 1), (2, 0), (3, 0), (100, 0), (0xFFFFFFFF, 0)):
        reply = _ask(peer, Command.STEPS, struct.pack("<IH", first, 9))
        assert (reply.status, len(reply.payload)) == (Status.OK, 4 + 12 * kept), first


def test_a_board_gives_the_twins_integers_for_more_steps_than_it_keeps() -> None:
    model = load(DIGITS)
    assert len(model.plan.steps) > 3, "the peer keeps three"
    rng = np.random.default_rng(1)
    codes = [rng.integers(-128, 128, model.plan.values[p.value].shape).astype(np.int8) for p in model.plan.inputs]
    with LinkDevice(HOST, Line(Peer(model.data).feed)) as device:
        device.load(model.plan, model.data)
        found = device.run(codes, crcs=True)
        profile = device.profile(codes, inferences=2)
    twin = run_reference(model.plan, codes, crcs=True)
    assert found.step_crcs == twin.step_crcs
    for mine, theirs in zip(found.outputs, twin.outputs, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert profile.unit == "cycles:timer"
    assert [step.measures["cycles:timer"] for step in profile.steps] == [1000.0] * len(model.plan.steps)
    assert profile.stack_bytes == 3


def test_noise_changes_no_integer() -> None:
    small = program()
    rng = np.random.default_rng(3)
    there, back = Noise(rng, 2e-3), Noise(rng, 2e-3)
    with LinkDevice(HOST, Line(Peer(small.model).feed, there=there, back=back)) as device:
        device.load(small.plan, small.model)
        for sample in small.samples * 10:
            np.testing.assert_array_equal(device.run(sample).outputs[0], run_reference(small.plan, sample).outputs[0])
    assert there.hits + back.hits > 50


@pytest.mark.parametrize(("rate", "expected"), [(31.25e6, 31250.0), (1e6 / 3, 333.0)])
def test_counts_of_an_emulator_are_whole_instructions(rate: float, expected: float) -> None:
    small = program()
    with LinkDevice(HOST, Line(Peer(small.model).feed), instructions_per_second=rate) as device:
        device.load(small.plan, small.model)
        profile = device.profile(small.samples[0])
    assert profile.emulated
    assert profile.inferences == 1
    assert profile.steps[0].measures == {"instructions": expected}  # 1000 ticks of 1 MHz


def test_slots_take_turns_and_the_last_model_can_be_given_up() -> None:
    peer, first, second = Peer(), program(1), program(2)
    with LinkDevice(HOST, Line(peer.feed)) as device:
        device.load(first.plan, first.model)
        device.load(second.plan, second.model)
        np.testing.assert_array_equal(
            device.run(second.samples[0]).outputs[0], run_reference(second.plan, second.samples[0]).outputs[0]
        )
        slots = device.client.slots()
        assert [(slot.state, slot.active, slot.confirmed) for slot in slots] == [
            (SlotState.VALID, False, True),
            (SlotState.VALID, True, True),
        ]
        assert device.client.revert() == 1
        assert device.client.reboot().active_slot == 0
        device.load(first.plan, first.model)  # is there: nothing is sent
        assert device.client.slots()[1].state == SlotState.REVOKED


def test_a_model_on_trial_is_told_and_forgotten_after_three_starts() -> None:
    peer, small = Peer(), program()
    with LinkDevice(HOST, Line(peer.feed)) as device:
        device.update(small.model)
        for _ in range(2):
            assert device.client.reboot().flags == Flags.MODEL_READY | Flags.ON_TRIAL
        assert device.client.reboot().active_slot == 255


def test_a_model_is_no_longer_on_trial_once_it_is_confirmed() -> None:
    peer, small = Peer(), program()
    with LinkDevice(HOST, Line(peer.feed)) as device:
        assert device.update(small.model).flags == Flags.MODEL_READY | Flags.ON_TRIAL
        device.client.confirm()
        assert device.client.hello().flags == Flags.MODEL_READY


def test_another_model_in_fixed_firmware_is_refused_with_what_to_do() -> None:
    small, other = program(1), program(2)
    with LinkDevice(HOST, Line(Peer(small.model).feed)) as device:
        with pytest.raises(DeviceError, match=r"holds another model than small; edgeq build small --board host -o DIR"):
            device.load(other.plan, other.model)
        with pytest.raises(UsageError, match="no model is loaded"):
            device.run(other.samples[0])


def test_another_board_is_refused_naming_both() -> None:
    with pytest.raises(DeviceError, match="is a host, not a microbit; give --board host"):
        LinkDevice(load_board("microbit"), Line(Peer().feed))


def test_memory_log_ports_and_faults_are_told() -> None:
    small = program()
    peer = Peer(small.model)
    client = LinkClient(Line(peer.feed))
    assert client.memory() == MemoryUse(1 << 16, 1, 2, 3, 4)
    assert client.log() == "started\n"
    assert client.ports() == ([360], [960])
    assert client.fault() is None
    peer.store_fault()
    assert client.hello().flags & Flags.FAULT_STORED
    fault = client.fault(clear=True)
    assert fault is not None
    assert (fault.exception, fault.step, fault.tensor, fault.pc, fault.sp) == (3, 1, 4, 0x1234, 0x20000400)
    assert 'step 1, logistic "gate"' in describe_fault(fault, plan=small.plan)[0]
    assert client.fault() is None
    assert not client.hello().flags & Flags.FAULT_STORED


def test_the_statuses_are_those_of_the_c_header() -> None:
    text = (native_dir() / "link/link.h").read_text()
    found = {name: int(value) for name, value in re.findall(r"EQ_LINK_(\w+) = (\d+),", text)}
    assert found == {status.name: int(status) for status in Status}
    text = (native_dir() / "link/commands.h").read_text()
    found = {name: int(value) for name, value in re.findall(r"EQ_COMMAND_(\w+) = (\d+),", text)}
    assert found == {command.name: int(command) for command in Command}


def test_every_refusal_has_words() -> None:
    text = (native_dir() / "include/edgeq/status.h").read_text()
    for name, value in re.findall(r"(EQ_ERR_\w+) = (-\d+),", text):
        told = explain(Status.REFUSED, int(value).to_bytes(4, "little", signed=True))
        has_status = name in ("EQ_ERR_NO_UPDATE", "EQ_ERR_INCOMPLETE")  # of the link itself
        assert ("refuses with status" in told) == has_status, name


def _text(peer: Peer, commands: str) -> list[str]:
    return peer.feed(commands.encode()).decode().split("\r\n")[:-1]


def test_the_benchmarks_text_commands_are_answered_as_its_reference_does() -> None:
    model = load(DIGITS)
    peer = Peer(model.data)
    rng = np.random.default_rng(5)
    port = model.plan.inputs[0]
    codes = rng.integers(-128, 128, model.plan.values[port.value].shape).astype(np.int8)
    size = codes.size
    assert _text(peer, "name%") == ["m-name-dut-[edgeq host]", "m-ready"]
    crc = int.from_bytes(model.data[168:172], "little")
    assert _text(peer, "profile%") == ["m-profile-[edgeq 1.2.3]", f"m-model-[{crc:08x}]", "m-ready"]
    assert re.fullmatch(r"m-lap-us-\d+", _text(peer, "timestamp%")[0])
    assert _text(peer, f"db load {size}%") == [f"m-[Expecting {size} bytes]", "m-ready"]
    digits = codes.tobytes().hex()
    assert _text(peer, f"db {digits[:60]}%") == ["m-ready"]
    assert _text(peer, f"\r\ndb {digits[60:]}%") == ["m-load-done", "m-ready"]
    printed = "".join(line.removeprefix("m-buffer-") for line in _text(peer, "db print%")[:-1])
    assert printed.replace("-", "") + "" == digits
    lines = _text(peer, "infer 3 2%")
    assert lines[:4] == ["m-warmup-start-2", "m-warmup-done", "m-infer-start-3", lines[3]]
    laps = [int(line.removeprefix("m-lap-us-")) for line in lines[3:5]]
    assert laps[1] > laps[0]
    assert lines[5] == "m-infer-done"
    twin = model.run_codes([codes], engine="reference").outputs[0]
    quant = model.plan.values[model.plan.outputs[0].value].quant
    assert quant is not None
    real = (twin.astype(np.float64) - float(np.ravel(quant.zero_point)[0])) * float(np.ravel(quant.scale)[0])
    assert lines[6] == "m-results-[" + ",".join(f"{value:.3f}" for value in real.ravel()) + "]"
    assert lines[7:] == ["m-ready"]
    assert _text(peer, "results%")[0] == lines[6]
    assert _ask(peer, Command.HELLO).status == Status.OK


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("foo bar%", "e-[Unknown command: foo]"),
        ("infer 0%", "e-[Inference iterations must be >0]"),
        ("infer 1 -1%", "e-[Inference warmup must be >=0]"),
        ("infer 999999%", "e-[Inferences must be <=100000]"),
        ("db%", "e-[Command 'db' requires a subcommand]"),
        ("db load%", "e-[Command 'db load' requires the # of bytes]"),
        ("db load 0%", "e-[Command 'db load' must be >0 bytes]"),
        ("db load 361%", "e-[Supplied buffer size 361 exceeds maximum of 360]"),
        ("db 123%", "e-[Insufficent number of hex digits]"),
        ("db 12zz%", "e-[Invalid hex digit]"),
        ("db zz%", "e-[Invalid hex digit]"),
        ("x" * 200 + "%", "e-[Command too long]"),
        ("infer 2 0%", "e-[The outputs of 960 bytes outlive one inference only: infer 1 0]"),
    ],
)
def test_wrong_text_commands_get_an_error_and_the_prompt(command: str, answer: str) -> None:
    peer = Peer(program().model)
    assert _text(peer, command) == [answer, "m-ready"]
    assert _text(peer, "name%") == ["m-name-dut-[edgeq host]", "m-ready"]


def test_text_without_a_model_and_text_after_frames() -> None:
    peer = Peer()
    assert _text(peer, "infer%") == ["e-[No model]", "m-ready"]
    _ask(peer, Command.HELLO)
    assert _text(peer, "name%")[0] == "m-name-dut-[edgeq host]"
    assert peer.feed(b"\xff\x00garbage\x01nam\x00") == b""
    assert _text(peer, "name%")[0] == "m-name-dut-[edgeq host]"


def _frame(body: bytes) -> bytes:
    return b"\x00" + cobs.encode(body + zlib.crc32(body).to_bytes(4, "little")) + b"\x00"


@settings(max_examples=150, deadline=None)
@given(
    answers=st.lists(st.tuples(st.integers(0, 12), st.binary(max_size=300)), min_size=1, max_size=12),
    what=st.sampled_from(["hello", "slots", "memory", "fault", "log", "ports", "run", "upload"]),
)
def test_a_hostile_device_causes_device_errors_only(answers: list[tuple[int, bytes]], what: str) -> None:
    """Replies whose CRC is right and whose contents are anything, after a HELLO that is right or not."""
    good = _ask(Peer(), Command.HELLO).payload
    sent = 0

    def hostile(request: bytes) -> bytes:
        nonlocal sent
        found = cobs.decode(request.strip(b"\r\n").strip(b"\x00"))
        status, payload = answers[sent % len(answers)]
        sent += 1
        if found[1] == Command.HELLO and what != "hello":
            status, payload = 0, good
        return _frame(bytes((0x11, found[1] | 0x80, found[2], status)) + payload)

    client = LinkClient(Line(hostile))
    model = DIGITS.read_bytes()
    calls = {
        "run": lambda: client.run(b"12345", output_bytes=10, steps=4, flags=RunFlags.CRCS),
        "upload": lambda: upload(client, update_header(model), model),
    }
    told = ""
    try:
        calls.get(what, lambda: getattr(client, what)())()
    except DeviceError as error:
        told = str(error)
    assert told.isprintable()
    assert sent < 20_000


def test_names_and_text_of_a_device_are_escaped() -> None:
    payload = bytearray(_ask(Peer(), Command.HELLO).payload)
    payload[60:84] = b"\x1b[31mred\nhost\\\xff".ljust(24, b"\x00")
    reply = _frame(bytes((0x11, 0x81, 1, 0)) + bytes(payload))
    assert LinkClient(Line(lambda data: reply)).hello().board == "\\x1b[31mred\\nhost\\\\\\xff"


def test_a_device_of_another_version_is_refused_with_both() -> None:
    payload = bytearray(_ask(Peer(), Command.HELLO).payload)
    payload[0:2] = b"\x02\x03"
    reply = _frame(bytes((0x11, 0x81, 1, 0)) + bytes(payload))
    with pytest.raises(DeviceError, match="speaks versions 2 to 3 of the link, edgeq 1; update edgeq"):
        LinkClient(Line(lambda data: reply)).hello()


def test_endless_noise_does_not_grow_in_memory() -> None:
    reader = FrameReader()
    for _ in range(200):
        assert reader.feed(b"\x01" * 1000) == []
    assert len(reader.received) <= 4096 + MAX_WIRE
    assert reader.feed(b"\x00" + _frame(bytes((0x11, 0x81, 5, 0)))) == [Reply(1, 5, 0, b"")]

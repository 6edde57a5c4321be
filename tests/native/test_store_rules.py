# SPDX-License-Identifier: Apache-2.0
"""Which models a store takes: what a header may say, what the model file must agree with, and whose rules hold."""

from __future__ import annotations

import ctypes
import struct
import zlib

import numpy as np
import pytest
from loader import header_offsets, mended
from store_sim import BOARD_CLASS, Sim, Update, changed_header, sample, simulator, status_name

from edgeq.device.update import update_header
from edgeq.format import slot

DAMAGED = 2  # state of a slot
A, B, C = sample(1), sample(2, n_bytes=544), sample(3, n_bytes=1600)

# What a header may not say. The device has board class 16, 64 KiB of arena and allows 2^40 multiply-accumulates.
FIELD_VALUES = [0, 1, 2**31 - 1, 2**31, 2**32 - 1]
REFUSED = {
    "magic": ("EQ_ERR_MAGIC", [slot.MAGIC ^ 1, *FIELD_VALUES]),
    "header_version": ("EQ_ERR_VERSION", [0, 2, 0x7FFF, 0xFFFF]),
    "flags": ("EQ_ERR_VERSION", [2, 3, 0x8000, 0xFFFF]),
    "payload_bytes": ("EQ_ERR_SLOT", [0, 2049, 2**31 - 1, 2**31, 2**32 - 1]),
    "kernel_abi": ("EQ_ERR_VERSION", [0, 2, *FIELD_VALUES[2:]]),
    "board_class": ("EQ_ERR_BOARD", [1, 15, 17, *FIELD_VALUES[2:]]),
    "arena_bytes": ("EQ_ERR_ARENA", [(1 << 16) + 1, *FIELD_VALUES[2:]]),
    "work_budget": ("EQ_ERR_WORK", [(1 << 40) + 1, 2**63, 2**64 - 1]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_header_that_cannot_be_meant_is_refused_before_anything_is_erased(name: str) -> None:
    sim = Sim()
    sim.push(A)
    sim.push(B)
    before = sim.cells.copy()
    status, values = REFUSED[name]
    for value in values:
        assert sim.begin(changed_header(C.header, **{name: value})) == status, value
    np.testing.assert_array_equal(sim.cells, before)


# What a header may say, but the model file says otherwise.
CONTRADICTIONS = {
    "payload_crc": "EQ_ERR_PAYLOAD",
    "board_class": "EQ_ERR_HEADER",
    "arena_bytes": "EQ_ERR_HEADER",
    "model_version": "EQ_ERR_HEADER",
    "work_budget": "EQ_ERR_HEADER",
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
@pytest.mark.parametrize("value", [2, 5, 7])
def test_a_header_that_contradicts_its_model_is_not_committed(name: str, value: int) -> None:
    sim = Sim(max_work=2**64 - 1)
    update = sample(5, version=4)
    header = changed_header(update.header, **{name: 0 if name == "board_class" else value})
    assert sim.send(Update(update.model, header)) == CONTRADICTIONS[name]
    assert sim.restart() == -1


@pytest.mark.parametrize("payload_bytes", [1, 176, len(A.model) - 1, len(A.model) + 1])
def test_a_size_that_is_not_the_models_is_not_committed(payload_bytes: int) -> None:
    sim = Sim()
    model = (A.model + bytes(16))[:payload_bytes]
    header = changed_header(A.header, payload_bytes=payload_bytes, payload_crc=zlib.crc32(model))
    assert sim.send(Update(model, header)) in ("EQ_ERR_TRUNCATED", "EQ_ERR_MAGIC")
    assert sim.restart() == -1


def test_reserved_bytes_must_be_zero() -> None:
    sim = Sim()
    for i in range(slot.RESERVED_BYTES):
        reserved = bytearray(slot.RESERVED_BYTES)
        reserved[i] = 1
        assert sim.begin(changed_header(A.header, reserved=bytes(reserved))) == "EQ_ERR_HEADER"


def test_every_flipped_bit_of_a_header_is_refused() -> None:
    sim = Sim()
    for bit in range(8 * len(A.header)):
        header = bytearray(A.header)
        header[bit // 8] ^= 1 << bit % 8
        assert sim.begin(bytes(header)) in ("EQ_ERR_MAGIC", "EQ_ERR_HEADER")


def test_every_flipped_bit_of_a_model_is_refused() -> None:
    sim = Sim()
    for bit in range(0, 8 * len(A.model)):
        model = bytearray(A.model)
        model[bit // 8] ^= 1 << bit % 8
        assert sim.send(Update(bytes(model), A.header), chunk=256) == "EQ_ERR_PAYLOAD"
        assert sim.write(0, b"") == ("EQ_OK", 0)


@pytest.mark.parametrize(("name", "status"), [("step_count", "EQ_ERR_SECTION"), ("layout", "EQ_ERR_LAYOUT")])
def test_a_model_that_the_loader_refuses_is_not_committed(name: str, status: str) -> None:
    model = bytearray(A.model)
    struct.pack_into("<I", model, header_offsets()[name][0], 4 if name == "layout" else 7)
    broken = mended(model)
    sim = Sim()
    assert sim.send(Update(broken, update_header(broken))) == status
    assert sim.restart() == -1


def test_every_model_class_but_another_boards_is_taken() -> None:
    for board_class in (0, BOARD_CLASS):
        assert Sim().send(sample(6, board_class=board_class)) == "EQ_OK"
    assert Sim().send(sample(6, board_class=BOARD_CLASS + 1)) == "EQ_ERR_BOARD"


def test_versions_below_what_a_confirmed_model_asks_for_are_refused() -> None:
    sim = Sim()
    sim.push(sample(7, version=3))
    newer = sample(8, version=5, min_version=4)
    assert sim.send(newer) == "EQ_OK"
    assert sim.restart() == 1
    assert sim.revert() == "EQ_OK"  # not confirmed yet: the old one may come back
    assert sim.restart() == 0
    sim.push(newer)
    assert sim.begin(sample(9, version=3).header) == "EQ_ERR_DOWNGRADE"
    assert sim.begin(changed_header(sample(9, version=3).header, min_version=4)) == "EQ_ERR_DOWNGRADE"
    assert sim.begin(sample(9, version=4, min_version=3).header) == "EQ_ERR_DOWNGRADE"  # would allow what was refused
    assert sim.begin(sample(9, version=4, min_version=4).header) == "EQ_OK"
    sim.push(sample(9, version=4, min_version=4))
    assert sim.restart() == 0


def test_an_older_version_does_not_come_back_when_the_newer_one_is_given_up() -> None:
    sim = Sim()
    sim.push(sample(7, version=3))
    sim.push(sample(8, version=5, min_version=4))
    assert sim.revert() == "EQ_OK"
    assert sim.restart() == -1
    assert sim.begin(sample(7, version=3).header) == "EQ_ERR_DOWNGRADE"


def test_rules_that_changed_since_are_applied_at_the_next_start() -> None:
    sim = Sim()
    sim.push(A)
    cells = sim.cells.copy()
    smaller = Sim(arena=1)
    smaller.cells[:] = cells
    assert smaller.restart() == -1
    assert smaller.slot(0).state == DAMAGED


def test_one_slot_loses_its_model_when_an_update_begins() -> None:
    sim = Sim(slots=1)
    sim.push(A)
    assert sim.restart() == 0
    assert sim.begin(A.header) == "EQ_OK"
    assert sim.commit() == "EQ_OK"
    assert sim.begin(B.header) == "EQ_OK"
    assert sim.confirm() == "EQ_ERR_NO_UPDATE"
    assert sim.write(0, B.model) == ("EQ_OK", len(B.model))
    assert sim.commit() == "EQ_OK"
    assert sim.restart() == 0
    assert sim.running() == B.model
    assert sim.on_trial()
    assert sim.begin(A.header) == "EQ_OK"
    assert sim.restart() == -1


def _geometry(**changes: int) -> str:
    sim = Sim()
    values = {"page": 256, "unit": 4, "slot": 1024, "slots": 2, **changes}
    sim._rules.slots = values["slots"]
    lib = simulator()
    return status_name(lib.sim_open(values["page"], values["unit"], values["slot"], ctypes.byref(sim._rules)))


@pytest.mark.parametrize(
    "changes",
    [
        {"unit": 0}, {"unit": 3}, {"unit": 64}, {"page": 128}, {"page": 272, "slot": 1088}, {"slot": 1000},
        {"slot": 512}, {"slots": 0}, {"slots": 3},
    ],
    ids=str,
)  # fmt: skip
def test_flash_that_cannot_hold_slots_is_refused(changes: dict[str, int]) -> None:
    assert _geometry() == "EQ_OK"
    assert _geometry(**changes) == "EQ_ERR_FLASH"


def test_a_key_needs_a_build_that_checks_signatures() -> None:
    sim = Sim()
    sim._rules.key = bytes(32)
    assert status_name(simulator().sim_open(256, 4, 1024, ctypes.byref(sim._rules))) == "EQ_ERR_SIGNATURE"


def test_the_c_record_is_the_python_record() -> None:
    sim = Sim()
    sim.push(A)
    found = slot.SLOT.unpack(bytes(sim.slot(0).record), 0)
    expected = slot.SLOT.unpack(A.header, 0)
    assert {name for name in found if found[name] != expected[name]} == {"sequence", "header_crc"}
    assert found["sequence"] == 1
